"""`shitu export classifier`: a run's best weights as an artifact for `shitu classify`."""

from pathlib import Path

import click

from commands.export_options import CALIBRATE, RUN, TO, WRITTEN, calibration_pictures, finish
from commands.terminal import DATA, errors


@click.command("classifier")
@click.argument("recipe")
@RUN
@TO
@DATA
@WRITTEN
@CALIBRATE
def export_classifier_command(
    recipe: str, run: Path | None, to: Path | None, data: Path | None, formats: tuple[str, ...], calibrate: str | None
) -> None:
    """The same for a classifier, which names its classes and ends in its softmax."""
    from models.training.classifier_recipe import ClassifierRecipe
    from models.training.export_classifier import examine_classifier, export_classifier
    from models.training.export_program import Origin
    from models.training.recipe import load_recipe

    with errors():
        plan = load_recipe(recipe, ClassifierRecipe)
        folder = run or Path("runs") / plan.name
        artifact = to or folder / "artifact"
        origin = Origin([source.name for source in plan.data], {}, {})
        export_classifier(plan, folder / "best.npz", artifact, origin, formats, calibration_pictures(calibrate))
        finish(artifact, lambda precision: examine_classifier(artifact, plan, data, precision=precision), {})
