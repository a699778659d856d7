"""`shitu gallery export` and `import`: a gallery as one file, and back."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from contracts.names import LabelRefused, clean_label
from contracts.pictures import PictureRefusedError, look
from infra.errors.galleries import GalleryExists, GalleryNotFound
from infra.errors.photos import ObjectNotFound
from infra.galleries import bundles, flat
from infra.galleries.bundles import Bundle
from infra.galleries.store import Item, item_id
from infra.objects.opening import open_store
from infra.objects.store import image_key_of
from infra.runtime.settings import load_settings
from models.recognition.paddleclas_index import METHODS
from shitu.cli import gallery_theirs
from shitu.cli.galleries import Stored, calibrate_with, print_added, writing_store
from shitu.cli.options import FILE, GALLERY_NAME, VERSION, examples, out
from shitu.cli.progress import tracked, working
from shitu.cli.searched import Passed
from shitu.cli.terminal import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from infra.galleries.calibration import Calibrate
    from infra.galleries.store import GalleryManifest, GalleryStore
    from infra.objects.store import ObjectStore

ENDING, FLAT_ENDING = ".shitu.zip", ".flat"


@click.command(
    epilog=examples(
        "gallery export drinks --out drinks.shitu.zip",
        "gallery export drinks --version 3",
        "gallery export drinks --format paddleclas --out theirs",
        "gallery export drinks --format flat --out drinks.flat",
    )
)
@GALLERY_NAME
@VERSION
@out(f"The file to write; default: NAME{ENDING}, NAME{FLAT_ENDING}, or the folder NAME-paddleclas.", FILE)
@click.option(
    "--format",
    "shape",
    type=click.Choice(["bundle", "paddleclas", "flat"]),
    default="bundle",
    show_default=True,
    help="One file, a folder that PaddleClas loads, or embeddings and labels alone, for C++.",
)
@click.option(
    "--index-method",
    type=click.Choice(METHODS),
    default="HNSW32",
    show_default=True,
    help="Of PaddleClas' index.",
)
def export(name: str, version: int | None, out: Path | None, shape: str, index_method: str) -> None:
    """Write the gallery NAME into one file: pictures, labels, embeddings, and a manifest with their checksums.

    The file is a zip of JSON, .npy and pictures; nothing in it is code. `shitu gallery import` reads it, and refuses it
    where something was changed. Probabilities, views and local features go with it; older versions do not.
    """
    with errors():
        stored = Stored()
        stored.one(name, version)  # a mistyped name is reported with what is like it
        with working(f"Reading {name!r}"):
            manifest, items, embeddings = stored.store.load(name, version)
        if shape == "paddleclas":
            _to_paddleclas(out or Path(f"{name}-paddleclas"), manifest, (items, embeddings), stored, index_method)
            return
        target = out or Path(f"{name}{FLAT_ENDING if shape == 'flat' else ENDING}")
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        if shape == "flat":
            _to_flat(part, target, manifest, items, embeddings)
            click.echo(f"{len(items)} items of version {manifest.version} of {name!r} are in {target}")
            return
        with working(f"Reading the features of {name!r}"):
            views = stored.store.load_views(name, manifest.version)
            features = stored.store.load_features(name, manifest.version)
        try:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as file:
                packed = [features.get(item.id, b"") for item in items]
                bundles.write(file, manifest, items, embeddings, views, packed)
                missing = _write_pictures(file, items, stored.objects)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    lacking = f"; {missing} of them have no picture in the store" if missing else ""
    click.echo(f"{len(items)} items of version {manifest.version} of {name!r} are in {target}{lacking}")


def _to_flat(
    part: Path, target: Path, manifest: GalleryManifest, items: Sequence[Item], embeddings: NDArray[np.float32]
) -> None:
    """`target` is there whole or as it was. Raises OSError."""
    try:
        with part.open("wb") as file:
            flat.write(file, manifest, items, embeddings)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _to_paddleclas(
    folder: Path,
    manifest: GalleryManifest,
    content: tuple[Sequence[Item], NDArray[np.float32]],
    stored: Stored,
    method: str,
) -> None:
    """Writes the gallery as PaddleClas has it, and prints what its users must know. Raises ModelError, OSError."""
    items, embeddings = content
    if not items:
        raise click.ClickException(f"{manifest.name!r} has no items: PaddleClas has no empty index")
    missing, with_blanks = gallery_theirs.export(folder, items, embeddings, stored.objects, method)
    lacking = f"; {missing} of them have no picture in the store" if missing else ""
    click.echo(f"{len(items)} items of version {manifest.version} of {manifest.name!r} are in {folder}{lacking}")
    if with_blanks:
        click.echo(f"{with_blanks} labels have blanks; PaddleClas shows such a label up to its first blank", err=True)


def import_bundle(file: Path, gallery: str | None, embedder: str) -> None:
    """Adds the items of a file that `shitu gallery export` wrote to a gallery.

    Only a gallery of the same embedder takes them; one that has other items too is fitted again by `embedder`, if it is
    that one, and no network is loaded otherwise.
    """
    passed = Passed()
    with errors():
        settings = load_settings()
        objects = open_store(settings.objects, settings.data_dir)
        store = writing_store(settings, objects)
        with bundles.opened(file) as opened:
            with working(f"Reading {file}"):
                bundle = bundles.read(opened)
            name = gallery or bundle.name
            usable = _usable(opened, bundle, passed)
            if bundle.items and not usable.items:
                raise click.ClickException(f"none of the {len(bundle.items)} items can be used")
            for item in tracked(usable.items, "Storing the pictures"):
                if (data := bundles.picture(opened, item)) is not None:
                    objects.put_image(data)
        with working("Adding the items"):
            _add(store, name, usable, embedder)
    passed.report()
    raise click.exceptions.Exit(1 if passed.bad else 0)


def _write_pictures(file: zipfile.ZipFile, items: Sequence[Item], objects: ObjectStore) -> int:
    """Each picture once; the number of items whose picture is not in the store."""
    written: dict[str, bool] = {}
    for item in tracked(items, "Writing the pictures"):
        if item.sha256 not in written:
            written[item.sha256] = False
            with suppress(ObjectNotFound):  # an index taken over without its pictures
                file.writestr(bundles.image_member(item.sha256), objects.get(item.image_key))
                written[item.sha256] = True
    return sum(not written[item.sha256] for item in items)


def _usable(file: zipfile.ZipFile, bundle: Bundle, passed: Passed) -> Bundle:
    """The bundle with those items whose labels and pictures may be in a gallery; the others are reported. Raises ImportRefused."""
    rows, items = [], []
    for row, item in enumerate(tracked(bundle.items, "Checking the pictures")):
        try:
            label = clean_label(item.label)
            if (data := bundles.picture(file, item)) is not None:
                look(data)
        except LabelRefused as error:
            passed.refuse(Path(item.id), f"{error} (label_invalid)", "label_invalid")
        except PictureRefusedError as error:
            passed.refuse(Path(item.id), f"{error.detail} ({error.code})", error.code)
        else:
            known = item_id(item.sha256, label, item.box)  # the one in the file is of the label as it was then
            items.append(replace(item, id=known, label=label, image_key=image_key_of(item.sha256)))
            rows.append(row)
    return bundles.chosen(bundle, rows, items) if rows else replace(bundle, items=())


def _add(store: GalleryStore, name: str, bundle: Bundle, embedder: str) -> None:
    """Adds the items and prints what was done. Raises EmbedderMismatch."""
    with suppress(GalleryExists):
        store.create(name, bundle.embedder_digest, index=bundle.index)
    if not bundle.items:
        click.echo(f"{name!r} is there; the file has no items")
        return
    calibrate = _calibrate(store, name, bundle, embedder)
    done = store.add(
        name, bundle.items, bundle.embeddings, bundle.embedder_digest or "", bundle.views, bundle.features, calibrate
    )
    print_added(name, done)


def _calibrate(store: GalleryStore, name: str, bundle: Bundle, embedder: str) -> Calibrate | None:
    """The bundle's own calibration for a gallery that has nothing else; else what `shitu gallery remove` fits by."""
    with suppress(GalleryNotFound):
        manifest = store.manifest(name)
        if manifest.item_count:
            return calibrate_with(manifest, embedder)
    return _own(bundle)


def _own(bundle: Bundle) -> Calibrate:
    def carried(labels: Sequence[str], _embeddings: Any, _views: Any, _things: Any) -> dict[str, Any] | None:
        return bundle.calibration if len(labels) == len(bundle.items) else None

    return carried
