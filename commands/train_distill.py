"""`shitu train distill`: an embedder taught by a frozen teacher, or side by side with a peer."""

from pathlib import Path

import click

from commands.terminal import DATA, OUT, STOP_AFTER, THREADS, errors, report, tell_preparation


@click.command("distill")
@click.argument("recipe")
@DATA
@OUT
@THREADS
@STOP_AFTER
def train_distill_command(
    recipe: str, data: Path | None, out: Path | None, threads: int, stop_after: int | None
) -> None:
    """Train an embedder by distillation: ssld, dml or udml. The student's best weights are always in OUT/best.npz."""
    from models.training.distill_recipe import load_plan
    from models.training.train_distill import train_distill

    with errors():
        plan = load_plan(recipe)
        folder = out or Path("runs") / plan.name
        best = train_distill(plan, data, folder, report, tell_preparation(), threads=threads, stop_after=stop_after)
    click.echo(f"{best}")
