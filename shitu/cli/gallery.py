"""`shitu gallery`: galleries looked at and changed, in the store or through a service.

The commands that need an embedder are here. Folders of pictures are added, items removed, and a PP-ShiTu index taken over, vectors and all, without its pickle being run.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import sys
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from contracts.names import LabelRefused, clean_label, spellings
from infra.errors.galleries import GalleryExists, GalleryNotFound
from infra.galleries.files import check_name
from infra.galleries.store import Item, item_id
from infra.objects.opening import open_store
from infra.objects.store import image_key_of
from infra.runtime import audit
from infra.runtime.settings import load_settings
from models.errors import ImageError
from models.pictures.image import decode
from models.recognition.paddleclas import read_gallery
from shitu.cli import (
    gallery_bundle,
    gallery_corrections,
    gallery_diff,
    gallery_erase,
    gallery_evaluate,
    gallery_feedback,
    gallery_import,
    gallery_index,
    gallery_lint,
    gallery_served,
    gallery_versions,
)
from shitu.cli.galleries import calibrate_with, tell_added, writing_store
from shitu.cli.options import EMBEDDER, GALLERY_NAME, PRESENT_FOLDER, SERVER, examples
from shitu.cli.options import gallery as gallery_option
from shitu.cli.progress import tracked, working
from shitu.cli.searched import Passed, labelled_photos
from shitu.cli.suggestions import Group
from shitu.cli.terminal import errors, given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from infra.galleries.store import Added, GalleryStore
    from infra.objects.store import ObjectStore
    from infra.runtime.settings import Settings
    from models.embedder import Embedder
    from models.recognition.paddleclas import PaddleClasItem

UNIT_TOLERANCE = 1e-3
CHECKED_PICTURES = 16
SAME_EMBEDDER = 0.95  # least similarity of the median picture to its own vector; decoders differ a little
HELD_PICTURES = 64  # decoded at once


@dataclass(frozen=True)
class Enrolled:
    """Items and what is kept of each; an index taken over has neither views nor features."""

    items: Sequence[Item]
    embeddings: NDArray[np.float32]  # (N, D)
    views: NDArray[np.float32] | None = None  # (N, D)
    features: Sequence[bytes] | None = None


@click.group(cls=Group, epilog=examples("gallery add my-pictures --gallery drinks", "gallery list"))
def gallery() -> None:
    """Show and change galleries, in this machine's store or (--server) through a service."""
    audit.act_as(f"user {_user()}")
    audit.show()


@gallery.command("add", epilog=examples("gallery add my-pictures --gallery drinks", "gallery add my-pictures --gallery drinks --server http://127.0.0.1:8000"))  # fmt: skip
@click.argument("folder", type=PRESENT_FOLDER)
@gallery_option("The gallery to add to; made if there is none.", required=True)
@click.option("--skip-near-duplicates", is_flag=True, help="Leave out what is nearly a picture of the same label.")
@EMBEDDER
@SERVER
def add(folder: Path, gallery: str, skip_near_duplicates: bool, embedder: str, server: str | None) -> None:
    """Add the pictures of FOLDER, which has a sub-folder for each label.

    What can't be used is reported and skipped; exit status 1. Adding again changes nothing.
    """
    if server is not None:
        if given("embedder"):
            raise click.UsageError("--embedder has no effect with --server: the service's workers have theirs")
        passed = Passed()
        gallery_served.add(server, gallery, labelled_photos(folder, passed), passed, skip=skip_near_duplicates)
        passed.tell()
        sys.exit(1 if passed.bad else 0)
    from models.artifacts.folders import resolve
    from models.embedder import Embedder

    passed = Passed()
    with errors():
        check_name(gallery)  # before all the work
        pictures = labelled_photos(folder, passed)
        settings = load_settings()
        network = Embedder(resolve(embedder))
        objects = open_store(settings.objects, settings.data_dir)
        store = writing_store(settings, objects)
        read = _embedded(pictures, network, settings, objects, passed)
        if skip_near_duplicates:
            read = _without_near_duplicates(store, gallery, read)
        if read.items:
            with working("Adding the items, and fitting the probabilities"):
                added = _add(store, gallery, read, network)
            tell_added(gallery, added)
    passed.tell()
    sys.exit(1 if passed.bad else 0)


@gallery.command(
    "remove",
    epilog=examples(
        "gallery remove drinks --label 'Green tea'", "gallery remove drinks --label cola --server http://127.0.0.1:8000"
    ),
)
@GALLERY_NAME
@click.option("--label", "labels", multiple=True, help="All items of this label; may be repeated.")
@click.option("--item", "items", multiple=True, help="The item of this id; may be repeated.")
@EMBEDDER
@SERVER
def remove(name: str, labels: tuple[str, ...], items: tuple[str, ...], embedder: str, server: str | None) -> None:
    """Remove items of the gallery NAME by label or id. If one of those is not there, nothing is removed.

    The probabilities are fitted again by --embedder, if it is the one that made the gallery.
    """
    if not labels and not items:
        raise click.UsageError("name what to remove: --label or --item")
    if server is not None:
        if given("embedder"):
            raise click.UsageError("--embedder has no effect with --server: the service's workers have theirs")
        left = gallery_served.remove(server, name, items, labels)
        click.echo(f"version {left['version']} of {name!r} has {left['item_count']}")
        return
    with errors():
        settings = load_settings()
        store = writing_store(settings, open_store(settings.objects, settings.data_dir))
        with working("Removing the items, and fitting the probabilities again"):
            manifest = store.remove(name, items, labels, calibrate_with(store.manifest(name), embedder))
    click.echo(f"version {manifest.version} of {name!r} has {manifest.item_count}")


@gallery.command("import-paddleclas", epilog=examples("gallery import-paddleclas index --gallery drinks --embedder ppshitu-v2-embedder --root drink_dataset_v2.0"))  # fmt: skip
@click.argument("folder", type=PRESENT_FOLDER)
@gallery_option("The gallery to add to; made if there is none.", required=True)
@click.option("--embedder", required=True, help="The one that built the index: a name or a folder.")
@click.option(
    "--root",
    "pictures",
    type=PRESENT_FOLDER,
    help="Folder that the index's paths are relative to: its pictures are stored too, and show whether the embedder is the right one.",
)
def import_paddleclas(folder: Path, gallery: str, embedder: str, pictures: Path | None) -> None:
    """Add the items of FOLDER (`vector.index` and `id_map.pkl`) to a gallery.

    Workers with the same embedder search it from their next job on. Importing again changes nothing. An entry whose
    label or picture can't be used is reported and skipped; exit status 1.
    """
    from models.artifacts.folders import resolve
    from models.embedder import Embedder

    with errors():
        check_name(gallery)
        settings = load_settings()
        entries, rows = read_gallery(folder)
        network = Embedder(resolve(embedder), threads=1)
        _check_rows(rows, network)
        objects = open_store(settings.objects, settings.data_dir)
        store = writing_store(settings, objects)
        passed = Passed()
        usable = _usable(entries, pictures, passed)
        if not usable:
            raise click.ClickException(f"none of the {len(entries)} entries can be used")
        entries, rows = tuple(entries[number] for number in usable), rows[usable]
        if pictures is None:
            items = [_without_picture(entry, row) for entry, row in zip(entries, rows, strict=True)]
        else:
            _check_embedder(entries, rows, pictures, network)
            items = [_with_picture(entry, pictures, objects) for entry in tracked(entries, "Storing the pictures")]
        with working("Adding the items, and fitting the probabilities"):
            added = _add(store, gallery, Enrolled(items, rows), network)
        tell_added(gallery, added)
    passed.tell()
    sys.exit(1 if passed.bad else 0)


for command in (
    gallery_versions.list_galleries, gallery_versions.show, gallery_versions.versions, gallery_versions.activate, gallery_versions.delete,
    gallery_versions.restore, gallery_erase.erase,
    gallery_bundle.export, gallery_import.import_command,
    gallery_corrections.rename, gallery_corrections.merge, gallery_corrections.move,
    gallery_feedback.feedback, gallery_lint.lint, gallery_diff.diff, gallery_evaluate.evaluate,
    gallery_index.create, gallery_index.index,
):  # fmt: skip
    gallery.add_command(command)


def _user() -> str:
    """Who runs the command, as the system knows it: not what an environment variable says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user has a number alone
        return str(os.getuid())


def _add(store: GalleryStore, name: str, read: Enrolled, network: Embedder) -> Added:
    from models.enrolment import calibrator

    with suppress(GalleryExists):
        store.create(name, network.digest)
    return store.add(name, read.items, read.embeddings, network.digest, read.views, read.features, calibrator(network))


def _without_near_duplicates(store: GalleryStore, name: str, read: Enrolled) -> Enrolled:
    """What is nearly an item of its own label, of the gallery or before it, is told and left out."""
    from models.galleries.gallery import Gallery
    from models.galleries.near_duplicates import near_duplicates

    known: tuple[Sequence[Item], NDArray[np.float32]] = ((), np.zeros((0, 0), np.float32))
    with suppress(GalleryNotFound):
        known = store.load(name)[1:]
    near = near_duplicates(Gallery(*known), read.items, read.embeddings, skip=True)
    left = [at for at, one in enumerate(near) if one is None or not one.skipped]
    if len(left) < len(near):
        click.echo(f"{len(near) - len(left)} are nearly pictures of their label, and left out")
    return Enrolled(
        [read.items[at] for at in left],
        read.embeddings[left],
        None if read.views is None else read.views[left],
        None if read.features is None else [read.features[at] for at in left],
    )


def _embedded(
    pictures: Sequence[tuple[Path, str]], network: Embedder, settings: Settings, objects: ObjectStore, passed: Passed
) -> Enrolled:
    """What is kept of the pictures that can be used, under their folders' names; tells the others."""
    from models.enrolment import embed_views, packed_features

    limits, items, features = settings.images, list[Item](), list[bytes]()
    rows = [np.zeros((0, network.dim), np.float32)]
    views = list(rows)
    left = tracked(pictures, "Embedding")
    while group := list(islice(left, HELD_PICTURES)):
        images = []
        for path, label in group:
            try:
                data = path.read_bytes()
                images.append(decode(data, max_pixels=limits.max_pixels, min_side_px=limits.min_side_px))
            except OSError as error:
                passed.refuse(path, str(error.strerror), "unreadable")
            except ImageError as error:
                passed.refuse(path, f"{error.detail} ({error.code})", error.code)
            else:
                items.append(_stored(label, data, objects))
                features.append(packed_features(images[-1]))
        rows.append(network(images))
        views.append(embed_views(images, [item.sha256 for item in items[len(items) - len(images) :]], network))
    return Enrolled(items, np.concatenate(rows), np.concatenate(views), features)


def _check_rows(rows: NDArray[np.float32], network: Embedder) -> None:
    if not len(rows):
        raise click.ClickException("the index is empty")
    if rows.shape[1] != network.dim:
        raise click.ClickException(
            f"the index has vectors of {rows.shape[1]} dimensions, {network.name} gives {network.dim}"
        )
    if np.abs(np.linalg.norm(rows, axis=1) - 1).max() > UNIT_TOLERANCE:
        raise click.ClickException("the index's vectors are not of length 1: build it with feature_normalize")


def _usable(entries: Sequence[PaddleClasItem], root: Path | None, passed: Passed) -> list[int]:
    """Which entries have a label by the rule and, below `root`, a picture that can be read; the others are told."""
    usable = []
    for number, entry in enumerate(tracked(entries, "Checking the entries")):
        place = Path(entry.path or f"entry {entry.id}")
        try:
            clean_label(entry.label)
            if root is not None:
                decode(_read(entry, root))
        except LabelRefused as error:
            passed.refuse(place, f"{error} (label_invalid)", "label_invalid")
        except ImageError as error:
            passed.refuse(place, f"{error.detail} ({error.code})", error.code)
        else:
            usable.append(number)
    return usable


def _check_embedder(
    entries: Sequence[PaddleClasItem], rows: NDArray[np.float32], root: Path, network: Embedder
) -> None:
    """Vectors of another embedder would be found by nothing and say so nowhere."""
    chosen = np.unique(np.linspace(0, len(entries) - 1, CHECKED_PICTURES).astype(int))
    embedded = network([decode(_read(entries[number], root)) for number in chosen])
    similarity = float(np.median((embedded * rows[chosen]).sum(axis=1)))
    if similarity < SAME_EMBEDDER:
        raise click.ClickException(
            f"{network.name} is not the embedder that built this index: pictures are only {similarity:.2f} like their vectors"
        )


def _with_picture(entry: PaddleClasItem, root: Path, objects: ObjectStore) -> Item:
    return _stored(clean_label(entry.label), _read(entry, root), objects)


def _stored(label: str, data: bytes, objects: ObjectStore) -> Item:
    return _item(label, hashlib.sha256(data).hexdigest(), objects.put_image(data))


def _without_picture(entry: PaddleClasItem, row: NDArray[np.float32]) -> Item:
    """Known by its line and its vector instead of its bytes; where its picture would be, there is none."""
    sha256 = hashlib.sha256(entry.line.encode("utf-8", "surrogatepass") + row.tobytes()).hexdigest()
    return _item(clean_label(entry.label), sha256, image_key_of(sha256))


def _item(label: str, sha256: str, key: str) -> Item:
    added_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Item(item_id(sha256, label), label, key, sha256, None, added_at)


def _read(entry: PaddleClasItem, root: Path) -> bytes:
    """The picture of an entry; its path comes from a file of somebody else and must not lead out of `root`.

    Raises ImageError.
    """
    for written in spellings(entry.path):
        try:
            path = (root / written).resolve()
            if not path.is_relative_to(root.resolve()):
                raise ImageError("it leads out of the pictures' folder", "image_not_found")
            return path.read_bytes()
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:  # the latter: a name that no file system takes
            raise ImageError(getattr(error, "strerror", None) or "no such file", "image_not_found") from error
    raise ImageError("no such file", "image_not_found")
