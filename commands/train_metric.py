"""`shitu train metric`: an embedder by Backbone, Neck, Head and Loss."""

from pathlib import Path

import click

from commands.terminal import DATA, OUT, STOP_AFTER, THREADS, errors, report, tell_preparation


@click.command("metric")
@click.argument("recipe")
@DATA
@OUT
@THREADS
@click.option(
    "--init",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Start from this run's best.npz, or from official .pdparams of an embedder or a backbone.",
)
@STOP_AFTER
def train_metric_command(
    recipe: str, data: Path | None, out: Path | None, threads: int, init: Path | None, stop_after: int | None
) -> None:
    """Train an embedder by metric learning. The best weights so far are always in OUT/best.npz."""
    from models.training.metric_recipe import MetricRecipe
    from models.training.recipe import load_recipe
    from models.training.train_metric import train_metric

    with errors():
        plan = load_recipe(recipe, MetricRecipe)
        folder = out or Path("runs") / plan.name
        best = train_metric(
            plan, data, folder, report, tell_preparation(), threads=threads, init=init, stop_after=stop_after
        )
    click.echo(f"{best}\nnext: shitu export metric {recipe} --run {folder}")
