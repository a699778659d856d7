"""`shitu detect` and `shitu embed`: one network by itself, on photos."""

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
from models.artifacts.folders import resolve
from models.engines.loader import PRECISIONS
from models.errors import ModelError
from models.pictures.image import decode
from shitu.cli.options import ENGINE, FILE, JSON, examples, out, threads
from shitu.cli.progress import tracked, working
from shitu.cli.tables import print_table
from shitu.cli.terminal import errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Photo:
    """A picture that could be read, or the reason why not."""

    path: Path
    image: NDArray[np.uint8] | None
    error: str | None = None


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
            help="A bundled or pulled model's name, an artifact or an official archive.",
        ),
        click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path)),
    )


@click.command(epilog=examples("detect shelf.jpg", "detect shelf.jpg --out boxes --json"))
@network_options("shitu-detector")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Least confidence; default: the detector's own.")
@click.option("--max-detections", type=click.IntRange(1, 100), default=5, show_default=True, help="Detections a photo.")
@JSON
@out("Write annotated pictures to this folder.")
def detect(
    photos: Sequence[Path], model: str, engine: str, precision: str, threads: int, threshold: float | None,
    max_detections: int, as_json: bool, out: Path | None,
) -> None:  # fmt: skip
    """Detect the main objects in PHOTOS. A photo that can't be read is reported and skipped; exit status 1."""
    from models.detector import Detector

    with _reported(), working("Loading the detector"):
        detector = Detector(resolve(model), engine=engine, threads=threads, precision=precision)
    if out is not None:
        with errors():
            out.mkdir(parents=True, exist_ok=True)
    answers: list[dict[str, Any]] = []
    failed = False
    taken: set[str] = set()
    for photo in _read(photos):
        if photo.image is None:
            failed = True
            answers.append({"photo": shown(photo.path), "error": photo.error})
            continue
        started = time.perf_counter()
        with _reported():
            found = detector(photo.image, threshold, max_detections)
        took_ms = round(1000 * (time.perf_counter() - started), 1)
        boxes = [{"box": list(one.box), "confidence": round(one.confidence, 4)} for one in found]
        answers.append({"photo": shown(photo.path), "detections": boxes, "took_ms": took_ms})
        if out is not None:
            _save(photo.path, photo.image, boxes, out, taken)
    if as_json:
        lines = ",\n ".join(json.dumps(answer, ensure_ascii=False) for answer in answers)
        click.echo(f"[{lines}]")
    elif any("detections" in answer for answer in answers):
        _print_detections(answers, f"{detector.name} in {detector.precision} on {detector.engine}")
    sys.exit(1 if failed else 0)


@click.command(epilog=examples("embed a.jpg b.jpg --out vectors.npy"))
@network_options("shitu-embedder")
@JSON
@out("Write the vectors, (N, D) float32, as .npy.", FILE)
def embed(
    photos: Sequence[Path], model: str, engine: str, precision: str, threads: int, as_json: bool, out: Path | None
) -> None:
    """Turn each of PHOTOS, whole, into a unit vector. A photo that can't be read is reported and has no row; exit status 1."""
    from models.embedder import Embedder

    with _reported(), working("Loading the embedder"):
        embedder = Embedder(resolve(model), engine=engine, threads=threads, precision=precision)
    if out is not None:
        with errors():
            out.parent.mkdir(parents=True, exist_ok=True)
    table = Table(
        "row",
        "photo",
        Column("vector", no_wrap=True),
        title=f"{embedder.name} in {embedder.precision} on {embedder.engine}, {embedder.dim} dimensions",
    )
    rows: list[NDArray[np.float32]] = []
    answers: list[dict[str, Any]] = []
    failed = False
    for photo in _read(photos):
        if photo.image is None:
            failed = True
            answers.append({"photo": shown(photo.path), "error": photo.error})
            continue
        with _reported():
            vector = embedder([photo.image])[0]
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
            np.save(file, np.stack(rows) if rows else np.zeros((0, embedder.dim), np.float32), allow_pickle=False)
        click.echo(f"{len(rows)} vectors in {out}", err=as_json)
    sys.exit(1 if failed else 0)


@contextmanager
def _reported() -> Iterator[None]:
    """A model that can't be loaded or run ends the command with one line."""
    try:
        yield
    except ModelError as error:
        raise click.ClickException(error.detail) from error


def _read(photos: Sequence[Path]) -> Iterator[Photo]:
    """Each photo as it is reached; an error is printed at once."""
    for path in tracked(photos, "Reading and running"):
        try:
            yield Photo(path, decode(path.read_bytes()))
        except ModelError as error:
            yield _unread(path, error.detail)
        except OSError as error:
            yield _unread(path, f"{error.strerror}.")


def _unread(path: Path, reason: str) -> Photo:
    click.echo(f"{shown(path)}: {reason}", err=True)
    return Photo(path, None, reason)


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
