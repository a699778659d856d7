"""`shitu recognize`: photos in, labels out, without a server. The gallery is a stored one or a folder of labelled pictures."""

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from commands.annotate import annotate, legend, own_name
from commands.searched import Passed, found_photos, open_gallery, read_bytes
from commands.tables import print_table
from commands.terminal import errors, given
from contracts.names import shown
from infra.errors import ServiceError
from infra.machine import read_limits
from models import verification
from models.binary_gallery import BinaryGallery
from models.engine import ENGINES
from models.errors import ModelError
from models.gallery import Gallery
from models.image import decode
from models.options import RecognizeOptions, Verify, WholeImage
from models.paddleclas import to_paddleclas
from models.pipeline import Recognizer
from models.recognition import Candidate, Decision, Recognitions, Verification

GUESSES = 3  # shown of a part that is not sure enough
ROOMY = 200  # columns of a terminal that has room for their items
WIDE = 110  # columns of a terminal that has room for all numbers


@dataclass(frozen=True)
class Answer:
    """What was found in a photo."""

    path: Path
    found: Recognitions


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--gallery", required=True, help="A stored gallery's name, or a folder: a sub-folder of pictures for each label."
)
@click.option(
    "--detector", default="shitu-detector", show_default=True, help="Name or folder; `none` for the whole image."
)
@click.option("--embedder", default="shitu-embedder", show_default=True, help="Name or folder.")
@click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=lambda: min(2, read_limits().cores),
    show_default="2, or the cores if fewer",
    help="CPU threads.",
)
@click.option(
    "--min-precision",
    type=click.FloatRange(0.5, 0.999),
    default=0.9,
    show_default=True,
    help="Of the answers given, so many are expected to be right; more answers the lower.",
)
@click.option("--threshold", type=click.FloatRange(-1, 1), help="Least similarity; decides instead of --min-precision.")
@click.option(
    "--verify",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Compare local features with the nearest items: where in doubt, always, or never.",
)
@click.option("--top-k", type=click.IntRange(1, 100), default=5, show_default=True, help="Matches shown for each body.")
@click.option(
    "--whole-image", type=click.Choice(["always", "fallback", "never"]), default="fallback", show_default=True
)
@click.option("--binary", is_flag=True, help="Search the gallery by the signs of its embeddings, by Hamming distance.")
@click.option(
    "--rerank",
    type=click.IntRange(0),
    default=0,
    help="With --binary: put so many of the nearest in order by the floats.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array on standard output.")
@click.option(
    "--format", "output", type=click.Choice(["table", "json", "paddleclas"]), default="table", show_default=True
)
@click.option(
    "--save", type=click.Path(path_type=Path, file_okay=False), help="Write annotated pictures to this folder."
)
def recognize(
    photos: Sequence[Path],
    gallery: str,
    detector: str,
    embedder: str,
    engine: str,
    threads: int,
    min_precision: float,
    threshold: float | None,
    verify: Verify,
    top_k: int,
    whole_image: WholeImage,
    binary: bool,
    rerank: int,
    as_json: bool,
    output: str,
    save: Path | None,
) -> None:
    """Recognise PHOTOS (files or folders) against a gallery. What can't be read is told and the others go on; exit status 1."""
    from models.artifacts import resolve
    from models.detector import Detector
    from models.embedder import Embedder

    _check(detector, whole_image, output, binary=binary, rerank=rerank, as_json=as_json)
    console = Console(stderr=True)
    shape = "json" if as_json else output
    passed = Passed()
    options = RecognizeOptions(
        min_precision=min_precision,
        similarity_threshold=threshold,
        verify=verify,
        top_k=top_k,
        whole_image=whole_image,
        compat="paddleclas" if shape == "paddleclas" else None,
    )
    try:
        finder = None if detector == "none" else Detector(resolve(detector), engine, threads)
        embed = Embedder(resolve(embedder), engine, threads)
        make = partial(BinaryGallery, rerank=rerank) if binary else Gallery
        searched = open_gallery(gallery, embed, console, make, passed)
    except (ModelError, ServiceError) as error:
        raise click.ClickException(f"{error.detail} ({error.code})") from error
    if save is not None:
        with errors():
            save.mkdir(parents=True, exist_ok=True)
    recognizer = Recognizer(finder, embed, verification)
    answers: list[Answer] = []
    paths, taken = list(found_photos(photos, passed)), set[str]()
    if not paths:
        passed.tell()
        raise click.ClickException("there are no pictures in " + ", ".join(map(shown, photos)))
    hidden = len(paths) < 2 or not console.is_terminal
    for path in track(paths, "Recognising", console=console, transient=True, disable=hidden):
        try:
            image = decode(read_bytes(path), colour_managed=options.compat is None)
            result = recognizer(image, searched, options)
        except (ModelError, ServiceError) as error:
            passed.refused[error.code] += 1
            console.print(f"{shown(path)}: {error.detail} ({error.code})", style="red", markup=False, soft_wrap=True)
            continue
        answer = Answer(path, result)
        answers.append(answer)
        if save is not None:
            drawn, name = result.to_dict()["recognitions"], own_name(path.stem, ".png", taken)
            annotate(image, drawn).save(save / name)
            for label, number in legend(drawn).items():
                console.print(
                    f"{shown(save / name)}: #{number} is {label}", markup=False, highlight=False, soft_wrap=True
                )
    _print(answers, shape)
    passed.tell()
    sys.exit(1 if passed.bad else 0)


def _check(detector: str, whole_image: str, output: str, *, binary: bool, rerank: int, as_json: bool) -> None:
    """Raises UsageError for options of which one would make another mean nothing."""
    if given("min_precision") and given("threshold"):
        raise click.UsageError("--threshold decides instead of --min-precision; give one of them")
    if rerank and not binary:
        raise click.UsageError("--rerank goes with --binary; without it the search is by the floats anyway")
    if as_json and given("output") and output != "json":
        raise click.UsageError(f"--json and --format {output} contradict each other; give one of them")
    if detector == "none" and whole_image == "never":
        raise click.UsageError("--detector none and --whole-image never leave nothing to recognise")
    if output == "paddleclas" and (given("min_precision") or given("verify")):
        raise click.UsageError("--format paddleclas decides by similarity alone, as PaddleClas does: --threshold")
    if output == "paddleclas" and given("top_k"):
        raise click.UsageError("--format paddleclas has the nearest item alone; --top-k goes with the other formats")
    if output == "paddleclas" and given("whole_image") and whole_image != "always":
        raise click.UsageError("--format paddleclas always asks for the whole image too, as PaddleClas does")


def _print(answers: Sequence[Answer], shape: str) -> None:
    if shape == "json":
        told = [{"photo": shown(answer.path), **answer.found.to_dict()} for answer in answers]
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    if shape == "paddleclas":
        for answer in answers:
            click.echo(str(to_paddleclas(answer.found)))
        return
    if not answers:
        return
    table = Table(caption=_decided(answers[0].found.decision), caption_justify="left")
    compared = any(one.verification for answer in answers for one in answer.found.recognitions)
    compared = compared or any(part.verification for answer in answers for part in answer.found.dropped)
    narrow = sys.stdout.isatty() and shutil.get_terminal_size().columns < WIDE
    compared = compared and not narrow
    for column in ("photo", "box", "label", "probability", *["similarity", "confidence"] * (not narrow)):
        words = column in ("photo", "label")
        table.add_column(column, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    if compared:
        table.add_column("inliers", justify="right")
    most = 1 if narrow else 3  # of the numbers: a narrow terminal has room for names and labels first
    for answer in answers:
        name = Text(shown(answer.path))
        if not answer.found.recognitions:
            table.add_row(name, "", f"— ({answer.found.reason})", *[""] * most)
        for one in answer.found.recognitions:
            numbers = (likely(one.probability), f"{one.similarity:.2f}", _confidence(one.confidence))
            table.add_row(
                name, _box(one.box), Text(one.label), *numbers[:most], *[_inliers(one.verification)] * compared
            )
        for part in answer.found.dropped:
            if part.reason.startswith("below_") or part.reason == "unlike_whole_image":
                guesses = Text("? " + ", ".join(_guess(one) for one in part.candidates[:GUESSES]))
                numbers = ("", "", _confidence(part.confidence))
                table.add_row(name, _box(part.box), guesses, *numbers[:most], *[_inliers(part.verification)] * compared)
    print_table(table)


def _decided(decision: Decision | None) -> str | None:
    """The threshold in force and how it came about."""
    if decision is None:
        return None
    if decision.similarity_threshold is not None:
        return f"answers from similarity {decision.similarity_threshold:.2f} on"
    by = "the gallery's own pictures" if decision.calibration == "gallery" else "the embedder's evaluation"
    least = decision.probability_threshold
    if decision.calibration == "uncalibrated":
        return f"answers from probability {least:.3g} on, uncalibrated: binary codes alone (--rerank, or --threshold)"
    return f"answers from probability {least:.3g} on, for a precision of {decision.min_precision:g}, calibrated by {by}"


def likely(probability: float) -> str:
    """Two digits; nothing is certain."""
    return f"{min(probability, 0.99):.2f}"


def _guess(one: Candidate) -> str:
    """A candidate, with the item to look at where there is room for it."""
    roomy = not sys.stdout.isatty() or shutil.get_terminal_size().columns >= ROOMY
    return f"{one.label} {likely(one.probability)}" + (f" ({one.match.item.id})" if roomy else "")


def _inliers(verification: Verification | None) -> str:
    return "" if verification is None else str(verification.inliers)


def _box(box: Sequence[int]) -> str:
    return ", ".join(map(str, box))


def _confidence(confidence: float | None) -> str:
    return "" if confidence is None else f"{confidence:.2f}"
