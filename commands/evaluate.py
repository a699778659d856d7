"""`shitu evaluate`: artifacts measured on pictures never trained on, and on the user's own lists and photos."""

import json
import sys
from functools import partial
from pathlib import Path

import click

from commands.options import (
    BINARY,
    DATA,
    DETECTOR,
    EMBEDDER,
    ENGINE,
    IDS,
    PRESENT,
    PRESENT_FOLDER,
    RERANK,
    ROOT,
    examples,
    out,
    threads,
)
from commands.progress import tell_progress
from commands.searched import Passed, found_photos
from commands.suggestions import Group
from commands.terminal import errors, given
from contracts.names import shown

DELIMITER = click.option(
    "--delimiter", help="Between the columns of lists; default: a tab where there are tabs, else a blank."
)
WRITE_TO = out("Write metrics and pictures to this folder.")
LIST = PRESENT


class WholeNumbers(click.ParamType[tuple[int, ...]]):
    """`1,5,10`."""

    name = "numbers"

    def convert(
        self, value: str | tuple[int, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Each once, ascending. Fails for anything else."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
            self.fail(f"{value!r} is not whole numbers from 1, with commas between them", param, ctx)
        return tuple(sorted({int(part) for part in parts}))


@click.group(cls=Group, invoke_without_command=True, epilog=examples("evaluate", "evaluate --data ../data --out eval"))
@DETECTOR
@EMBEDDER
@DATA
@click.option(
    "--embedder-recipe", default="embedder-lite0", show_default=True, help="Whose eval sets the embedder takes."
)
@click.option("--detector-recipe", default="detector-s", show_default=True, help="Whose eval sets the detector takes.")
@ENGINE
@click.option("--scenes", type=click.IntRange(1), help="Scenes that the whole pipeline is measured on; default 60.")
@click.option(
    "--baselines",
    is_flag=True,
    help="Colour histograms, the untrained network, its pretrained features and the teacher are measured too, "
    "and what a second look by local features adds.",
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
    """Measure artifacts on pictures never trained on: drawn ones, and photos where --data has them.

    recall@1 of the embedder, and what its similarity threshold answers of known things and of unknowns; AP50 and
    AP50:95 of the detector; and the whole pipeline: photo in, labels out. `none` leaves an artifact and the whole out.
    The sub-commands measure on your own photos; what of them can't be used is told and left out, and the exit status is 1.
    """
    if context.invoked_subcommand is not None:
        if early := [option for option in context.params if given(option)]:
            name = early[0].replace("_", "-")
            raise click.UsageError(f"--{name} before {context.invoked_subcommand} would mean nothing; put it behind")
        return
    _check_measured(detector, embedder)
    from models.artifacts.folders import resolve
    from models.evaluation.evaluate import evaluate_detector, evaluate_embedder_openly, evaluate_whole
    from models.evaluation.pipeline import write_pipeline
    from models.training.recipes.detector import DetectorRecipe
    from models.training.recipes.embedder import EmbedderRecipe, load_recipe

    figures: dict[str, object] = {}
    tell = tell_progress()
    with errors():
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
        embeds = None if embedder == "none" else resolve(embedder)
        detects = None if detector == "none" else resolve(detector)
        if embeds is not None:
            embedder_plan = load_recipe(embedder_recipe, EmbedderRecipe)
            figures["embedder"], figures["open set"] = evaluate_embedder_openly(
                embeds, embedder_plan, data, engine, progress=tell, draw_to=out, verify=baselines
            )
            if baselines:  # the networks among them need PaddlePaddle, which measuring artifacts does not
                from models.training.tasks.baselines import embedder_baselines, missing_weights

                if missing := missing_weights(embedder_plan, data):
                    click.echo(f"without the pretrained features: {missing}", err=True)
                figures |= embedder_baselines(embedder_plan, data, tell)
        if detects is not None:
            detector_plan = load_recipe(detector_recipe, DetectorRecipe)
            figures["detector"] = evaluate_detector(detects, detector_plan, data, engine, progress=tell)
        if embeds is not None and detects is not None:
            measured = evaluate_whole(detects, embeds, engine, scenes=scenes, progress=tell)
            figures["pipeline"] = measured.metrics
            if out is not None:
                write_pipeline(measured, out)
    if out is not None:
        (out / "metrics.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    click.echo(json.dumps(figures, indent=2))


def _check_measured(detector: str, embedder: str) -> None:
    """Raises UsageError for options about what is left out."""
    left_out = [name for name, artifact in (("detector", detector), ("embedder", embedder)) if artifact == "none"]
    if len(left_out) == 2:
        raise click.UsageError("--detector none and --embedder none leave nothing to measure")
    for name in left_out:
        for option in ("scenes", f"{name}_recipe", *(("baselines",) if name == "embedder" else ())):
            if given(option):
                raise click.UsageError(f"--{option.replace('_', '-')} means nothing with --{name} none")


def _check_lists(option: str, *paths: Path | None) -> None:
    """Raises UsageError for an option about lists where no path is one."""
    named = [path for path in paths if path is not None]
    if given(option) and all(path.is_dir() or path.suffix.lower() == ".json" for path in named):
        raise click.UsageError(f"--{option} is about lists, and {' and '.join(map(str, named))} is none")


def _check_ways(*, binary: bool, rerank: int, k_reciprocal: bool) -> None:
    """Raises UsageError for ways of ranking that contradict each other."""
    if rerank and not binary:
        raise click.UsageError("--rerank goes with --binary; without it the ranking is by the float embeddings anyway")
    if k_reciprocal and binary:
        raise click.UsageError("--k-reciprocal ranks by the float embeddings; with --binary take --rerank N")


@evaluate.command("retrieval", short_help="recall@k and more of an embedder.", epilog=examples("evaluate retrieval --query query.txt --gallery gallery.txt --root photos --top-k 1,5"))  # fmt: skip
@click.option("--query", required=True, type=LIST, help="List of `path label [id]` lines, or a folder for each label.")
@click.option("--gallery", type=LIST, help="The same for what is searched; default: the queries ask each other.")
@ROOT
@DELIMITER
@IDS
@EMBEDDER
@ENGINE
@threads()
@click.option("--top-k", type=WholeNumbers(), default="1,5", show_default=True, help="For recall@k and precision@k.")
@click.option("--k-reciprocal", is_flag=True, help="Rank by k-reciprocal neighbours (Zhong et al., arXiv:1701.08398).")
@BINARY
@RERANK
@WRITE_TO
def retrieval(
    query: Path,
    gallery: Path | None,
    root: Path | None,
    delimiter: str | None,
    ids: bool,
    embedder: str,
    engine: str,
    threads: int,
    top_k: tuple[int, ...],
    k_reciprocal: bool,
    binary: bool,
    rerank: int,
    out: Path | None,
) -> None:
    """recall@k, retrieval_mAP, mINP and precision@k of an embedder on your lists; no photo is its own answer.

    With --ids photos of equal label and id are never matched. With --out: metrics.json, neighbours.png and the confusion of each query with its nearest.
    """
    from models.artifacts.folders import resolve
    from models.embedder import Embedder
    from models.evaluation.retrieval import evaluate_retrieval, summary, write_retrieval
    from models.training.data.query_photos import listed_photos

    for option in ("root", "delimiter", "ids"):
        _check_lists(option, query, gallery)
    _check_ways(binary=binary, rerank=rerank, k_reciprocal=k_reciprocal)
    passed = Passed()
    with errors():
        read = partial(listed_photos, root=root, delimiter=delimiter, with_id=ids, refuse=passed.leave_out)
        asked = read(query)
        alone = gallery is None or gallery.resolve() == query.resolve()
        searched = None if alone or gallery is None else read(gallery)
        embed = Embedder(resolve(embedder), engine, threads)
        found = evaluate_retrieval(
            embed,
            asked,
            searched,
            embed.similarity_threshold,
            tell_progress(),
            top_k,
            rerank=k_reciprocal,
            binary=binary,
            rerank_embeddings=rerank,
        )
        if out is not None:
            write_retrieval(found, out)
    click.echo(json.dumps(summary(found), indent=2))
    _end(passed, query, gallery)


@evaluate.command(
    "open-set",
    short_help="Known and unknown queries, told apart.",
    epilog=examples("evaluate open-set --query query.txt --gallery gallery.txt --out eval"),
)
@click.option("--query", required=True, type=LIST, help="List of `path label` lines, or a folder for each label.")
@click.option("--gallery", type=LIST, help="The same for what is searched; default: the queries ask each other.")
@click.option("--unknown", type=LIST, help="List or folder of pictures that have no right answer.")
@ROOT
@DELIMITER
@EMBEDDER
@ENGINE
@threads()
@WRITE_TO
def open_set(
    query: Path,
    gallery: Path | None,
    unknown: Path | None,
    root: Path | None,
    delimiter: str | None,
    embedder: str,
    engine: str,
    threads: int,
    out: Path | None,
) -> None:
    """How many known queries are answered rightly where 1, 5 or 10 % of the unknown ones are answered at all.

    Unknown are queries with labels that the gallery lacks, and those of --unknown; without any, every query is asked again
    of the gallery without its label. Also how far probabilities are from the truth, and the precision that min_precision
    0.9 reaches.
    """
    from models.artifacts.folders import resolve
    from models.embedder import Embedder
    from models.evaluation.open_set import describe as described
    from models.evaluation.open_set import evaluate_open_set
    from models.training.data.photos import Photo
    from models.training.data.query_photos import listed_photos
    from models.training.data.readers.pictures import faults_of

    for option in ("root", "delimiter"):
        _check_lists(option, query, gallery, unknown)
    passed = Passed()
    with errors():
        read = partial(listed_photos, root=root, delimiter=delimiter, refuse=passed.leave_out)
        queries = read(query)
        alone = gallery is None or gallery.resolve() == query.resolve()
        searched = None if alone or gallery is None else read(gallery)
        if unknown is not None and unknown.is_dir():  # labels or none: they mean nothing here
            paths = list(found_photos([unknown]))
            broken = faults_of(paths)
            for path, fault in broken.items():
                passed.leave_out(f"{path}: {fault}")
            unknowns = [Photo(path, path.name, "") for path in paths if path not in broken]
            if not unknowns:
                raise click.ClickException(f"there are no pictures in {shown(unknown)} that can be used")
        else:
            unknowns = [] if unknown is None else read(unknown)
        embed = Embedder(resolve(embedder), engine, threads)
        told = json.dumps(described(evaluate_open_set(embed, queries, searched, unknowns, tell_progress())), indent=2)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            (out / "metrics.json").write_text(told + "\n", encoding="utf-8")
    click.echo(told)
    _end(passed, query, gallery, unknown)


@evaluate.command(
    "pipeline",
    short_help="Photo in, labels out, on your photos.",
    epilog=examples("evaluate pipeline --photos shelf/coco.json --gallery products"),
)
@click.option(
    "--photos",
    required=True,
    type=LIST,
    help="COCO file, VOC folder (annotations/*.xml), list of `path label` lines, or a folder for each label.",
)
@click.option(
    "--images", type=PRESENT_FOLDER, help="Where the photos are; default: images/ beside the boxes, or the list's own."
)
@click.option("--gallery", required=True, type=LIST, help="List of `path label` lines, or a folder for each label.")
@ROOT
@DELIMITER
@DETECTOR
@EMBEDDER
@ENGINE
@threads()
@click.option("--threshold", type=click.FloatRange(-1, 1), help="Least similarity; default: the embedder's own.")
@click.option("--max-detections", type=click.IntRange(1, 100), default=5, show_default=True)
@WRITE_TO
def pipeline(
    photos: Path,
    images: Path | None,
    gallery: Path,
    root: Path | None,
    delimiter: str | None,
    detector: str,
    embedder: str,
    engine: str,
    threads: int,
    threshold: float | None,
    max_detections: int,
    out: Path | None,
) -> None:
    """Photo in, labels out, on your photos: how many things are found, how many answers are right, what is confused.

    With --out: metrics.json and the confusion table as JSON, CSV and PNG.
    """
    from models.artifacts.folders import resolve
    from models.detector import Detector
    from models.embedder import Embedder
    from models.evaluation.pipeline import describe, evaluate_photos, photo_gallery, write_pipeline
    from models.options import RecognizeOptions
    from models.pipeline import Recognizer
    from models.training.data.query_photos import listed_photos, read_photos

    _check_lists("root", gallery)
    _check_lists("delimiter", photos, gallery)
    tell = tell_progress()
    passed = Passed()
    with errors():
        asked = read_photos(photos, images, delimiter, passed.leave_out)
        known = listed_photos(gallery, root, delimiter, refuse=passed.leave_out)
        embed = Embedder(resolve(embedder), engine, threads)
        recognize = Recognizer(None if detector == "none" else Detector(resolve(detector), engine, threads), embed)
        options = RecognizeOptions(similarity_threshold=threshold, max_detections=max_detections)
        searched = photo_gallery(embed, known, tell)
        measured = evaluate_photos(recognize, searched, asked, options, tell, len(asked))
        if out is not None:
            write_pipeline(measured, out)
    click.echo(json.dumps(describe(measured), indent=2))
    _end(passed, photos, gallery)


def _end(passed: Passed, *paths: Path | None) -> None:
    """Tells what of lists and folders was left out; exit status 1 if it may have been meant."""
    passed.look_through(*paths)
    passed.tell()
    sys.exit(1 if passed.bad else 0)
