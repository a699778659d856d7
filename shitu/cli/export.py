"""`shitu export`: the best weights of a run as an artifact folder, and an artifact in further precisions.

KINDS is what the kinds of runs differ in, the rest they share.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click

from models.artifacts.folders import load_manifest
from shitu.cli.export_options import CALIBRATE, FORMATS, PDPARAMS, PRECISIONS, NameList, calibration_pictures, finish
from shitu.cli.export_phone import export_phone_command
from shitu.cli.options import DATA, FOLDER, PRESENT_FOLDER, examples, out
from shitu.cli.progress import working
from shitu.cli.suggestions import Group
from shitu.cli.terminal import errors, given
from shitu.cli.weights import SUFFIX, paddle_needed

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Planned:
    """A recipe that was read: its name, its sources, and what makes an artifact of its runs."""

    name: str
    sources: Sequence[Any]  # each has a name
    write: Callable[..., Path]
    evaluate: Callable[[Path, str], Metrics]  # the artifact in a precision
    thresholds: Callable[[Path], Metrics] = lambda _artifact: {}  # from which on the artifact's answers count
    complete: Callable[[Path], object] = lambda _artifact: (
        None
    )  # adds what ships next to the programs, once they are measured
    weights: Callable[[Path, Path], Path] | None = None  # of a checkpoint the `.pdparams`


def _embedder(recipe: str, data: Path | None) -> Planned:
    from models.evaluation.evaluate import evaluate_embedder, suggest_similarity
    from models.evaluation.recipe_calibration import add_calibration
    from models.export.trained import export_embedder
    from models.export.training_weights import embedder_weights
    from models.training.recipes.embedder import EmbedderRecipe
    from models.training.recipes.reading import load_recipe
    from shitu.cli.progress import report_progress

    plan = load_recipe(recipe, EmbedderRecipe)
    return Planned(
        plan.name,
        plan.data,
        partial(export_embedder, plan),
        lambda artifact, precision: evaluate_embedder(artifact, plan, data, precision=precision),
        lambda artifact: {"similarity": suggest_similarity(artifact, plan, data)},
        lambda artifact: add_calibration(artifact, plan, data, report_progress()),
        weights=partial(embedder_weights, plan),
    )


def _detector(recipe: str, data: Path | None) -> Planned:
    from models.evaluation.evaluate import evaluate_detector, suggest_confidence
    from models.export.trained import export_detector
    from models.export.training_weights import detector_weights
    from models.training.recipes.detector import DetectorRecipe
    from models.training.recipes.reading import load_recipe

    plan = load_recipe(recipe, DetectorRecipe)
    return Planned(
        plan.name,
        plan.data,
        partial(export_detector, plan, data=data),
        lambda artifact, precision: evaluate_detector(artifact, plan, data, precision=precision),
        lambda artifact: {"detection": suggest_confidence(artifact, plan, data)},
        weights=partial(detector_weights, plan),
    )


def _metric(recipe: str, data: Path | None) -> Planned:
    from models.evaluation.evaluate import suggest_similarity
    from models.export.metric import evaluate_metric, export_metric
    from models.export.training_weights import metric_weights
    from models.training.recipes.metric import MetricRecipe
    from models.training.recipes.reading import load_recipe

    plan = load_recipe(recipe, MetricRecipe)
    return Planned(
        plan.name,
        plan.data,
        partial(export_metric, plan, data=data),
        lambda artifact, precision: evaluate_metric(artifact, plan, data, precision),
        lambda artifact: {"similarity": suggest_similarity(artifact, plan.pictures, data)},
        weights=partial(metric_weights, plan),
    )


def _classifier(recipe: str, data: Path | None) -> Planned:
    from models.export.classifier import evaluate_classifier, export_classifier
    from models.export.training_weights import classifier_weights
    from models.training.recipes.classifier import ClassifierRecipe
    from models.training.recipes.reading import load_recipe

    plan = load_recipe(recipe, ClassifierRecipe)
    return Planned(
        plan.name,
        plan.data,
        partial(export_classifier, plan, data=data),
        lambda artifact, precision: evaluate_classifier(artifact, plan, data, precision=precision),
        weights=partial(classifier_weights, plan),
    )


def _hash(recipe: str, data: Path | None) -> Planned:
    from models.evaluation.evaluate import suggest_similarity
    from models.export.hash import export_hash
    from models.training.recipes.hash import HashRecipe
    from models.training.recipes.reading import load_recipe
    from models.training.tasks.hash_evaluation import evaluate_hash

    plan = load_recipe(recipe, HashRecipe)
    return Planned(
        plan.name,
        plan.data,
        partial(export_hash, plan),
        lambda artifact, precision: evaluate_hash(artifact, plan, data, precision),
        lambda artifact: {"similarity": suggest_similarity(artifact, plan.pictures, data)},
    )


# command -> what reads its recipe, and its help
KINDS: Mapping[str, tuple[Callable[[str, Path | None], Planned], str]] = {
    "embedder": (
        _embedder,
        "Fuse, export, compare with the eager network, evaluate the exported programs, write the manifest.",
    ),
    "detector": (_detector, "Export a detector; its programs end before decoding and suppression."),
    "metric": (_metric, "Export an embedder by metric learning: backbone and neck, without the head."),
    "classifier": (_classifier, "Export a classifier, which names its classes and ends in its softmax."),
    "hash": (
        _hash,
        "Export the codes' network, a projection together with its embedder; evaluate its codes by Hamming distance.",
    ),
}
# command -> a bundled recipe for its help
EXAMPLE = {
    "embedder": "embedder-tiny", "detector": "detector-tiny", "metric": "metric-tiny",
    "classifier": "classifier-tiny", "hash": "hash-tiny",
}  # fmt: skip
# command -> the task of `.pdparams` weights that it takes
TASKS = {"embedder": "embed", "metric": "embed", "detector": "detect", "classifier": "classify"}
SIZE = click.option(
    "--size",
    type=click.IntRange(32),
    metavar="PX",
    help="Input size of .pdparams weights; default: 224 pixels, of detectors 640.",
)
# a model's task -> what reads the recipe whose eval sets it takes
EVALUATORS = {"embed": _embedder, "detect": _detector, "classify": _classifier, "hash": _hash}


@click.group(cls=Group, epilog=examples("export embedder embedder-tiny --run runs/embedder-tiny"))
def export() -> None:
    """Turn the best weights of a run, or .pdparams weights, into an artifact folder that both engines run."""


def _command(name: str) -> click.Command:
    read, about = KINDS[name]

    @click.command(name, help=about, epilog=examples(f"export {name} {EXAMPLE[name]} --out artifact"))
    @click.argument("recipe")
    @click.option("--run", type=PRESENT_FOLDER, help="The run's folder; default runs/NAME.")
    @out("The artifact's folder; default RUN/artifact.")
    @DATA
    @click.option(
        "--formats",
        type=NameList(FORMATS),
        default="paddle,onnx",
        show_default=True,
        help=f"Some of {', '.join(FORMATS)}, with commas between them.",
    )
    @CALIBRATE
    @SIZE
    def command(
        recipe: str,
        run: Path | None,
        out: Path | None,
        data: Path | None,
        size: int | None,
        formats: tuple[str, ...],
        calibrate: str | None,
    ) -> None:
        if calibrate is not None and not set(PRECISIONS) & set(formats):
            raise click.UsageError(
                f"--calibrate goes with {', '.join(PRECISIONS)} in --formats; the others need no pictures"
            )
        if Path(recipe).suffix == SUFFIX and name in TASKS:
            for option in ("run", "data"):
                if given(option):
                    raise click.UsageError(f"--{option} has no effect on .pdparams weights")
            export_pdparams(Path(recipe), TASKS[name], out, size, formats, calibrate)
            return
        if size is not None:
            raise click.UsageError("--size goes with .pdparams weights; a recipe has its own `deploy_px`")
        with errors(), paddle_needed():
            from models.export.network import Origin

            planned = read(recipe, data)
            folder = run or Path("runs") / planned.name
            artifact = out or folder / "artifact"
            origin = Origin([source.name for source in planned.sources], {}, {})
            programs = tuple(one for one in formats if one != PDPARAMS)
            if PDPARAMS in formats:
                if planned.weights is None:
                    raise click.ClickException("PaddleClas has no network of binary codes of this kind: no pdparams")
                weights = planned.weights(folder / "best.npz", artifact / f"{planned.name}{SUFFIX}")
                click.echo(weights, err=bool(programs))
            if programs:
                with working("Exporting, and comparing with the eager network"):
                    planned.write(folder / "best.npz", artifact, origin, programs, calibration_pictures(calibrate))
            if not programs:
                return
            finish(artifact, partial(planned.evaluate, artifact), partial(planned.thresholds, artifact))
            with working("Completing the artifact"):
                planned.complete(artifact)

    return command


def export_pdparams(
    weights: Path, task: str, out: Path | None, size: int | None, formats: Sequence[str], calibrate: str | None
) -> None:
    """Training weights of PaddleClas or PaddleDetection as an artifact; by default in a folder of their name next to them."""
    if PDPARAMS in formats:
        raise click.UsageError("pdparams goes with a run in --formats; these weights are in that form already")
    artifact = out or weights.with_suffix("")
    with errors(), paddle_needed():
        from models.export.official_weights import export_weights

        with working("Exporting, and comparing with the eager network"):
            export_weights(
                weights, task, artifact, size_px=size, formats=formats, pictures=calibration_pictures(calibrate)
            )
        finish(artifact, lambda _: {}, load_manifest(artifact).thresholds)


for kind in KINDS:
    export.add_command(_command(kind))
export.add_command(export_phone_command)


@export.command("precisions", epilog=examples("export precisions shitu-embedder --out models-int8 --formats int8"))
@click.argument("model")
@out("The new artifact's folder, empty.", FOLDER, required=True)
@click.option(
    "--formats",
    "precisions",
    type=NameList(PRECISIONS),
    help=f"Some of {', '.join(PRECISIONS)}, with commas between them; default: all that this processor computes.",
)
@CALIBRATE
@click.option(
    "--recipe", "evaluator", help="Recipe whose eval sets measure what is lost; default: nothing is measured."
)
@DATA
def export_precisions_command(
    model: str,
    out: Path,
    precisions: tuple[str, ...] | None,
    calibrate: str | None,
    evaluator: str | None,
    data: Path | None,
) -> None:
    """Copy MODEL (a name or folder) and add programs of fewer bits. An official archive is converted to an artifact."""
    from models.artifacts.folders import resolve
    from models.export.precisions import add_precisions, convert, measurable, require_measurable

    if data is not None and evaluator is None:
        raise click.UsageError("--data goes with --recipe: without eval sets the photos have no use")
    with errors():
        wanted = measurable() if precisions is None else precisions
        require_measurable(wanted)
        source = resolve(model)
        planned = EVALUATORS[load_manifest(source).task](evaluator, data) if evaluator else None
        pictures = calibration_pictures(calibrate)
        manifest = convert(source, out)
        with working("Adding programs of fewer bits"):
            add_precisions(out, wanted, pictures)
        finish(out, partial(planned.evaluate, out) if planned else lambda _: {}, manifest.thresholds)
