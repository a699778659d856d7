"""`shitu export metric`: the embedder of a metric-learning run, or of a distillation, as an artifact."""

from pathlib import Path

import click

from commands.export_options import CALIBRATE, RUN, TO, WRITTEN, calibration_pictures, finish
from commands.terminal import DATA, errors


@click.command("metric")
@click.argument("recipe")
@RUN
@TO
@DATA
@WRITTEN
@CALIBRATE
def export_metric_command(
    recipe: str, run: Path | None, to: Path | None, data: Path | None, formats: tuple[str, ...], calibrate: str | None
) -> None:
    """The same for an embedder by metric learning: backbone and neck, without the head."""
    from models.training.evaluate import suggest_similarity
    from models.training.export import Origin
    from models.training.export_metric import examine_metric, export_metric
    from models.training.metric_recipe import MetricRecipe
    from models.training.recipe import load_recipe

    with errors():
        plan = load_recipe(recipe, MetricRecipe)
        folder = run or Path("runs") / plan.name
        artifact = to or folder / "artifact"
        origin = Origin([source.name for source in plan.data], {}, {})
        export_metric(plan, folder / "best.npz", artifact, origin, formats, calibration_pictures(calibrate))
        finish(
            artifact,
            lambda precision: examine_metric(artifact, plan, data, precision),
            lambda: {"similarity": suggest_similarity(artifact, plan.pictures)},
        )
