"""`shitu gallery search`: the items of a gallery nearest to a picture, or like one of them, in the store or through a service."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Column, Table
from rich.text import Text

from contracts.filters import filters_of
from infra.errors.galleries import EmbedderMismatch
from infra.galleries.segments import MAPPED, SegmentFiles
from infra.galleries.similar import Similar, nearest_items, similar_items
from shitu.cli.galleries import Stored
from shitu.cli.options import EMBEDDER, FILTER, GALLERY_NAME, JSON, SERVER, VERSION, examples, top_k
from shitu.cli.progress import working
from shitu.cli.server import Server
from shitu.cli.tables import print_table
from shitu.cli.terminal import errors, given

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from infra.galleries.files import GalleryManifest

    Json = dict[str, Any]

ITEM_ID = re.compile(r"itm_[0-9a-f]{24}")


@click.command("search", epilog=examples("gallery search drinks cola.jpg", "gallery search drinks itm_0123456789abcdef01234567 --top-k 20", "gallery search drinks cola.jpg --server http://127.0.0.1:8000"))  # fmt: skip
@GALLERY_NAME
@click.argument("what", metavar="PICTURE|ITEM")
@top_k("Items listed, the most similar first.", 1000)
@FILTER
@VERSION
@EMBEDDER
@JSON
@SERVER
def search(
    name: str,
    what: str,
    top_k: int,
    filters: tuple[str, ...],
    version: int | None,
    embedder: str,
    as_json: bool,
    server: str | None,
) -> None:
    """Find the items of the gallery NAME that are nearest to a picture, or most like one of its items."""
    item = what if ITEM_ID.fullmatch(what) and not Path(what).exists() else None
    if given("embedder") and (server is not None or item is not None):
        raise click.UsageError("--embedder has no effect with --server or for an item: the vectors are there")
    if item is None and not Path(what).is_file():
        raise click.UsageError(f"there is no file {what!r}, and it is no item's id")
    with errors(), working("Searching"):
        if server is not None:
            found = _of_service(Server(server), name, what, item, top_k, filters, version)
        else:
            found = _of_store(name, what, item, top_k, filters, version, embedder)
    if as_json:
        click.echo(json.dumps({"gallery": name, "items": found}, ensure_ascii=False, indent=2))
    elif found:
        table = Table(Column("item", no_wrap=True), Column("label", overflow="fold"), Column("similarity", justify="right"))  # fmt: skip
        for one in found:
            table.add_row(one["item_id"], Text(one["label"]), f"{one['similarity']:.3f}")
        print_table(table)
    else:
        click.echo(f"{name!r} has no such items", err=True)


def _of_service(
    server: Server, name: str, what: str, item: str | None, most: int, filters: Sequence[str], version: int | None
) -> list[Json]:
    if item is None:
        path = Path(what)
        return [
            _brief(one["item_id"], one)
            for one in server.searched(name, path, path.read_bytes(), most, filters, version)
        ]
    return [_brief(one["id"], one) for one in server.items_like(name, item, most, filters, version)]


def _of_store(
    name: str, what: str, item: str | None, most: int, filters: Sequence[str], version: int | None, embedder: str
) -> list[Json]:
    """Raises EmbedderMismatch for a gallery of another embedder, ImageError."""
    galleries = Stored()
    files = SegmentFiles(galleries.store, galleries.folder / MAPPED)
    row = None if item is not None else _embedded(what, galleries.one(name, version)["embedder_digest"], embedder, name)
    met = filters_of(filters)

    def read(manifest: GalleryManifest) -> Similar:
        if item is not None:
            return similar_items(galleries.store, files, manifest, item, most, filters=met)
        return Similar((), 0) if row is None else nearest_items(files, manifest, row, most, filters=met)

    found = galleries.store.reading(name, version, read)
    return [
        _brief(one.id, {"label": one.label, "similarity": round(value, 6), "metadata": dict(one.metadata)})
        for one, value in found.items
    ]


def _embedded(path: str, digest: str | None, embedder: str, gallery: str) -> NDArray[np.float32] | None:
    """(D,): the picture as the gallery's embedder sees it; None for a gallery without items."""
    from infra.runtime.settings import load_settings
    from models.artifacts.folders import resolve
    from models.embedder import Embedder
    from models.pictures.image import decode

    if digest is None:
        return None
    network = Embedder(resolve(embedder))
    if network.digest != digest:
        raise EmbedderMismatch(
            f"The gallery {gallery!r} was made with another embedder than {embedder!r}: name it with --embedder."
        )
    limits = load_settings().images
    image = decode(Path(path).read_bytes(), max_pixels=limits.max_pixels, min_side_px=limits.min_side_px)
    row: NDArray[np.float32] = network([image])[0]
    return row


def _brief(item_id: str, one: Json) -> Json:
    metadata = {"metadata": one["metadata"]} if one.get("metadata") else {}
    return {"item_id": item_id, "label": one["label"], "similarity": one["similarity"], **metadata}
