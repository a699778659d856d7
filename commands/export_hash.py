"""`shitu export hash`: a run of `shitu train hash` as an artifact, with what it reaches and what signs alone would."""

from pathlib import Path

import click

from commands.export_options import CALIBRATE, RUN, TO, WRITTEN, calibration_pictures, finish
from commands.terminal import DATA, errors


@click.command("hash")
@click.argument("recipe")
@RUN
@TO
@DATA
@WRITTEN
@CALIBRATE
def export_hash_command(
    recipe: str, run: Path | None, to: Path | None, data: Path | None, formats: tuple[str, ...], calibrate: str | None
) -> None:
    """Export the codes' network, a projection together with its embedder; examine its codes by Hamming distance."""
    from models.training.evaluate import suggest_similarity
    from models.training.export_hash import export_hash
    from models.training.export_program import Origin
    from models.training.hash_exams import examine_hash
    from models.training.hash_recipe import HashRecipe
    from models.training.recipe import load_recipe

    with errors():
        plan = load_recipe(recipe, HashRecipe)
        folder = run or Path("runs") / plan.name
        artifact = to or folder / "artifact"
        origin = Origin([source.name for source in plan.data], {}, {})
        export_hash(plan, folder / "best.npz", artifact, origin, formats, calibration_pictures(calibrate))
        finish(
            artifact,
            lambda precision: examine_hash(artifact, plan, data, precision=precision),
            lambda: {"similarity": suggest_similarity(artifact, plan.pictures)},
        )
