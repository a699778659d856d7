"""Removes from a Milvus server what no gallery needs: partitions of no file in force, and collections of no gallery.

A filler that died left a partition; a file that was joined with others or erased left one, too. Only the files of the version
in force are needed: another that is activated is filled again. Any number may tidy at a time. A partition that is
dropped while somebody fills it is found missing by whoever loads its record, and filled again.
"""

from __future__ import annotations

import json
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from contracts.errors import ServiceError
from contracts.indexes import choice_of
from infra.errors.galleries import MilvusUnavailable
from infra.errors.photos import ObjectNotFound
from infra.galleries.deleted import all_deleted
from infra.galleries.keys import files_prefix, index_keys
from infra.galleries.milvus_records import begun_s

if TYPE_CHECKING:
    from infra.galleries.files import Pointer
    from infra.galleries.milvus import MilvusServer
    from infra.galleries.reader import GalleryReader

UNFINISHED_S = 2 * 3600.0  # after which a partition without a record is nobody's
RECORD = ".milvus.json"

log = logging.getLogger(__name__)


def tidy(
    reader: GalleryReader, server: MilvusServer, name: str, pointer: Pointer, unfinished_s: float = UNFINISHED_S
) -> int:
    """Drops the partitions of a gallery that no file of the version in force needs. Returns how many.

    Those that no record names, and that were begun in the last `unfinished_s` seconds, stay: somebody may be filling them.
    Raises MilvusUnavailable, StorageUnavailable, GalleryCorrupt.
    """
    collection = server.collection(pointer.generation)
    there = server.partitions(collection)  # before the records are read: what is filled later is not among them
    if not there:
        return 0
    manifest = reader._manifest(name, pointer, None)
    wanted = {index_keys(name, pointer.generation, segment.id, "Milvus")[1] for segment in manifest.segments}
    wanted = wanted if choice_of(manifest.index).remote else set()
    records = _records(reader, name, pointer.generation)
    needed = {partition for key, partition in records if key in wanted}
    known = {partition for _, partition in records}
    for key, _ in records:
        if key not in wanted:
            reader.objects.delete(key)
    until = time.time() - unfinished_s
    rubbish = [one for one in there if one not in needed and (one in known or begun_s(one) <= until)]
    for one in rubbish:
        server.drop_partition(collection, one)
    return len(rubbish)


def look_after(reader: GalleryReader, server: MilvusServer) -> int:
    """Tidies all galleries, those that can be restored too. Returns how many partitions and collections went.

    One that can't be read keeps no other from its turn. Raises MilvusUnavailable, StorageUnavailable.
    """
    there = server.generations()  # before the galleries: a new one has no collection among these
    pointers = [(name, reader._pointer(name)) for name in reader.names()]
    pointers += [(one.name, one.pointer) for one in all_deleted(reader, purging=True)]
    gone = 0
    for name, pointer in pointers:
        if pointer.generation not in there:
            continue
        try:
            gone += tidy(reader, server, name, pointer)
        except MilvusUnavailable:
            raise
        except ServiceError as error:
            log.warning("a gallery's rows in Milvus not looked after", extra={"gallery": name, "why": error.detail})
    for generation in there - {pointer.generation for _, pointer in pointers}:
        server.drop(server.collection(generation))  # purged, with nobody here who knew of the server
        gone += 1
    return gone


def _records(reader: GalleryReader, name: str, generation: str) -> list[tuple[str, str]]:
    """The keys of a gallery's records, and the partitions that they name."""
    found = []
    for key in reader.objects.list(files_prefix(name, generation)):
        if key.endswith(RECORD):
            with suppress(ObjectNotFound, ValueError, AttributeError):
                found.append((key, str(json.loads(reader.objects.get(key)).get("partition", ""))))
    return found
