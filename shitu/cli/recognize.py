"""`shitu recognize`: photos in, labels out, by this machine's models or (--server) by a running service.

Here the gallery is a stored one or a folder of labelled pictures.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from contracts.errors import ServiceError
from contracts.filters import filters_of
from contracts.names import shown
from models import verification
from models.errors import ModelError
from models.galleries.binary_gallery import BinaryGallery
from models.galleries.gallery import Gallery
from models.galleries.joined import JoinedGallery
from models.options import RecognizeOptions, Verify, WholeImage
from models.pictures.image import decode
from models.recognition.paddleclas import to_paddleclas
from models.recognition.pipeline import Recognizer
from shitu.cli.annotate import annotate, legend, own_name
from shitu.cli.options import (
    BINARY,
    BOXES,
    DETECTOR,
    EMBEDDER,
    ENGINE,
    FILTER,
    JSON,
    RERANK,
    SERVER,
    declared,
    examples,
    out,
    threads,
)
from shitu.cli.options import gallery as gallery_option
from shitu.cli.progress import tracked, working
from shitu.cli.recognized import Answer, print_answers
from shitu.cli.searched import Passed, found_photos, open_gallery, read_bytes
from shitu.cli.server import Server, ServerError
from shitu.cli.terminal import errors, given
from shitu.client.pictures import url_of

AT_ONCE = 4  # photos that a service gets at a time
ABOUT_ALL = {"gallery_not_found", "gallery_name_invalid", "invalid_options"}  # what no other photo changes


class PhotoArgument(click.Path):
    """A file or folder; or an address, which only a service fetches: a path would lose one of its slashes."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A Path, or an address as it is written."""
        return value if url_of(value) is not None else super().convert(value, param, ctx)


@click.command(epilog=examples("recognize shelf.jpg --gallery my-pictures", "recognize photos/ --gallery drinks --json", "recognize shelf.jpg --gallery drinks --server http://127.0.0.1:8000"))  # fmt: skip
@click.argument("photos", nargs=-1, required=True, type=PhotoArgument(path_type=Path))
@gallery_option(
    "A stored gallery's name, a folder with a sub-folder of pictures for each label, or a list of paths and labels. With --server: a name. "
    "Several are searched as one.",
    required=True,
    multiple=True,
)
@DETECTOR
@EMBEDDER
@ENGINE
@threads()
@declared("min_precision", "Expected precision of the answers; a lower one gives more answers.")
@declared("similarity_threshold", "Least similarity; decides instead of --min-precision.", "--threshold")
@declared("verify", "Compare local features with the nearest items: where in doubt, always, or never.")
@declared("top_k", "Matches reported for each detection.")
@declared("whole_image", "Search the whole image too: always, where no detection is answered, or never.")
@BOXES
@FILTER
@click.option("--trace", is_flag=True, help="With --json: every candidate box and match, thresholds and reasons.")
@BINARY
@RERANK
@JSON
@click.option(
    "--format",
    "output",
    type=click.Choice(["table", "json", "paddleclas"]),
    default="table",
    show_default=True,
    help="Of standard output.",
)
@out("Write annotated pictures to this folder.")
@SERVER
def recognize(
    photos: Sequence[Path | str],
    gallery: tuple[str, ...],
    detector: str,
    embedder: str,
    engine: str,
    threads: int,
    min_precision: float,
    threshold: float | None,
    verify: Verify,
    top_k: int,
    whole_image: WholeImage,
    boxes: tuple[list[int], ...],
    filters: tuple[str, ...],
    trace: bool,
    binary: bool,
    rerank: int,
    as_json: bool,
    output: str,
    out: Path | None,
    server: str | None,
) -> None:
    """Recognise PHOTOS (files or folders) against a gallery. What can't be read is reported and skipped; exit status 1.

    With --server also addresses that the service fetches: https://…, s3://bucket/key.
    """
    _check(detector, whole_image, output, binary=binary, rerank=rerank, as_json=as_json)
    _check_server(server)
    _check_addresses(photos, server, out)
    if twice := sorted({name for name in gallery if gallery.count(name) > 1}):
        raise click.UsageError(f"--gallery {twice[0]} is named twice")
    shape = "json" if as_json else output
    if trace and shape != "json":
        raise click.UsageError("--trace shows in JSON alone; add --json")
    options = RecognizeOptions(
        min_precision=min_precision,
        similarity_threshold=threshold,
        verify=verify,
        top_k=top_k,
        whole_image=whole_image,
        compat="paddleclas" if shape == "paddleclas" else None,
        boxes=list(boxes) or None,
        trace=trace,
    )
    console, passed = Console(stderr=True), Passed()
    with errors():
        if server is None:
            recognize_one = _here(
                gallery,
                detector,
                embedder,
                engine,
                threads,
                rerank if binary else None,
                filters,
                options,
                console,
                passed,
            )
        else:
            recognize_one = partial(_there, Server(server), gallery, _sent(options), filters)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
    answers: list[Answer] = []
    taken = set[str]()
    paths = [one for photo in photos for one in ([photo] if isinstance(photo, str) else found_photos([photo], passed))]
    if not paths:
        passed.report()
        raise click.ClickException("there are no pictures in " + ", ".join(map(shown, photos)))
    for path, found in _answered(recognize_one, paths, console, at_once=1 if server is None else AT_ONCE):
        if isinstance(found, Refused):
            passed.refused[found.code] += 1
            console.print(f"{shown(path)}: {found.detail} ({found.code})", style="red", markup=False, soft_wrap=True)
            continue
        answers.append(Answer(path, found))
        if out is not None and isinstance(path, Path):
            _draw(path, found["recognitions"], out / own_name(path.stem, ".png", taken), console)
    print_answers(answers, shape)
    passed.report()
    sys.exit(1 if passed.bad else 0)


RecognizeOne = Callable[[Any], dict[str, Any]]  # raises ModelError, ServiceError, ServerError


@dataclass(frozen=True)
class Refused:
    """Why a photo has no answer."""

    detail: str
    code: str


def _answered(
    recognize_one: RecognizeOne, paths: Sequence[Path | str], console: Console, *, at_once: int
) -> Iterator[tuple[Path | str, dict[str, Any] | Refused]]:
    """Each photo with its answer, in their order."""

    def answer(path: Path | str) -> dict[str, Any] | Refused:
        try:
            return recognize_one(path)
        except (ModelError, ServiceError) as error:
            return Refused(error.detail, error.code)
        except ServerError as error:
            if not error.code or error.code in ABOUT_ALL:
                raise  # the next photo would fare no better
            return Refused(error.detail, error.code)

    if at_once == 1:
        for path in tracked(paths, "Recognising", console):
            yield path, answer(path)
        return
    pool = ThreadPoolExecutor(at_once)
    try:
        running = [(path, pool.submit(answer, path)) for path in paths]
        for path, future in tracked(running, "Recognising", console):
            yield path, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _here(
    galleries: Sequence[str], detector: str, embedder: str, engine: str, threads: int, rerank: int | None,
    filters: Sequence[str], options: RecognizeOptions, console: Console, passed: Passed,
) -> RecognizeOne:  # fmt: skip
    """Recognises with the models of this machine; `rerank` None: by float embeddings. Raises ModelError, ServiceError."""
    from models.artifacts.folders import resolve
    from models.detector import Detector
    from models.embedder import Embedder

    with working("Loading the models"):
        idle = detector == "none" or options.boxes is not None
        finder = None if idle else Detector(resolve(detector), engine, threads)
        embed = Embedder(resolve(embedder), engine, threads)
    make = Gallery if rerank is None else partial(BinaryGallery, rerank=rerank)
    opened = [open_gallery(gallery, embed, console, make, passed) for gallery in galleries]
    joined = opened[0] if len(opened) == 1 else JoinedGallery(opened)
    searched = joined.filtered(filters_of(filters))
    recognizer = Recognizer(finder, embed, verification)

    def recognize_one(path: Path) -> dict[str, Any]:
        image = decode(read_bytes(path), colour_managed=options.compat is None)
        found = recognizer(image, searched, options)
        return found.to_dict() | ({"paddleclas": to_paddleclas(found)} if options.compat else {})

    return recognize_one


def _there(
    server: Server, gallery: Sequence[str], options: dict[str, Any], filters: Sequence[str], path: Path | str
) -> dict[str, Any]:
    """Has the service recognise it."""
    if isinstance(path, str):
        return server.recognized_at(path, gallery, options, filters)
    return server.recognized(path, read_bytes(path), gallery, options, filters)


def _sent(options: RecognizeOptions) -> dict[str, Any]:
    """The options that the service is sent: those which differ from its defaults."""
    usual = asdict(RecognizeOptions())
    return {name: value for name, value in asdict(options).items() if value != usual[name]}


def _draw(path: Path, recognitions: Sequence[dict[str, Any]], target: Path, console: Console) -> None:
    """Writes the photo with its answers drawn over it, and prints what the numbers in it stand for."""
    with errors():
        annotate(decode(read_bytes(path)), recognitions).save(target)
    for label, number in legend(recognitions).items():
        console.print(f"{shown(target)}: #{number} is {label}", markup=False, highlight=False, soft_wrap=True)


def _check_server(server: str | None) -> None:
    """Raises UsageError for options about this machine's models where a service does it."""
    for option in ("detector", "embedder", "engine", "threads", "binary", "rerank"):
        if server is not None and given(option):
            raise click.UsageError(f"--{option} has no effect with --server: the service's workers have theirs")


def _check_addresses(photos: Sequence[Path | str], server: str | None, out: Path | None) -> None:
    """Raises UsageError for addresses that nobody would fetch, or whose photos would be drawn on."""
    named = [photo for photo in photos if isinstance(photo, str)]
    if named and server is None:
        raise click.UsageError(f"{shown(named[0])} is fetched by a service alone; add --server")
    if named and out is not None:
        raise click.UsageError(f"--out draws on files of this machine alone, not on {shown(named[0])}")


def _check(detector: str, whole_image: str, output: str, *, binary: bool, rerank: int, as_json: bool) -> None:
    """Raises UsageError for options of which one would make another mean nothing."""
    if given("min_precision") and given("threshold"):
        raise click.UsageError("--threshold decides instead of --min-precision; give one of them")
    if rerank and not binary:
        raise click.UsageError("--rerank needs --binary; without it the search uses the float embeddings already")
    if as_json and given("output") and output != "json":
        raise click.UsageError(f"--json and --format {output} contradict each other; give one of them")
    if detector == "none" and whole_image == "never":
        raise click.UsageError("--detector none and --whole-image never leave nothing to recognise")
    for option in ("detector", "whole_image"):
        if given("boxes") and given(option):
            raise click.UsageError(
                f"--box looks up the boxes alone; --{option.replace('_', '-')} has no effect with it"
            )
    if output == "paddleclas" and given("boxes"):
        raise click.UsageError("--format paddleclas detects, as PaddleClas does; --box goes with the other formats")
    if output == "paddleclas" and (given("min_precision") or given("verify")):
        raise click.UsageError("--format paddleclas decides by similarity alone, as PaddleClas does: --threshold")
    if output == "paddleclas" and given("top_k"):
        raise click.UsageError("--format paddleclas has the nearest item alone; --top-k goes with the other formats")
    if output == "paddleclas" and given("whole_image") and whole_image != "always":
        raise click.UsageError("--format paddleclas always searches the whole image too, as PaddleClas does")
