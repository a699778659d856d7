"""`shitu gallery import-paddleclas`: a PP-ShiTu index is taken over, vectors and all, without its pickle being run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from contracts.names import LabelRefused, clean_label, spellings
from infra.galleries.files import check_name
from infra.galleries.store import Item
from infra.objects.opening import open_store
from infra.objects.store import image_key_of
from infra.runtime.settings import load_settings
from models.errors import ImageError
from models.pictures.image import decode
from models.recognition.paddleclas import read_their_gallery
from shitu.cli.enrolled import Enrolled, add_enrolled, item_of, stored_item
from shitu.cli.galleries import print_added, writing_store
from shitu.cli.options import PRESENT_FOLDER, examples
from shitu.cli.options import gallery as gallery_option
from shitu.cli.progress import tracked, working
from shitu.cli.searched import Passed
from shitu.cli.terminal import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from infra.objects.store import ObjectStore
    from models.embedder import Embedder
    from models.recognition.paddleclas import PaddleClasItem


UNIT_TOLERANCE = 1e-3
CHECKED_PICTURES = 16
SAME_EMBEDDER = 0.95  # least similarity of the median picture to its own vector; decoders differ a little


@click.command("import-paddleclas", epilog=examples("gallery import-paddleclas index --gallery drinks --embedder ppshitu-v2-embedder --root drink_dataset_v2.0"))  # fmt: skip
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

    Workers with the same embedder search it from their next job on. Importing again changes nothing, but that pictures
    which come with --root then are kept with their items. An entry whose label or picture can't be used is reported and
    skipped; exit status 1.
    """
    from models.artifacts.folders import resolve
    from models.embedder import Embedder

    with errors():
        check_name(gallery)
        settings = load_settings()
        entries, index = read_their_gallery(folder)
        coded, rows = index.distance == "hamming", index.rows
        if coded and pictures is None:
            raise click.ClickException(
                "the index holds binary codes (dist_type hamming), of which no embedding can be had back:"
                " name the pictures' folder by --root, and they are embedded again"
            )
        network = Embedder(resolve(embedder), threads=1)
        if not coded:
            _check_rows(rows, network)
        objects = open_store(settings.objects, settings.data_dir)
        store = writing_store(settings, objects)
        passed = Passed()
        usable = _usable(entries, pictures, passed)
        if not usable:
            raise click.ClickException(f"none of the {len(entries)} entries can be used")
        entries, rows = tuple(entries[number] for number in usable), rows[usable]
        if pictures is None:
            click.echo(
                f"no picture came with the index, so it is taken on trust that {network.name} built it:"
                " with --root that is checked",
                err=True,
            )
            items = [_without_picture(entry, row) for entry, row in zip(entries, rows, strict=True)]
        else:
            if coded:
                rows = _embedded(entries, pictures, network)
            else:
                _check_embedder(entries, rows, pictures, network)
            items = [_with_picture(entry, pictures, objects) for entry in tracked(entries, "Storing the pictures")]
        with working("Adding the items, and fitting the probabilities"):
            stand_ins = {entry.stand_in(row) for entry, row in zip(entries, rows, strict=True)}
            added = add_enrolled(store, gallery, Enrolled(items, rows, stand_ins=stand_ins), network)
        print_added(gallery, added)
    passed.report()
    sys.exit(1 if passed.bad else 0)


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
    """Which entries have a label by the rule and, below `root`, a picture that can be read; the others are reported."""
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


def _embedded(entries: Sequence[PaddleClasItem], root: Path, network: Embedder) -> NDArray[np.float32]:
    """(N, D): the embeddings of the pictures, of which the index has binary codes alone."""
    return np.concatenate([network([decode(_read(entry, root))]) for entry in tracked(entries, "Embedding")])


def _with_picture(entry: PaddleClasItem, root: Path, objects: ObjectStore) -> Item:
    return stored_item(clean_label(entry.label), _read(entry, root), objects)


def _without_picture(entry: PaddleClasItem, row: NDArray[np.float32]) -> Item:
    """Known by its line and its vector instead of its bytes; where its picture would be, there is none."""
    sha256 = entry.stand_in(row)
    return item_of(clean_label(entry.label), sha256, image_key_of(sha256))


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
