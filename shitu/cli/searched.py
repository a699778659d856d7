"""What a command searches in: a stored gallery by its name, or a folder or list of labelled pictures, with all that goes with it."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from contracts import pictures
from contracts.imports import LIST_ENDINGS
from contracts.indexes import choice_of
from contracts.names import SIDECARS, LabelRefused, clean_label, is_clutter, shown
from models.enrolment import embed_lone_views
from models.errors import GalleryError, ImageError, ModelError
from models.galleries.binary_gallery import BinaryGallery
from models.galleries.calibration import fit, stored_calibration
from models.galleries.fused_gallery import FusedGallery
from models.galleries.gallery import Gallery
from models.pictures.image import crop, decode
from models.verification import Features, describe, unpack
from shitu.cli.listed import listed_photos
from shitu.cli.progress import tracked, working

if TYPE_CHECKING:
    from models.embedder import Embedder

ENDINGS = pictures.ENDINGS

Read = Callable[[str], NDArray[np.uint8] | None]


@dataclass(frozen=True)
class FolderItem:
    """A picture of a gallery folder."""

    id: str
    label: str


@dataclass
class Passed:
    """What was skipped of folders and files, and why; clutter of systems is not counted."""

    endings: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)  # by code or reason

    @property
    def bad(self) -> bool:
        """Whether something was skipped that may have been meant: all but texts and lists next to the pictures."""
        return bool(self.refused) or any(ending not in SIDECARS for ending in self.endings)

    def refuse(self, path: Path, why: str, reason: str) -> None:
        """Reports on standard error at once, and counts, what can't be used."""
        self.refused[reason] += 1
        click.echo(f"{shown(path)}: {why}", err=True)

    def leave_out(self, report: str) -> None:
        """The same of a line or picture whose fault is reported already in words."""
        self.refused["left out"] += 1
        click.echo(shown(report), err=True)

    def count_unread(self, *paths: Path | None) -> None:
        """Counts what folders hold that is not read; of lists nothing."""
        for path in dict.fromkeys(path for path in paths if path is not None and path.is_dir()):
            for _ in found_photos([path], self):
                pass

    def report(self) -> None:
        """One line with all counts and reasons, if there are any."""
        parts = [f"{count} {shown(ending) or 'without an ending'}" for ending, count in sorted(self.endings.items())]
        if parts:
            click.echo(f"not read, for they are no pictures by their names: {', '.join(parts)}", err=True)
        if self.refused:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self.refused.items()))
            click.echo(f"{self.refused.total()} could not be used: {reasons}", err=True)


def found_photos(paths: Sequence[Path], passed: Passed | None = None) -> Iterator[Path]:
    """Files as they are named, folders by their pictures, sorted, at any depth, without what systems leave there.

    Other files of folders are counted in `passed`.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for file in sorted(_files_below(path, passed)):
            if file.suffix.lower() in ENDINGS:
                yield file
            elif passed is not None:
                passed.endings[file.suffix.lower()] += 1


def _files_below(folder: Path, passed: Passed | None, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """All files but clutter, those of linked folders too; a folder that can't be read is reported."""
    real = os.path.realpath(folder)
    if real in above:  # a link back up
        return
    try:
        with os.scandir(folder) as found:
            names = [entry.name for entry in found if not is_clutter([entry.name])]
    except OSError as error:
        if passed is not None:
            passed.refuse(folder, str(error.strerror), "unreadable")
        return
    for path in (folder / name for name in names):
        if path.is_dir():
            yield from _files_below(path, passed, (*above, real))
        elif path.is_file():
            yield path


def read_bytes(path: Path) -> bytes:
    """The file's. Raises ImageError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError("no such file, or it can't be read", "image_not_found") from error


def open_gallery(
    name: str, embedder: "Embedder", console: Console, make: Callable[..., Gallery], passed: Passed | None = None
) -> Gallery:
    """The gallery of that name, folder or list file; `make` takes items, embeddings, name, version, calibration and features.

    What of a folder can't be used is reported, and counted in `passed`.

    Raises ClickException, ModelError, ServiceError.
    """
    folder = Path(name)
    if folder.is_dir() or (folder.is_file() and (folder.suffix.lower() in LIST_ENDINGS or "/" in name)):
        return _folder_gallery(folder, embedder, console, make, passed or Passed())
    if "/" in name:  # no gallery's name has one
        raise click.ClickException(f"there is no folder or list {name!r}")
    return _stored_gallery(name, embedder, console, make)


def _stored_gallery(name: str, embedder: "Embedder", console: Console, make: Callable[..., Gallery]) -> Gallery:
    from infra.errors.galleries import GalleryCorrupt, GalleryNotFound
    from infra.errors.photos import ObjectNotFound
    from infra.galleries.store import GalleryStore
    from infra.objects.opening import open_store
    from infra.runtime.settings import load_settings

    settings = load_settings()
    objects = open_store(settings.objects, settings.data_dir)
    store = GalleryStore(objects)
    try:
        manifest, items, embeddings = store.load(name)
    except GalleryNotFound as error:
        where = f"{error.detail} Nor is there a folder of that name here. Data folder: {shown(settings.data_dir)}"
        raise click.ClickException(f"{where} ({error.code})") from error
    if manifest.embedder_digest not in (None, embedder.digest):
        raise click.ClickException(f"the gallery {name!r} was made with another embedder than {embedder.name}")
    by_id = {item.id: item for item in items}

    def read(item_id: str) -> NDArray[np.uint8] | None:
        item = by_id[item_id]
        try:
            image = decode(objects.get(item.image_key))
        except (ObjectNotFound, ImageError):
            return None  # an index taken over without its pictures
        return image if item.box is None else crop(image, item.box)

    def load() -> Mapping[str, bytes]:
        try:
            return store.load_features(name, manifest.version)
        except GalleryCorrupt as error:  # it costs time, not the answers
            console.print(f"{error.detail} Features are made from pictures instead.", style="yellow", markup=False)
            return {}

    rows = embeddings.reshape(len(items), embedder.dim)
    features = ItemFeatures(read, load)
    calibration = stored_calibration(manifest.calibration, name)
    choice = choice_of(manifest.index)
    own_choice = make is Gallery
    if own_choice and choice.binary and items:  # the gallery's own choice, where the command has none
        make = partial(BinaryGallery, kind=choice.binary_kind, rerank=choice.rerank)
    about = (name, manifest.version, calibration, features)
    if own_choice and choice.fuse and items:
        return FusedGallery(Gallery(items, rows, *about), choice)
    return make(items, rows, *about)


def labelled_photos(folder: Path, passed: Passed) -> list[tuple[Path, str]]:
    """The pictures in the folder's sub-folders, or of a list file's lines, and their labels.

    Raises ClickException if there is none at all.
    """
    if folder.is_file():
        return listed_photos(folder, passed)
    paths = list(found_photos([folder], passed))
    loose = [path for path in paths if path.parent == folder]
    if len(loose) == len(paths):
        raise click.ClickException(
            f"{shown(folder)} holds no sub-folders with pictures (one sub-folder for each label)"
        )
    for path in loose:
        passed.refuse(path, "a picture in no label's folder", "without a label")
    pictures = []
    for path in (path for path in paths if path.parent != folder):
        try:
            pictures.append((path, clean_label(path.parent.name)))
        except LabelRefused as error:
            passed.refuse(path, f"{error} (label_invalid)", "label_invalid")
    return pictures


def _folder_gallery(
    folder: Path, embedder: "Embedder", console: Console, make: Callable[..., Gallery], passed: Passed
) -> Gallery:
    pictures = labelled_photos(folder, passed)
    root = folder.parent if folder.is_file() else folder
    images, sha256s, items = [], [], []
    for path, label in tracked(pictures, "Reading the gallery", console):
        try:
            image, sha256 = _hashed(path)
        except ModelError as error:
            passed.refuse(path, f"{error.detail} ({error.code})", error.code)
            continue
        images.append(image)
        sha256s.append(sha256)
        items.append(FolderItem(os.path.relpath(path, root), label))
    if not items:
        raise click.ClickException(f"{shown(folder)} holds no picture that can be used")
    labels = [item.label for item in items]
    with working("Embedding the gallery"):
        rows = embedder(images)
        views = embed_lone_views(labels, lambda at: (images[at], sha256s[at]), embedder)  # as an enrolment makes them
    calibration = fit(labels, rows, views, embedder.unknowns, embedder.calibration)
    features = ItemFeatures(lambda item_id: _hashed(root / item_id)[0])
    return make(items, rows, folder.name, 1, calibration, features)


class ItemFeatures:
    """The local features of items: the stored ones, else made from their pictures; kept.

    `load` gives what is stored, when an item is first needed: what is never verified never costs the reading.
    """

    def __init__(self, read: Read, load: Callable[[], Mapping[str, bytes]] = dict) -> None:
        self._read = read
        self._load = load
        self._stored: Mapping[str, bytes] | None = None
        self._made: dict[str, Features | None] = {}

    def __call__(self, item_id: str) -> Features | None:
        if item_id not in self._made:
            stored = self._unpacked(item_id)
            self._made[item_id] = self._described(item_id) if stored is None else stored
        return self._made[item_id]

    def _unpacked(self, item_id: str) -> Features | None:
        if self._stored is None:
            self._stored = self._load()
        try:
            return unpack(self._stored[item_id]) if item_id in self._stored else None
        except GalleryError:  # of another version of ShiTu
            return None

    def _described(self, item_id: str) -> Features | None:
        image = self._read(item_id)
        return None if image is None else describe(image)


def _hashed(path: Path) -> tuple[NDArray[np.uint8], str]:
    """A picture of the gallery's, and the SHA-256 of its file. Raises ImageError."""
    data = read_bytes(path)
    return decode(data), hashlib.sha256(data).hexdigest()
