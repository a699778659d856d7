"""`shitu train hash`: binary codes by DeepHash, of a network of their own or behind a frozen embedder."""

from pathlib import Path

import click

from commands.terminal import DATA, OUT, STOP_AFTER, THREADS, errors, report, tell_preparation


@click.command("hash")
@click.argument("recipe")
@DATA
@OUT
@THREADS
@STOP_AFTER
def train_hash_command(recipe: str, data: Path | None, out: Path | None, threads: int, stop_after: int | None) -> None:
    """Train a network for binary codes: dshsd, lcdsh or dch. The best weights so far are always in OUT/best.npz."""
    from models.training.hash_recipe import HashRecipe
    from models.training.recipe import load_recipe
    from models.training.train_hash import train_hash

    with errors():
        plan = load_recipe(recipe, HashRecipe)
        folder = out or Path("runs") / plan.name
        best = train_hash(plan, data, folder, report, tell_preparation(), threads=threads, stop_after=stop_after)
    click.echo(f"{best}\nnext: shitu export hash {recipe} --run {folder}")
