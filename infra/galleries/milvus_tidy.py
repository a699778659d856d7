"""Removes from a Milvus server what no gallery needs: partitions that no record names, and those of another choice.

A filler that died left a partition; a segment that was joined with others or erased left one, too. Any number may tidy at
a time. A partition that is dropped while somebody fills it is found missing by whoever loads its record, and filled again.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from contracts.indexes import choice_of
from infra.errors.photos import ObjectNotFound
from infra.galleries.deleted import all_deleted
from infra.galleries.keys import files_prefix
from infra.galleries.milvus import begun_s

if TYPE_CHECKING:
    from infra.galleries.milvus import MilvusServer
    from infra.galleries.reader import GalleryReader

UNFINISHED_S = 6 * 3600.0  # after which a partition without a record is nobody's
RECORD = ".milvus.json"


def tidy(
    reader: GalleryReader, server: MilvusServer, name: str, generation: str, unfinished_s: float = UNFINISHED_S
) -> int:
    """Drops the partitions of a gallery that no record names, and that were begun `unfinished_s` ago. Returns how many.

    Raises MilvusUnavailable, StorageUnavailable.
    """
    collection = server.collection(generation)
    there = server.partitions(collection)  # before the records are read: what is filled later is not among them
    if not there:
        return 0
    needed = {partition for _, partition in _records(reader, name, generation)}
    until = time.time() - unfinished_s
    rubbish = [one for one in there if one not in needed and begun_s(one) <= until]
    for one in rubbish:
        server.drop_partition(collection, one)
    return len(rubbish)


def forget(reader: GalleryReader, server: MilvusServer, name: str, generation: str) -> int:
    """Removes all that Milvus has of a gallery, which is then searched otherwise. Returns how many records went."""
    records = _records(reader, name, generation)
    for key, _ in records:
        reader.objects.delete(key)
    server.drop(server.collection(generation))
    return len(records)


def look_after(reader: GalleryReader, server: MilvusServer) -> int:
    """Tidies all galleries, those that can be restored too. Returns how many partitions and records went.

    Of a gallery whose version in force is not searched by Milvus all goes: going back fills it again.
    """
    gone = 0
    for name in reader.names():
        manifest = reader.manifest(name)
        if choice_of(manifest.index).remote:
            gone += tidy(reader, server, name, manifest.generation)
        elif server.partitions(server.collection(manifest.generation)):
            gone += forget(reader, server, name, manifest.generation)
    for deleted in all_deleted(reader):
        gone += tidy(reader, server, deleted.name, deleted.generation)
    return gone


def _records(reader: GalleryReader, name: str, generation: str) -> list[tuple[str, str]]:
    """The keys of a gallery's records, and the partitions that they name."""
    found = []
    for key in reader.objects.list(files_prefix(name, generation)):
        if key.endswith(RECORD):
            with suppress(ObjectNotFound, ValueError, AttributeError):
                found.append((key, str(json.loads(reader.objects.get(key)).get("partition", ""))))
    return found
