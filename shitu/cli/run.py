"""`shitu detect` and `shitu embed`: one network by itself, on photos, here or (--server) by a running service."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from rich.table import Column, Table
from rich.text import Text

from contracts.names import shown
from models.artifacts.official import ASSUMED
from models.engines.loader import PRECISIONS
from models.errors import ModelError
from models.pictures.image import decode
from shitu.cli.options import ENGINE, FILE, JSON, SERVER, examples, out, threads
from shitu.cli.progress import tracked, working
from shitu.cli.server import Server, ServerError
from shitu.cli.tables import print_table
from shitu.cli.terminal import errors, given
from shitu.cli.weights import model_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Photo:
    """A picture that could be read, or the reason why not. `data` are its bytes, `image` what they show, where models here run."""

    path: Path
    data: bytes
    image: NDArray[np.uint8] | None
    error: str | None = None


@dataclass(frozen=True)
class Runner:
    """What runs the network: of a photo its answer, and what the answers are titled. Raises ModelError, ServerError."""

    title: str
    answer: Callable[[Photo], Any]
    here: bool  # False: a service does it
    dim: int = 0  # of embeddings, as far as it is known before the first


def network_options(bundled: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The arguments that both commands share; without `--model` they run the `bundled` one."""

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        for decorate in _options(bundled):
            command = decorate(command)
        return command

    return decorated


def _options(bundled: str) -> tuple[Callable[..., Any], ...]:
    return (
        threads(),
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            default="auto",
            show_default=True,
            help="Of those that the model was exported in; auto: the most exact one.",
        ),
        ENGINE,
        click.option(
            "--model",
            default=bundled,
            show_default=True,
            help="A bundled or pulled model's name, an artifact, an official archive, or .pdparams weights.",
        ),
        click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path)),
    )


@click.command(epilog=examples("detect shelf.jpg", "detect shelf.jpg --out boxes --json"))
@network_options("shitu-detector")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Least confidence; default: the detector's own.")
@click.option("--max-detections", type=click.IntRange(1, 100), default=5, show_default=True, help="Detections a photo.")
@JSON
@out("Write annotated pictures to this folder.")
@SERVER
def detect(
    photos: Sequence[Path], model: str, engine: str, precision: str, threads: int, threshold: float | None,
    max_detections: int, as_json: bool, out: Path | None, server: str | None,
) -> None:  # fmt: skip
    """Detect the main objects in PHOTOS. A photo that can't be read is reported and skipped; exit status 1."""
    if server is None:
        runner = _detecting_here(model, engine, precision, threads, threshold, max_detections)
    else:
        runner = _detecting_there(Server(of_service(server)), threshold, max_detections)
    if out is not None:
        with errors():
            out.mkdir(parents=True, exist_ok=True)
    answers: list[dict[str, Any]] = []
    failed = False
    taken: set[str] = set()
    for photo, found in _answered(runner, photos):
        if found is None:
            failed = True
            answers.append({"photo": shown(photo.path), "error": photo.error})
            continue
        answers.append({"photo": shown(photo.path), **found})
        if out is not None:
            _save(photo.path, _pixels(photo), found["detections"], out, taken)
    if as_json:
        lines = ",\n ".join(json.dumps(answer, ensure_ascii=False) for answer in answers)
        click.echo(f"[{lines}]")
    elif any("detections" in answer for answer in answers):
        _print_detections(answers, runner.title)
    sys.exit(1 if failed else 0)


def _detecting_here(
    model: str, engine: str, precision: str, threads: int, threshold: float | None, most: int
) -> Runner:  # fmt: skip
    from models.detector import Detector

    with _reported(), working("Loading the detector"):
        detector = Detector(model_folder(model, "detect"), engine=engine, threads=threads, precision=precision)
    if ASSUMED in detector.manifest.network:
        click.echo(f"{detector.name}: {detector.manifest.network}", err=True)

    def answer(photo: Photo) -> dict[str, Any]:
        image = _pixels(photo)
        started = time.perf_counter()
        found = detector(image, threshold, most)
        took_ms = round(1000 * (time.perf_counter() - started), 1)
        boxes = [{"box": list(one.box), "confidence": round(one.confidence, 4)} for one in found]
        return {"detections": boxes, "took_ms": took_ms}

    return Runner(f"{detector.name} in {detector.precision} on {detector.engine}", answer, here=True)


def _detecting_there(server: Server, threshold: float | None, most: int) -> Runner:
    def answer(photo: Photo) -> dict[str, Any]:
        result = server.photo_result(
            "detections", photo.path, photo.data, detection_threshold=threshold, max_detections=most
        )
        boxes = [{"box": one["box"], "confidence": round(one["confidence"], 4)} for one in result["detections"]]
        return {"detections": boxes, "took_ms": round(result["timings_ms"]["total"], 1)}

    return Runner(f"the detector of {server.url}", answer, here=False)


@click.command(epilog=examples("embed a.jpg b.jpg --out vectors.npy"))
@network_options("shitu-embedder")
@JSON
@out("Write the vectors, (N, D) float32, as .npy.", FILE)
@SERVER
def embed(
    photos: Sequence[Path], model: str, engine: str, precision: str, threads: int, as_json: bool, out: Path | None,
    server: str | None,
) -> None:  # fmt: skip
    """Turn each of PHOTOS, whole, into a unit vector. A photo that can't be read is reported and has no row; exit status 1."""
    if server is None:
        runner = _embedding_here(model, engine, precision, threads)
    else:
        runner = _embedding_there(Server(of_service(server, but="model")), model if given("model") else None)
    if out is not None:
        with errors():
            out.parent.mkdir(parents=True, exist_ok=True)
    table = Table("row", "photo", Column("vector", no_wrap=True), title=runner.title)
    rows: list[NDArray[np.float32]] = []
    answers: list[dict[str, Any]] = []
    failed = False
    for photo, vector in _answered(runner, photos):
        if vector is None:
            failed = True
            answers.append({"photo": shown(photo.path), "error": photo.error})
            continue
        table.add_row(str(len(rows)), Text(shown(photo.path)), " ".join(f"{value:+.3f}" for value in vector[:4]) + " …")
        answers.append(
            {"photo": shown(photo.path), "row": len(rows), "embedding": [round(float(one), 6) for one in vector]}
        )
        rows.append(vector)
    if as_json:
        click.echo(json.dumps(answers, ensure_ascii=False))
    elif rows:
        print_table(table)
    if out is not None:
        with errors(), out.open("wb") as file:  # numpy would add an ending to a name
            np.save(file, np.stack(rows) if rows else np.zeros((0, runner.dim), np.float32), allow_pickle=False)
        click.echo(f"{len(rows)} vectors in {out}", err=as_json)
    sys.exit(1 if failed else 0)


def _embedding_here(model: str, engine: str, precision: str, threads: int) -> Runner:
    from models.embedder import Embedder

    with _reported(), working("Loading the embedder"):
        embedder = Embedder(model_folder(model, "embed"), engine=engine, threads=threads, precision=precision)
    title = f"{embedder.name} in {embedder.precision} on {embedder.engine}, {embedder.dim} dimensions"
    return Runner(title, lambda photo: embedder([_pixels(photo)])[0], here=True, dim=embedder.dim)


def _embedding_there(server: Server, embedder: str | None) -> Runner:
    chosen = {} if embedder is None else {"embedder": embedder}

    def answer(photo: Photo) -> NDArray[np.float32]:
        (part,) = server.photo_result("embeddings", photo.path, photo.data, **chosen)["embeddings"]
        if part["embedding"] is None:
            raise ServerError("The embedder gives no usable answer.", "embedding_invalid")
        return np.asarray(part["embedding"], np.float32)

    return Runner(f"{embedder or 'the embedder'} of {server.url}", answer, here=False)


def of_service(url: str, but: str = "") -> str:
    """`url`. Raises UsageError for options about this machine's models, `but` for one, where a service does it."""
    for option in ("model", "engine", "precision", "threads"):
        if option != but and given(option):
            raise click.UsageError(f"--{option} has no effect with --server: the service's workers have theirs")
    return url


@contextmanager
def _reported() -> Iterator[None]:
    """A model that can't be loaded or run ends the command with one line."""
    try:
        yield
    except ModelError as error:
        raise click.ClickException(error.detail) from error


def _answered(runner: Runner, photos: Sequence[Path]) -> Iterator[tuple[Photo, Any]]:
    """Each photo with its answer, None where there is none; an error about one photo is printed at once."""
    for path in tracked(photos, "Reading and running"):
        try:
            data = path.read_bytes()
            photo = Photo(path, data, decode(data) if runner.here else None)
        except ModelError as error:
            yield _unread(path, error.detail), None
            continue
        except OSError as error:
            yield _unread(path, f"{error.strerror}."), None
            continue
        try:
            with _reported():
                found = runner.answer(photo)
        except ServerError as error:
            if not error.code:
                raise  # the next photo would fare no better
            yield _unread(path, error.detail), None
            continue
        yield photo, found


def _pixels(photo: Photo) -> NDArray[np.uint8]:
    return decode(photo.data) if photo.image is None else photo.image


def _unread(path: Path, reason: str) -> Photo:
    click.echo(f"{shown(path)}: {reason}", err=True)
    return Photo(path, b"", None, reason)


def _print_detections(answers: Sequence[dict[str, Any]], title: str) -> None:
    table = Table("photo", Column("box", no_wrap=True), "confidence", "ms", title=title)
    for answer in answers:
        found = answer.get("detections")
        if found is None:
            continue
        if not found:
            table.add_row(Text(answer["photo"]), "nothing found", "", f"{answer['took_ms']}")
        for i, one in enumerate(found):
            first = (answer["photo"], f"{answer['took_ms']}") if i == 0 else ("", "")
            table.add_row(Text(first[0]), " ".join(map(str, one["box"])), f"{one['confidence']:.3f}", first[1])
    print_table(table)


def _save(path: Path, image: NDArray[np.uint8], boxes: Sequence[dict[str, Any]], folder: Path, taken: set[str]) -> None:
    from shitu.cli.annotate import annotate, own_name

    marked = [{"box": one["box"], "label": "object", "confidence": one["confidence"]} for one in boxes]
    annotate(image, marked).save(folder / own_name(path.stem, ".jpg", taken), quality=92)
