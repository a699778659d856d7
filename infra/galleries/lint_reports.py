"""What the linter found of a version, kept with the gallery, and how far a search has come that is not at its end.

    galleries/lint/<name>/<generation>/<version>-<token>-<hash>.json    the findings (JSON)
                                                               .npz     what is found so far
                                                     .objects.json      of each picture how many objects it shows, so far
                                                      .several.json     the findings with those of the pictures

The hash is of the version's manifest: after an erasure, which writes versions again, nothing of before is found.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.errors.photos import ObjectNotFound
from infra.galleries.files import encode_manifest
from infra.galleries.keys import lint_prefix, version_of
from infra.galleries.neighbours import Found

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from contracts.lint import Finding
    from infra.galleries.files import GalleryManifest
    from infra.objects.store import ObjectStore

HASH_CHARS = 16


class LintReports:
    """Those of all galleries of one object store. Every method raises StorageUnavailable where it applies."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def find(self, manifest: GalleryManifest, *, objects: bool = False) -> list[Finding] | None:
        """The findings of a version, if it was looked through whole; paths begin where the service does.

        `objects`: with those of its pictures, if these were looked at.
        """
        try:
            found: list[Finding] = json.loads(self._objects.get(_stem(manifest) + _ending(objects)))
        except (ObjectNotFound, ValueError):  # a damaged one is made again
            return None
        return found

    def counted_objects(self, manifest: GalleryManifest) -> dict[str, int | None]:
        """How many objects the pictures show that were looked at, by their items' ids; None: it could not be read."""
        try:
            found: dict[str, int | None] = json.loads(self._objects.get(_stem(manifest) + ".objects.json"))
        except (ObjectNotFound, ValueError):
            return {}
        return found

    def keep_objects(self, manifest: GalleryManifest, counts: dict[str, int | None]) -> None:
        """Keeps what `counted_objects` gives."""
        self._objects.put(_stem(manifest) + ".objects.json", json.dumps(counts).encode())

    def put(
        self, manifest: GalleryManifest, findings: Sequence[Any], versions: Collection[int], *, objects: bool = False
    ) -> None:
        """Keeps the findings of a version, and removes those of versions that are not among `versions`. `objects` as in `find`."""
        stem = _stem(manifest)
        self._objects.put(stem + _ending(objects), json.dumps(findings, ensure_ascii=False).encode("utf-8", "replace"))
        for key in list(self._objects.list(lint_prefix(manifest.name, manifest.generation))):
            name = key.rpartition("/")[2]
            if key == stem + ".npz" or version_of(name) not in versions:
                self._objects.delete(key)

    def keep_progress(self, manifest: GalleryManifest, found: Found) -> None:
        """Keeps how far the search has come."""
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **{one.name: getattr(found, one.name) for one in fields(Found)})
        self._objects.put(_stem(manifest) + ".npz", buffer.getvalue())

    def progress(self, manifest: GalleryManifest, count: int) -> Found:
        """How far a search of the version's `count` items has come; nothing, where none has begun."""
        try:
            with np.load(io.BytesIO(self._objects.get(_stem(manifest) + ".npz")), allow_pickle=False) as kept:
                found = Found(**{one.name: kept[one.name] for one in fields(Found)})
        except (ObjectNotFound, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return Found.nothing(count)
        return found if len(found.done) == count else Found.nothing(count)


def drop_reports(objects: ObjectStore, name: str, generation: str) -> None:
    """Removes all that was found of a gallery."""
    for key in list(objects.list(lint_prefix(name, generation))):
        objects.delete(key)


def manifest_hash(manifest: GalleryManifest) -> str:
    """Of all that a version is."""
    return hashlib.sha256(encode_manifest(manifest)).hexdigest()


def _ending(objects: bool) -> str:
    return ".several.json" if objects else ".json"


def _stem(manifest: GalleryManifest) -> str:
    return f"{lint_prefix(manifest.name, manifest.generation)}{manifest.id}-{manifest_hash(manifest)[:HASH_CHARS]}"
