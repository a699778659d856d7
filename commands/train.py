"""`shitu train`: networks by recipe."""

from pathlib import Path

import click

from commands.terminal import DATA, INIT, OUT, STOP_AFTER, THREADS, errors, report, tell_preparation
from commands.train_classifier import train_classifier_command
from commands.train_distill import train_distill_command
from commands.train_hash import train_hash_command
from commands.train_metric import train_metric_command


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
