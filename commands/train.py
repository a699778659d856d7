"""`shitu train | evaluate | export`: networks by recipe, measured on pictures never trained on, and made into artifacts."""

import json
from pathlib import Path

import click

from commands.terminal import DATA, INIT, OUT, STOP_AFTER, THREADS, errors, report, tell_preparation
from commands.train_metric import train_metric_command
from models.engine import ENGINES


@click.group()
def train() -> None:
    """Train an embedder or a detector by a recipe (a bundled name or a TOML file); call again to go on."""


train.add_command(train_metric_command)


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


@click.group()
def export() -> None:
    """Turn the best weights of a run into an artifact folder that both engines run."""


@export.command("embedder")
@click.argument("recipe")
@click.option(
    "--run",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The run's folder; default runs/RECIPE.",
)
@click.option(
    "--to", type=click.Path(path_type=Path, file_okay=False), help="The artifact's folder; default RUN/artifact."
)
@DATA
def export_embedder_command(recipe: str, run: Path | None, to: Path | None, data: Path | None) -> None:
    """Fuse, export, compare with the eager network on both engines, examine the exported program, write the manifest."""
    from models.training.evaluate import examine_embedder, suggest_similarity
    from models.training.export import Origin, add_findings, export_embedder
    from models.training.recipe import EmbedderRecipe, load_recipe

    with errors():
        plan = load_recipe(recipe, EmbedderRecipe)
        folder = run or Path("runs") / plan.name
        artifact = to or folder / "artifact"
        sources = [source.name for source in plan.data]
        export_embedder(plan, folder / "best.npz", artifact, Origin(sources, {}, {}))
        metrics = examine_embedder(artifact, plan, data)
        threshold = suggest_similarity(artifact, plan)
        add_findings(artifact, metrics, {"similarity": threshold})
    click.echo(json.dumps({"artifact": str(artifact), "similarity": threshold, **metrics}, indent=2))


@export.command("detector")
@click.argument("recipe")
@click.option(
    "--run",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="The run's folder; default runs/RECIPE.",
)
@click.option(
    "--to", type=click.Path(path_type=Path, file_okay=False), help="The artifact's folder; default RUN/artifact."
)
@DATA
def export_detector_command(recipe: str, run: Path | None, to: Path | None, data: Path | None) -> None:
    """The same for a detector."""
    from models.training.evaluate import examine_detector
    from models.training.export import Origin, add_findings, export_detector
    from models.training.recipe import load_recipe
    from models.training.train_detector import DetectorRecipe

    with errors():
        plan = load_recipe(recipe, DetectorRecipe)
        folder = run or Path("runs") / plan.name
        artifact = to or folder / "artifact"
        sources = [source.name for source in plan.data]
        thresholds = {"detection": 0.2}
        export_detector(plan, folder / "best.npz", artifact, Origin(sources, {}, thresholds))
        metrics = examine_detector(artifact, plan, data)
        add_findings(artifact, metrics, thresholds)
    click.echo(json.dumps({"artifact": str(artifact), **metrics}, indent=2))


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
