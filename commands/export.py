"""`shitu export`: the best weights of a run as an artifact folder, and an artifact in further precisions."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.export_classifier import export_classifier_command
from commands.export_hash import export_hash_command
from commands.export_metric import export_metric_command
from commands.export_options import (
    CALIBRATE,
    PRECISIONS,
    RUN,
    TO,
    WRITTEN,
    NameList,
    calibration_pictures,
    finish,
)
from commands.terminal import DATA, errors

if TYPE_CHECKING:
    from models.manifest import Manifest


@click.group()
def export() -> None:
    """Turn the best weights of a run into an artifact folder that both engines run."""


export.add_command(export_metric_command)
export.add_command(export_hash_command)
export.add_command(export_classifier_command)


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
    from models.training.evaluate import examine_detector, suggest_confidence
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
            lambda: {"detection": suggest_confidence(artifact, plan, data)},
        )


@export.command("precisions")
@click.argument("model")
@click.option(
    "--to", required=True, type=click.Path(path_type=Path, file_okay=False), help="The new artifact's folder, empty."
)
@click.option(
    "--formats",
    "precisions",
    type=NameList(PRECISIONS),
    default=",".join(PRECISIONS),
    show_default=True,
    help="Which ones, with commas between them.",
)
@CALIBRATE
@click.option("--recipe", "examiner", help="Whose exams tell what is lost; default: none are taken.")
@DATA
def export_precisions_command(
    model: str, to: Path, precisions: tuple[str, ...], calibrate: str | None, examiner: str | None, data: Path | None
) -> None:
    """Copy MODEL (a name or folder) and add programs of fewer bits. An official archive becomes an artifact by it."""
    from models.artifacts import resolve
    from models.training.precisions import add_precisions, convert

    with errors():
        manifest = convert(resolve(model), to)
        examine = _exams(manifest, to, examiner, data)
        add_precisions(to, precisions, calibration_pictures(calibrate))
        finish(to, examine, manifest.thresholds)


def _exams(
    manifest: "Manifest", artifact: Path, recipe: str | None, data: Path | None
) -> "Callable[[str], dict[str, float]]":
    """What measures the artifact in a precision. Without a recipe it measures nothing."""
    from models.training.evaluate import examine_detector, examine_embedder
    from models.training.recipe import EmbedderRecipe, load_recipe
    from models.training.train_detector import DetectorRecipe

    if recipe is None:
        return lambda _precision: {}
    if manifest.task == "embed":
        embeds = load_recipe(recipe, EmbedderRecipe)
        return lambda precision: examine_embedder(artifact, embeds, data, precision=precision)
    if manifest.task == "detect":
        detects = load_recipe(recipe, DetectorRecipe)
        return lambda precision: examine_detector(artifact, detects, data, precision=precision)
    raise click.ClickException(f"a model that is to {manifest.task} has no exams here; leave --recipe out")
