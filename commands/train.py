"""`shitu train | evaluate`: networks by recipe, and measured on pictures never trained on."""

import json
from pathlib import Path

import click

from commands.terminal import DATA, INIT, OUT, STOP_AFTER, THREADS, errors, report, tell_preparation
from commands.train_classifier import train_classifier_command
from commands.train_distill import train_distill_command
from commands.train_hash import train_hash_command
from commands.train_metric import train_metric_command
from models.engine import ENGINES


@click.group()
def train() -> None:
    """Train an embedder or a detector by a recipe (a bundled name or a TOML file); call again to go on."""


train.add_command(train_metric_command)
train.add_command(train_classifier_command)
train.add_command(train_distill_command)
train.add_command(train_hash_command)


@train.command("embedder")
@click.argument("recipe")
@DATA
@OUT
@THREADS
@INIT
@STOP_AFTER
def train_embedder_command(
    recipe: str, data: Path | None, out: Path | None, threads: int, init: Path | None, stop_after: int | None
) -> None:
    """Train an embedder. The best weights so far are always in OUT/best.npz."""
    from models.training.recipe import EmbedderRecipe, load_recipe
    from models.training.train_embedder import train_embedder

    with errors():
        plan = load_recipe(recipe, EmbedderRecipe)
        folder = out or Path("runs") / plan.name
        best = train_embedder(
            plan, data, folder, report, tell_preparation(), threads=threads, init=init, stop_after=stop_after
        )
    click.echo(f"{best}\nnext: shitu export embedder {recipe} --run {folder}")


@train.command("detector")
@click.argument("recipe")
@DATA
@OUT
@THREADS
@INIT
@STOP_AFTER
def train_detector_command(
    recipe: str, data: Path | None, out: Path | None, threads: int, init: Path | None, stop_after: int | None
) -> None:
    """Train a main-body detector. The best weights so far are always in OUT/best.npz."""
    from models.training.recipe import load_recipe
    from models.training.train_detector import DetectorRecipe, train_detector

    with errors():
        plan = load_recipe(recipe, DetectorRecipe)
        folder = out or Path("runs") / plan.name
        best = train_detector(
            plan, data, folder, report, tell_preparation(), threads=threads, init=init, stop_after=stop_after
        )
    click.echo(f"{best}\nnext: shitu export detector {recipe} --run {folder}")


@click.command()
@click.option(
    "--detector",
    default="shitu-detector",
    show_default=True,
    help="Name or folder; `none` leaves it and the whole out.",
)
@click.option(
    "--embedder",
    default="shitu-embedder",
    show_default=True,
    help="Name or folder; `none` leaves it and the whole out.",
)
@DATA
@click.option("--embedder-recipe", default="embedder-s", show_default=True, help="Whose exams the embedder takes.")
@click.option("--detector-recipe", default="detector-s", show_default=True, help="Whose exams the detector takes.")
@click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True)
@click.option("--scenes", type=click.IntRange(1), help="Scenes that the whole pipeline is measured on; default 60.")
@click.option(
    "--baselines", is_flag=True, help="Colour histograms, the untrained network and the teacher take the same exams."
)
def evaluate(
    detector: str,
    embedder: str,
    data: Path | None,
    embedder_recipe: str,
    detector_recipe: str,
    engine: str,
    scenes: int | None,
    baselines: bool,
) -> None:
    """Measure artifacts on pictures never trained on: drawn ones, and photos where --data has them.

    recall@1 of the embedder, AP50 and AP50:95 of the detector, and the whole pipeline: photo in, labels out.
    """
    from models.artifacts import resolve
    from models.training.evaluate import embedder_baselines, examine_detector, examine_embedder, examine_pipeline
    from models.training.recipe import EmbedderRecipe, load_recipe
    from models.training.train_detector import DetectorRecipe

    figures = {}
    with errors():
        embeds = None if embedder == "none" else resolve(embedder)
        detects = None if detector == "none" else resolve(detector)
        if embeds is not None:
            embedder_plan = load_recipe(embedder_recipe, EmbedderRecipe)
            figures["embedder"] = examine_embedder(embeds, embedder_plan, data, engine)
            if baselines:
                figures |= embedder_baselines(embedder_plan, data)
        if detects is not None:
            figures["detector"] = examine_detector(detects, load_recipe(detector_recipe, DetectorRecipe), data, engine)
        if embeds is not None and detects is not None:
            figures["pipeline"] = examine_pipeline(detects, embeds, engine, scenes=scenes)
    click.echo(json.dumps(figures, indent=2))
