"""`shitu export`: the best weights of a run as an artifact folder, and an artifact in further precisions."""

from pathlib import Path

import click

from commands.export_options import CALIBRATE, RUN, TO, WRITTEN, calibration_pictures, finish
from commands.terminal import DATA, errors


@click.group()
def export() -> None:
    """Turn the best weights of a run into an artifact folder that both engines run."""


@export.command("embedder")
@click.argument("recipe")
@RUN
@TO
@DATA
@WRITTEN
@CALIBRATE
def export_embedder_command(
    recipe: str, run: Path | None, to: Path | None, data: Path | None, formats: tuple[str, ...], calibrate: str | None
) -> None:
    """Fuse, export, compare with the eager network, examine the exported programs, write the manifest."""
    from models.training.evaluate import examine_embedder, suggest_similarity
    from models.training.export import Origin, export_embedder
    from models.training.recipe import EmbedderRecipe, load_recipe

    with errors():
        plan = load_recipe(recipe, EmbedderRecipe)
        folder = run or Path("runs") / plan.name
        artifact = to or folder / "artifact"
        origin = Origin([source.name for source in plan.data], {}, {})
        export_embedder(plan, folder / "best.npz", artifact, origin, formats, calibration_pictures(calibrate))
        finish(
            artifact,
            lambda precision: examine_embedder(artifact, plan, data, precision=precision),
            lambda: {"similarity": suggest_similarity(artifact, plan)},
        )


@export.command("detector")
@click.argument("recipe")
@RUN
@TO
@DATA
@WRITTEN
@CALIBRATE
def export_detector_command(
    recipe: str, run: Path | None, to: Path | None, data: Path | None, formats: tuple[str, ...], calibrate: str | None
) -> None:
    """The same for a detector; its programs end before decoding and suppression."""
    from models.training.evaluate import examine_detector
    from models.training.export import Origin, export_detector
    from models.training.recipe import load_recipe
    from models.training.train_detector import DetectorRecipe

    with errors():
        plan = load_recipe(recipe, DetectorRecipe)
        folder = run or Path("runs") / plan.name
        artifact = to or folder / "artifact"
        origin = Origin([source.name for source in plan.data], {}, {})
        export_detector(plan, folder / "best.npz", artifact, origin, formats, calibration_pictures(calibrate))
        finish(
            artifact,
            lambda precision: examine_detector(artifact, plan, data, precision=precision),
            {"detection": 0.2},
        )
