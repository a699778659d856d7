"""`shitu train classifier`: a network of the catalogue, by a recipe."""

from pathlib import Path

import click

from commands.terminal import DATA, OUT, STOP_AFTER, THREADS, errors, report, tell_preparation


@click.command("classifier")
@click.argument("recipe")
@DATA
@OUT
@THREADS
@click.option(
    "--init",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Start from this run's best.npz, or from official .pdparams; other classes' last layer is passed over.",
)
@STOP_AFTER
def train_classifier_command(
    recipe: str, data: Path | None, out: Path | None, threads: int, init: Path | None, stop_after: int | None
) -> None:
    """Train a classifier. The best weights so far are always in OUT/best.npz."""
    from models.training.classifier_recipe import ClassifierRecipe
    from models.training.recipe import load_recipe
    from models.training.train_classifier import train_classifier

    with errors():
        plan = load_recipe(recipe, ClassifierRecipe)
        folder = out or Path("runs") / plan.name
        best = train_classifier(
            plan, data, folder, report, tell_preparation(), threads=threads, init=init, stop_after=stop_after
        )
    click.echo(f"{best}\nnext: shitu export classifier {recipe} --run {folder}")
