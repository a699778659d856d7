"""`shitu evaluate`: the shipped artifacts on the recipes' eval sets; its sub-commands measure on photos of your own."""

import json
from pathlib import Path

import click

from shitu.cli import evaluate_open_set, evaluate_pipeline, evaluate_retrieval
from shitu.cli.evaluate_options import WRITE_TO
from shitu.cli.options import DATA, DETECTOR, EMBEDDER, ENGINE, examples
from shitu.cli.progress import report_progress
from shitu.cli.suggestions import Group
from shitu.cli.terminal import errors, given


@click.group(cls=Group, invoke_without_command=True, epilog=examples("evaluate", "evaluate --data ../data --out eval"))
@DETECTOR
@EMBEDDER
@DATA
@click.option(
    "--embedder-recipe",
    default="embedder-lite0",
    show_default=True,
    help="Recipe whose eval sets the embedder is evaluated on.",
)
@click.option(
    "--detector-recipe",
    default="detector-s",
    show_default=True,
    help="Recipe whose eval sets the detector is evaluated on.",
)
@ENGINE
@click.option("--scenes", type=click.IntRange(1), help="Scenes that the pipeline is evaluated on; default 60.")
@click.option(
    "--baselines",
    is_flag=True,
    help="Evaluate colour histograms, the untrained network, its pretrained features and the teacher too, "
    "and what verification by local features adds.",
)
@WRITE_TO
@click.pass_context
def evaluate(
    context: click.Context,
    detector: str,
    embedder: str,
    data: Path | None,
    embedder_recipe: str,
    detector_recipe: str,
    engine: str,
    scenes: int | None,
    baselines: bool,
    out: Path | None,
) -> None:
    """Evaluate artifacts on pictures never trained on: rendered ones, and photos where --data has them.

    recall@1 of the embedder, and how its similarity threshold answers known and unknown queries; AP50 and AP50:95 of the
    detector; and the whole pipeline: photo in, labels out. `none` skips an artifact, and the pipeline with it.
    The sub-commands evaluate on your own photos; what can't be used is reported and skipped, and the exit status is 1.
    """
    if context.invoked_subcommand is not None:
        if early := [option for option in context.params if given(option)]:
            name = early[0].replace("_", "-")
            raise click.UsageError(f"--{name} has no effect before {context.invoked_subcommand}; put it after")
        return
    _check_measured(detector, embedder)
    from models.artifacts.folders import resolve
    from models.evaluation.evaluate import evaluate_detector, evaluate_embedder_openly, evaluate_whole
    from models.evaluation.pipeline import write_pipeline
    from models.training.recipes.detector import DetectorRecipe
    from models.training.recipes.embedder import EmbedderRecipe
    from models.training.recipes.reading import load_recipe

    metrics: dict[str, object] = {}
    notify = report_progress()
    with errors():
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        embeds = None if embedder == "none" else resolve(embedder)
        detects = None if detector == "none" else resolve(detector)
        if embeds is not None:
            embedder_plan = load_recipe(embedder_recipe, EmbedderRecipe)
            metrics["embedder"], metrics["open set"] = evaluate_embedder_openly(
                embeds, embedder_plan, data, engine, progress=notify, draw_to=out, verify=baselines
            )
            if baselines:  # the networks among them need PaddlePaddle, which measuring artifacts does not
                from models.training.tasks.baselines import embedder_baselines, missing_weights

                if missing := missing_weights(embedder_plan, data):
                    click.echo(f"without the pretrained features: {missing}", err=True)
                metrics |= embedder_baselines(embedder_plan, data, notify)
        if detects is not None:
            detector_plan = load_recipe(detector_recipe, DetectorRecipe)
            metrics["detector"] = evaluate_detector(detects, detector_plan, data, engine, progress=notify)
        if embeds is not None and detects is not None:
            measured = evaluate_whole(detects, embeds, engine, scenes=scenes, progress=notify)
            metrics["pipeline"] = measured.metrics
            if out is not None:
                write_pipeline(measured, out)
    if out is not None:
        (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    click.echo(json.dumps(metrics, indent=2))


for command in (evaluate_retrieval.retrieval, evaluate_open_set.open_set, evaluate_pipeline.pipeline):
    evaluate.add_command(command)


def _check_measured(detector: str, embedder: str) -> None:
    """Raises UsageError for options about what is left out."""
    left_out = [name for name, artifact in (("detector", detector), ("embedder", embedder)) if artifact == "none"]
    if len(left_out) == 2:
        raise click.UsageError("--detector none and --embedder none leave nothing to measure")
    for name in left_out:
        for option in ("scenes", f"{name}_recipe", *(("baselines",) if name == "embedder" else ())):
            if given(option):
                raise click.UsageError(f"--{option.replace('_', '-')} means nothing with --{name} none")
