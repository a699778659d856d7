"""`shitu recognize`: photos in, labels out, without a server. The gallery is a stored one or a folder of labelled pictures."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track
from rich.table import Table

from commands.annotate import annotate
from infra.errors import ServiceError
from models.errors import ModelError
from models.image import decode
from models.paddleclas import to_paddleclas
from models.pipeline import RecognizeOptions, Recognizer

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True)
class FolderItem:
    """A picture of a gallery folder."""

    id: str
    label: str


@click.command()
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--gallery", required=True, help="A stored gallery's name, or a folder: a sub-folder of pictures for each label."
)
@click.option(
    "--detector", default="shitu-detector", show_default=True, help="Name or folder; `none` for the whole image."
)
@click.option("--embedder", default="shitu-embedder", show_default=True, help="Name or folder.")
@click.option("--engine", type=click.Choice(["auto", "openvino", "paddle"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True, help="CPU threads.")
@click.option("--threshold", type=click.FloatRange(-1, 1), help="Least similarity; default: the embedder's own.")
@click.option("--top-k", type=click.IntRange(1, 100), default=5, show_default=True, help="Matches shown for each body.")
@click.option(
    "--whole-image", type=click.Choice(["always", "fallback", "never"]), default="fallback", show_default=True
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
    whole_image: str,
    as_json: bool,
    output: str,
    save: Path | None,
) -> None:
    """Recognise PHOTOS (files or folders) against a gallery. A bad photo is told and the others go on; exit status 1."""
    from models.artifacts import resolve
    from models.detector import Detector
    from models.embedder import Embedder

    console = Console(stderr=True)
    shape = "json" if as_json else output
    options = RecognizeOptions(
        similarity_threshold=threshold,
        top_k=top_k,
        whole_image=whole_image,
        compat="paddleclas" if shape == "paddleclas" else None,
    )
    try:
        cache = models_cache()
        finder = None if detector == "none" else Detector(resolve(detector, cache), engine, threads)
        recognizer = Recognizer(finder, Embedder(resolve(embedder, cache), engine, threads))
        searched = _gallery(gallery, recognizer, console)
    except (ModelError, ServiceError) as error:
        raise click.ClickException(f"{error.detail} ({error.code})") from error
    answers, failed = [], 0
    paths = list(found_photos(photos))
    for path in track(paths, "Recognising", console=console, transient=True, disable=len(paths) < 2):
        try:
            image = decode(_bytes(path))
            result = recognizer(image, searched, options)
        except ModelError as error:
            failed += 1
            console.print(f"{path}: {error.detail} ({error.code})", style="red", markup=False)
            continue
        told = result.to_dict()
        answers.append((path, told, to_paddleclas(result)))
        if save is not None:
            save.mkdir(parents=True, exist_ok=True)
            annotate(image, told["recognitions"]).save(save / f"{path.stem}.png")
    _print(answers, shape)
    if failed:
        sys.exit(1)


def found_photos(paths: Sequence[Path]) -> Iterator[Path]:
    """Files as they are named, folders by their pictures, sorted, at any depth."""
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
        else:
            yield path


def models_cache() -> Path:
    """Where pulled models are: SHITU_MODELS_CACHE, or `shitu` in the user's cache folder."""
    chosen = os.environ.get("SHITU_MODELS_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(chosen) if chosen else base / "shitu" / "models"


def _bytes(path: Path) -> bytes:
    from models.errors import ImageError

    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError("no such file, or it can't be read", "image_not_found") from error


def _gallery(name: str, recognizer: Recognizer, console: Console) -> Any:
    from models.gallery import Gallery

    folder = Path(name)
    if folder.is_dir():
        return _folder_gallery(folder, recognizer, console)
    from infra.galleries import GalleryStore
    from infra.objects import open_store
    from infra.settings import load_settings

    settings = load_settings({k: v for k, v in os.environ.items() if k != "SHITU_MODELS_CACHE"})
    manifest, items, embeddings = GalleryStore(open_store(settings.objects, settings.data_dir)).load(name)
    embedder = recognizer.embedder
    if manifest.embedder_digest not in (None, embedder.digest):
        raise click.ClickException(f"the gallery {name!r} was made with another embedder than {embedder.name}")
    return Gallery(items, embeddings.reshape(len(items), embedder.dim), name, manifest.version)


def _folder_gallery(folder: Path, recognizer: Recognizer, console: Console) -> Any:
    from models.gallery import Gallery

    pictures = [(path, path.parent.name) for path in found_photos([folder]) if path.parent != folder]
    if not pictures:
        raise click.ClickException(f"{folder} holds no sub-folders with pictures (one sub-folder for each label)")
    images = [
        decode(_bytes(path)) for path, _ in track(pictures, "Reading the gallery", console=console, transient=True)
    ]
    items = [FolderItem(str(path.relative_to(folder)), label) for path, label in pictures]
    return Gallery(items, recognizer.embedder(images), folder.name, 1)


def _print(answers: list[tuple[Path, dict[str, Any], Any]], shape: str) -> None:
    if shape == "json":
        click.echo(
            json.dumps([{"image": str(path), **told} for path, told, _ in answers], ensure_ascii=False, indent=2)
        )
        return
    if shape == "paddleclas":
        for _, _, theirs in answers:
            click.echo(str(theirs))
        return
    table = Table()
    for column in ("image", "box", "label", "similarity", "confidence"):
        table.add_column(column, justify="left" if column in ("image", "label") else "right")
    for path, told, _ in answers:
        if not told["recognitions"]:
            table.add_row(str(path), "", f"— ({told['reason']})", "", "")
        for found in told["recognitions"]:
            box = ", ".join(f"{value:.0f}" for value in found["box"])
            confidence = "" if found["confidence"] is None else f"{found['confidence']:.2f}"
            table.add_row(str(path), box, found["label"], f"{found['similarity']:.2f}", confidence)
    Console().print(table)
