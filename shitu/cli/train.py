"""`shitu train`: networks by recipe. KINDS is what its commands differ in, the rest they share."""

import shlex
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from shitu.cli.options import DATA, PRESENT_FILE, examples, out, threads
from shitu.cli.progress import report_progress
from shitu.cli.suggestions import Group
from shitu.cli.terminal import errors, given, report
from shitu.cli.weights import paddle_needed


@dataclass(frozen=True)
class Planned:
    """A recipe that was read: its name, what trains it, and what `shitu export` calls its runs."""

    name: str
    train: Callable[..., Path]
    export: tuple[str, str]  # the command, and the recipe that it is given


@dataclass(frozen=True)
class Kind:
    """A command of `shitu train`."""

    name: str
    read: Callable[[str], Planned]  # a recipe, by bundled name or path
    about: str  # its help
    init: str = ""  # help of --init; empty: it has none


def _embedder(recipe: str) -> Planned:
    from models.training.engine.fit import fit
    from models.training.recipes.embedder import EmbedderRecipe
    from models.training.recipes.reading import load_recipe
    from models.training.tasks.embedder import EmbedderTask

    plan = load_recipe(recipe, EmbedderRecipe)
    return Planned(plan.name, partial(fit, EmbedderTask, plan), ("embedder", recipe))


def _detector(recipe: str) -> Planned:
    from models.training.engine.fit import fit
    from models.training.recipes.detector import DetectorRecipe
    from models.training.recipes.reading import load_recipe
    from models.training.tasks.detector import DetectorTask

    plan = load_recipe(recipe, DetectorRecipe)
    return Planned(plan.name, partial(fit, DetectorTask, plan), ("detector", recipe))


def _metric(recipe: str) -> Planned:
    from models.training.engine.fit import fit
    from models.training.recipes.metric import MetricRecipe
    from models.training.recipes.reading import load_recipe
    from models.training.tasks.metric import MetricTask

    plan = load_recipe(recipe, MetricRecipe)
    return Planned(plan.name, partial(fit, MetricTask, plan), ("metric", recipe))


def _classifier(recipe: str) -> Planned:
    from models.training.engine.fit import fit
    from models.training.recipes.classifier import ClassifierRecipe
    from models.training.recipes.reading import load_recipe
    from models.training.tasks.classifier import ClassifierTask

    plan = load_recipe(recipe, ClassifierRecipe)
    return Planned(plan.name, partial(fit, ClassifierTask, plan), ("classifier", recipe))


def _distill(recipe: str) -> Planned:
    from models.training.engine.fit import fit
    from models.training.recipes.distill import load_plan
    from models.training.tasks.distill import DistillTask

    plan = load_plan(recipe)
    return Planned(plan.name, partial(fit, DistillTask, plan), ("metric", plan.recipe.student))


def _hash(recipe: str) -> Planned:
    from models.training.engine.fit import fit
    from models.training.recipes.hash import HashRecipe
    from models.training.recipes.reading import load_recipe
    from models.training.tasks.hash import HashTask

    plan = load_recipe(recipe, HashRecipe)
    return Planned(plan.name, partial(fit, HashTask, plan), ("hash", recipe))


KEPT = "The best weights so far are always in OUT/best.npz."
FROM_RUN = "Start from this run's best.npz"
KINDS = (
    Kind(
        "embedder",
        _embedder,
        f"Train an embedder. {KEPT}",
        f"{FROM_RUN}, or from official .pdparams of an embedder or a backbone.",
    ),
    Kind(
        "detector",
        _detector,
        f"Train a detector of main objects. {KEPT}",
        f"{FROM_RUN}, official .pdparams, or an artifact with ONNX: its folder, or a name such as shitu-detector.",
    ),
    Kind(
        "metric",
        _metric,
        f"Train an embedder by metric learning. {KEPT}",
        f"{FROM_RUN}, or from official .pdparams of an embedder or a backbone.",
    ),
    Kind(
        "classifier",
        _classifier,
        f"Train a classifier. {KEPT}",
        f"{FROM_RUN}, or from official .pdparams; the last layer of other classes is skipped.",
    ),
    Kind(
        "distill",
        _distill,
        "Train an embedder by distillation: ssld, dml or udml. The student's best weights are always in OUT/best.npz.",
        f"{FROM_RUN}, or from official .pdparams of an embedder or a backbone; a peer of the same recipe starts so too.",
    ),
    Kind("hash", _hash, f"Train a network for binary codes: dshsd, lcdsh or dch. {KEPT}"),
)


# command -> a bundled recipe for its help
EXAMPLE = {
    "embedder": "embedder-tiny", "detector": "detector-tiny", "metric": "metric-tiny",
    "classifier": "classifier-tiny", "distill": "distill-tiny", "hash": "hash-tiny",
}  # fmt: skip


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog=examples(
        "train embedder embedder-tiny", "train --config ppcls.yaml --print", "train --config ppcls.yaml --out run"
    ),
)
@click.option(
    "--config", type=PRESENT_FILE, help="PaddleClas' own YAML: it is translated into a recipe, printed and run."
)
@click.option(
    "-o",
    "--override",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="With --config: change a key, as Global.epochs=2; repeatable.",
)
@click.option("--print", "only_print", is_flag=True, help="With --config: print the recipe, and train nothing.")
@DATA
@out("With --config: folder of the run; default runs/NAME.")
@threads()
@click.option("--init", type=PRESENT_FILE, help="With --config: weights to begin with, before Global.pretrained_model.")
@click.option("--stop-after", type=click.IntRange(1), help="With --config: stop after this many steps in all.")
@click.pass_context
def train(
    context: click.Context,
    /,
    config: Path | None,
    overrides: tuple[str, ...],
    only_print: bool,
    data: Path | None,
    out: Path | None,
    **how: int | Path | None,
) -> None:
    """Train a network by a recipe (a bundled name or a TOML file); call again to resume."""
    own = [name for name in context.params if given(name)]
    if config is None:
        if own:
            raise click.UsageError(
                "these options go with --config, or after the command: shitu train embedder RECIPE --out ..."
            )
        if context.invoked_subcommand is None:
            click.echo(context.get_help())
        return
    if context.invoked_subcommand is not None:
        raise click.UsageError("--config says itself what is trained: no command with it")
    _theirs(config, overrides, data or Path(), out or Path("runs") / config.stem, how, only_print=only_print)


def _theirs(
    config: Path,
    overrides: tuple[str, ...],
    data: Path,
    folder: Path,
    how: dict[str, int | Path | None],
    *,
    only_print: bool,
) -> None:
    """Translate, print, and train a configuration of PaddleClas."""
    from shitu.paddleclas.training.recipe import translate

    init = how.pop("init")
    with errors(), paddle_needed():
        made = translate(config, folder, overrides, init if isinstance(init, Path) else None)
        kind = next(kind for kind in KINDS if kind.name == made.kind)
        click.echo(made.text, nl=False)
        where = TemporaryDirectory() if only_print else nullcontext(str(folder))
        with where as place:
            for name, text in made.files.items():
                file = Path(place, name)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text.replace(f'"{folder}/', f'"{place}/') if only_print else text, encoding="utf-8")
            planned = kind.read(str(Path(place, "recipe.toml")))
    if not only_print:
        _run(planned, data, folder, how | ({"init": made.init} if kind.init else {}))


def _init(about: str, *, names: bool) -> "Callable[[Callable[..., None]], Callable[..., None]]":
    if not about:
        return lambda command: command
    return click.option("--init", type=click.Path(path_type=Path, dir_okay=names, exists=not names), help=about)


def _command(kind: Kind) -> click.Command:
    @click.command(
        kind.name, help=kind.about, epilog=examples(f"train {kind.name} {EXAMPLE[kind.name]} --out runs/mine")
    )
    @click.argument("recipe")
    @DATA
    @out("Folder of the run; default runs/NAME.")
    @threads()
    @_init(kind.init, names=kind.name == "detector")
    @click.option("--stop-after", type=click.IntRange(1), help="Stop after this many steps in all.")
    def run(recipe: str, data: Path | None, out: Path | None, **how: int | Path | None) -> None:
        with errors():
            planned = kind.read(recipe)
        _run(planned, data, out or Path("runs") / planned.name, how)

    return run


def _run(planned: Planned, data: Path | None, folder: Path, how: dict[str, int | Path | None]) -> None:
    """Train, print where the best weights are, and what comes next."""
    with errors():
        try:
            best = planned.train(data, folder, report, report_progress(), **how)
        except KeyboardInterrupt as stop:
            saved = (
                "the same command resumes from the last save"
                if (folder / "last.npz").exists()
                else "nothing is saved yet"
            )
            raise click.ClickException(f"stopped; {saved}") from stop
    photos = () if data is None else ("--data", str(data))
    following = ("shitu", "export", *planned.export, "--run", str(folder), *photos)
    click.echo(f"{best}\nnext: {shlex.join(following)}")


for kind in KINDS:
    train.add_command(_command(kind))
