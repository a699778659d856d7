"""What the export commands share: their options, the pictures that int8 is calibrated with, and what each ends with."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from contracts.errors import ServiceError
from shitu.cli.progress import working

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PRECISIONS = ("fp16", "bf16", "int8")
PDPARAMS = "pdparams"  # training weights, next to the programs
FORMATS = ("paddle", "onnx", "onnx-half", "openvino", PDPARAMS, *PRECISIONS)
MOST_PICTURES = 300


class NameList(click.ParamType[tuple[str, ...]]):
    """Some of the `known` names, with commas between them."""

    name = "list"

    def __init__(self, known: Sequence[str]) -> None:
        self.known = known

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Each name once. Fails for an unknown one."""
        names = tuple(dict.fromkeys(value.split(","))) if isinstance(value, str) else value
        if unknown := [name for name in names if name not in self.known]:
            self.fail(f"{unknown[0]!r} is none of {', '.join(self.known)}", param, ctx)
        return names


CALIBRATE = click.option(
    "--calibrate",
    metavar="DIR|GALLERY",
    help="Pictures that int8 is calibrated with: a folder or a stored gallery; default: rendered ones.",
)


def calibration_pictures(source: str | None) -> "list[NDArray[np.uint8]] | None":
    """At most MOST_PICTURES of a folder or of a stored gallery, evenly over it; None without a source.

    Raises ModelError for a picture that can't be read, and ClickException where there are none.
    """
    if source is None:
        return None
    pictures = _folder(Path(source)) if Path(source).is_dir() else _gallery(source)
    if not pictures:
        raise click.ClickException(f"there are no pictures in {source!r}")
    return pictures


def finish(
    artifact: Path,
    evaluate: Callable[[str], Mapping[str, float]],
    thresholds: Mapping[str, float] | Callable[[], Mapping[str, float]],
) -> None:
    """Evaluate the artifact in each of its precisions, write the metrics into the manifest, and print them.

    Warnings about a precision go to standard error.
    """
    from models.artifacts.folders import load_manifest
    from models.export.findings import add_findings

    manifest = load_manifest(artifact)
    with working("Evaluating the exported program"):
        metrics = {**manifest.metrics, **evaluate("fp32")}
    lower = {}
    for precision in manifest.precisions:
        with working(f"Evaluating it in {precision}"):
            lower[precision] = evaluate(precision)
    with working("Choosing thresholds"):
        advised = thresholds() if callable(thresholds) else thresholds
    add_findings(artifact, metrics, advised, lower)
    report = {"artifact": str(artifact), **advised, **metrics}
    described = load_manifest(artifact).precisions
    for warning in (one for about in described.values() for one in about.get("warnings", ())):
        click.echo(f"Warning: {warning}", err=True)
    click.echo(json.dumps({**report, "precisions": described} if described else report, indent=2))


def _evenly(things: Sequence[Path] | Sequence[str]) -> list[str]:
    step = max(1.0, len(things) / MOST_PICTURES)
    return [str(things[int(number * step)]) for number in range(min(len(things), MOST_PICTURES))]


def _folder(folder: Path) -> "list[NDArray[np.uint8]]":
    from models.training.data.photos import read_rgb
    from shitu.cli.searched import found_photos

    return [read_rgb(Path(path)) for path in _evenly(list(found_photos([folder])))]


def _gallery(name: str) -> "list[NDArray[np.uint8]]":
    from infra.galleries.store import GalleryStore
    from infra.objects.opening import open_store
    from infra.runtime.settings import load_settings
    from models.pictures.image import crop, decode

    try:
        settings = load_settings()
        objects = open_store(settings.objects, settings.data_dir)
        items = {item.id: item for item in GalleryStore(objects).items(name)}
        chosen = [items[key] for key in _evenly(list(items))]
        pictures = [decode(objects.get(item.image_key)) for item in chosen]
    except ServiceError as error:
        raise click.ClickException(f"{error.detail} ({error.code})") from error
    return [
        picture if item.box is None else crop(picture, item.box) for item, picture in zip(chosen, pictures, strict=True)
    ]
