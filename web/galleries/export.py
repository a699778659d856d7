"""A version of a gallery as one file, streamed: it is never whole in memory, nor on a disk of this machine."""

from __future__ import annotations

import io
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request, stream_with_context
from pydantic import BaseModel, ConfigDict, Field

from contracts.keys import Scope
from infra.errors.galleries import VersionNotFound
from infra.errors.photos import ObjectNotFound
from infra.errors.requests import InvalidRequest
from infra.galleries import bundles
from web.access.scopes import needs
from web.openapi.operations import GALLERY, operation
from web.requests.parsing import parse
from web.services import services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from infra.galleries.store import GalleryManifest, GalleryStore

ZIP = "application/zip"

blueprint = Blueprint("export", __name__, url_prefix="/v1/galleries")


class ExportQuery(BaseModel):
    """Which version; numbers arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int | None = Field(None, ge=1, description="A version other than the current one.")


@blueprint.get("/<name>/export")
@needs(Scope.READ)
@operation(
    "exportGallery",
    "A version as one file without code, which an import takes.",
    {200: ZIP},
    (*GALLERY, VersionNotFound, InvalidRequest),
    query=ExportQuery,
)
def export(name: str) -> Response:
    """Pictures, labels, embeddings and a manifest with their checksums, as `shitu gallery export` writes them."""
    query = parse(ExportQuery, request.args.to_dict())
    store = services().galleries
    manifest = store.manifest(name, query.version)
    pieces = _pieces(store, manifest)
    first = next(pieces)  # what can't be read is reported before anything is sent
    response = Response(stream_with_context(_after(first, pieces)), content_type=ZIP)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}.shitu.zip"'
    return response


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _pieces(store: GalleryStore, manifest: GalleryManifest) -> Iterator[bytes]:
    """The file, member by member."""
    manifest, items, embeddings = store.load(manifest.name, manifest.version)
    views = store.load_views(manifest.name, manifest.version)
    features = store.load_features(manifest.name, manifest.version)
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as file:
        bundles.write(file, manifest, items, embeddings, views, [features.get(item.id, b"") for item in items])
        yield sink.taken()
        for sha256, key in {item.sha256: item.image_key for item in items}.items():
            with suppress(ObjectNotFound):  # an index taken over without its pictures
                file.writestr(bundles.image_member(sha256), store.objects.get(key))
                yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """Takes what a zip is written as, and gives it away; it can't be gone back in, so that the zip does not try."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        piece = bytes(data)
        self._held.append(piece)
        return len(piece)

    def taken(self) -> bytes:
        """All that was written since the last call."""
        pieces, self._held = b"".join(self._held), []
        return pieces
