"""`shitu recognize`: photos in, labels out, without a server. The gallery is a stored one or a folder of labelled pictures."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from commands.annotate import annotate, legend, own_name
from commands.tables import print_table
from commands.terminal import errors, given
from infra.errors import ServiceError
from models.binary_gallery import BinaryGallery
from models.engine import ENGINES
from models.errors import ImageError, ModelError
from models.gallery import Gallery
from models.image import decode
from models.options import RecognizeOptions, WholeImage
from models.paddleclas import to_paddleclas
from models.pipeline import Recognitions, Recognizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.embedder import Embedder

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class FolderItem:
    """A picture of a gallery folder."""

    id: str
    label: str


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
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="CPU threads.")
@click.option("--threshold", type=click.FloatRange(-1, 1), help="Least similarity; default: the embedder's own.")
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
    threshold: float | None,
    top_k: int,
    whole_image: WholeImage,
    binary: bool,
    rerank: int,
    as_json: bool,
    output: str,
    save: Path | None,
) -> None:
    """Recognise PHOTOS (files or folders) against a gallery. A bad photo is told and the others go on; exit status 1."""
    from models.artifacts import resolve
    from models.detector import Detector
    from models.embedder import Embedder

    _check(detector, whole_image, output, binary=binary, rerank=rerank, as_json=as_json)
    console = Console(stderr=True)
    shape = "json" if as_json else output
    options = RecognizeOptions(
        similarity_threshold=threshold,
        top_k=top_k,
        whole_image=whole_image,
        compat="paddleclas" if shape == "paddleclas" else None,
    )
    try:
        finder = None if detector == "none" else Detector(resolve(detector), engine, threads)
        embed = Embedder(resolve(embedder), engine, threads)
        searched = _gallery(gallery, embed, console, partial(BinaryGallery, rerank=rerank) if binary else Gallery)
    except (ModelError, ServiceError) as error:
        raise click.ClickException(f"{error.detail} ({error.code})") from error
    if save is not None:
        with errors():
            save.mkdir(parents=True, exist_ok=True)
    recognizer = Recognizer(finder, embed)
    answers: list[Answer] = []
    failed = False
    paths, taken = list(found_photos(photos)), set[str]()
    if not paths:
        raise click.ClickException("there are no pictures in " + ", ".join(map(str, photos)))
    hidden = len(paths) < 2 or not console.is_terminal
    for path in track(paths, "Recognising", console=console, transient=True, disable=hidden):
        try:
            image = decode(_bytes(path))
            result = recognizer(image, searched, options)
        except ModelError as error:
            failed = True
            console.print(f"{path}: {error.detail} ({error.code})", style="red", markup=False, soft_wrap=True)
            continue
        answer = Answer(path, result)
        answers.append(answer)
        if save is not None:
            drawn, name = result.to_dict()["recognitions"], own_name(path.stem, ".png", taken)
            annotate(image, drawn).save(save / name)
            for label, number in legend(drawn).items():
                console.print(f"{save / name}: #{number} is {label}", markup=False, highlight=False, soft_wrap=True)
    _print(answers, shape)
    sys.exit(1 if failed else 0)


def _check(detector: str, whole_image: str, output: str, *, binary: bool, rerank: int, as_json: bool) -> None:
    """Raises UsageError for options of which one would make another mean nothing."""
    if rerank and not binary:
        raise click.UsageError("--rerank goes with --binary; without it the search is by the floats anyway")
    if as_json and given("output") and output != "json":
        raise click.UsageError(f"--json and --format {output} contradict each other; give one of them")
    if detector == "none" and whole_image == "never":
        raise click.UsageError("--detector none and --whole-image never leave nothing to recognise")
    if output == "paddleclas" and given("top_k"):
        raise click.UsageError("--format paddleclas has the nearest item alone; --top-k goes with the other formats")
    if output == "paddleclas" and given("whole_image") and whole_image != "always":
        raise click.UsageError("--format paddleclas always asks for the whole image too, as PaddleClas does")


def found_photos(paths: Sequence[Path]) -> Iterator[Path]:
    """Files as they are named, folders by their pictures, sorted, at any depth."""
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
        else:
            yield path


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError("no such file, or it can't be read", "image_not_found") from error


def _gallery(name: str, embedder: "Embedder", console: Console, make: Callable[..., Gallery]) -> Gallery:
    """The gallery of that name or folder; `make` takes items, embeddings, name and version."""
    folder = Path(name)
    if folder.is_dir():
        return _folder_gallery(folder, embedder, console, make)
    if "/" in name:  # no gallery's name has one
        raise click.ClickException(f"there is no folder {name!r}")
    from infra.galleries import GalleryStore
    from infra.objects import open_store
    from infra.settings import load_settings

    settings = load_settings()
    manifest, items, embeddings = GalleryStore(open_store(settings.objects, settings.data_dir)).load(name)
    if manifest.embedder_digest not in (None, embedder.digest):
        raise click.ClickException(f"the gallery {name!r} was made with another embedder than {embedder.name}")
    return make(items, embeddings.reshape(len(items), embedder.dim), name, manifest.version)


def _folder_gallery(folder: Path, embedder: "Embedder", console: Console, make: Callable[..., Gallery]) -> Gallery:
    pictures = [(path, path.parent.name) for path in found_photos([folder]) if path.parent != folder]
    if not pictures:
        raise click.ClickException(f"{folder} holds no sub-folders with pictures (one sub-folder for each label)")
    shown = track(pictures, "Reading the gallery", console=console, transient=True, disable=not console.is_terminal)
    images = [_picture(path) for path, _ in shown]
    items = [FolderItem(str(path.relative_to(folder)), label) for path, label in pictures]
    return make(items, embedder(images), folder.name, 1)


def _picture(path: Path) -> "NDArray[np.uint8]":
    try:
        return decode(_bytes(path))
    except ModelError as error:
        raise click.ClickException(f"the gallery's {path}: {error.detail} ({error.code})") from error


def _print(answers: Sequence[Answer], shape: str) -> None:
    if shape == "json":
        told = [{"photo": str(answer.path), **answer.found.to_dict()} for answer in answers]
        click.echo(json.dumps(told, ensure_ascii=False, indent=2))
        return
    if shape == "paddleclas":
        for answer in answers:
            click.echo(str(to_paddleclas(answer.found)))
        return
    if not answers:
        return
    table = Table()
    for column in ("photo", "box", "label", "similarity", "confidence"):
        table.add_column(column, justify="left" if column in ("photo", "label") else "right")
    for answer in answers:
        name = Text(str(answer.path))
        if not answer.found.recognitions:
            table.add_row(name, "", f"— ({answer.found.reason})", "", "")
        for one in answer.found.recognitions:
            confidence = "" if one.confidence is None else f"{one.confidence:.2f}"
            box = ", ".join(map(str, one.box))
            table.add_row(name, box, Text(one.label), f"{one.similarity:.2f}", confidence)
    print_table(table)
