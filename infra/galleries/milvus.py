"""Galleries' vectors on a Milvus server: a collection for each gallery, a partition for each of its large segments.

The object store stays the truth. A partition is filled from a segment's files, which never change, and is never changed
either; a record next to these files names it (infra.galleries.indexes). What is added later is another partition, what is
removed is passed over by whoever searches, and a partition that no record names is rubbish (infra.galleries.milvus_tidy).

    <prefix>_<generation>               collection; the generation is random, so no two galleries share one
        p<8 hex>_<seconds, hex>         partition; when it was begun says how old an unfinished one is

    key INT64           the random part of the partition's name << 32 | the row in the segment's file
    embedding           a unit vector; the metric is the inner product
    label, item INT64   hashes of the label and of the item's id
    facets INT64[]      hashes of the metadata's entries
    line VARCHAR        the item as JSON
"""

from __future__ import annotations

import logging
import re
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.errors.galleries import MilvusNotConfigured, MilvusUnavailable
from infra.errors.service import ConfigurationError
from infra.galleries.milvus_records import LINE_BYTES, Where, entry_of, hashed, hit_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from infra.galleries.files import Item
    from infra.galleries.milvus_records import Hit
    from infra.runtime.settings import MilvusSettings

MOST_RESULTS = 16_384  # of one search: Milvus' own limit
BATCH = 4096  # rows of one answer
BATCH_BYTES = 4_000_000  # of vectors and lines in one write; a server takes 64 MB by default
FLUSH_S = 3600.0  # the longest that a server may take to keep what was written
DROPS = 3  # tries to drop a partition
PAUSE_S = 0.5  # after a failure, until the next connection: each one too soon puts the channel's own next try off
NO_COLLECTION, NO_PARTITION = 100, 200  # Milvus' error codes
NOT_CONNECTED = 2  # its client's
GRPC = {
    "grpc.max_reconnect_backoff_ms": 1000,  # else a server that was away for long is not seen for two minutes
    # gRPC servers let pings pass every five minutes (gRFC A8), and end connections that send the client's own of ten seconds.
    "grpc.keepalive_time_ms": 300_000,
    "grpc.keepalive_permit_without_calls": 0,
}
MOST_NAMED = 1024  # ids or labels of one query

log = logging.getLogger(__name__)


class _Gone(MilvusUnavailable):
    """There is no such collection or partition."""


class MilvusServer:
    """One server, connected at the first use; may be used by many threads.

    Every method raises MilvusUnavailable. Searches see what was written at the latest some seconds ago; counts see all.
    """

    def __init__(self, settings: MilvusSettings) -> None:
        self._settings = settings
        self._timeout_s = settings.timeout_s
        self._connected: Any = None
        self._again_at = 0.0
        self._guard = threading.Lock()

    def collection(self, generation: str) -> str:
        """The name of a gallery's collection."""
        return f"{self._settings.collections}_{generation}"

    def fill(self, collection: str, partition: str, dim: int, items: Iterable[Item], rows: NDArray[np.float32]) -> None:
        """Writes the rows (N, D) of `items` into a new partition, and returns when they can be searched."""
        self._ensure(collection, dim)
        random = int(partition[1:9], 16) << 32
        with self._errors():
            self._client.create_partition(collection, partition, timeout=self._timeout_s)
            entries: list[dict[str, Any]] = []
            size = 0
            for row, (item, embedding) in enumerate(zip(items, rows, strict=True)):
                entries.append(entry_of(random | row, item, embedding))
                size += 4 * dim + len(entries[-1]["line"])
                if size >= BATCH_BYTES:
                    self._client.insert(collection, entries, partition_name=partition, timeout=self._timeout_s)
                    entries, size = [], 0
            if entries:
                self._client.insert(collection, entries, partition_name=partition, timeout=self._timeout_s)
            self._client.flush(collection, timeout=FLUSH_S)

    def count(self, collection: str, partitions: Sequence[str], where: Where | None = None) -> int:
        """How many rows there are; 0 where the collection or a partition has gone. Has the server load what it does not hold."""
        there = set(self.partitions(collection))
        if there.intersection(partitions):
            with self._errors():
                self._load(collection)
        count = 0
        for partition in [one for one in partitions if one in there]:
            # Milvus Lite counts without regard to partitions; their keys tell the rows apart.
            first = int(partition[1:9], 16) << 32
            expression = f"key >= {first} and key <= {first | 0xFFFFFFFF}"
            if where is not None and (more := where.to_expression()):
                expression += f" and {more}"
            with suppress(_Gone), self._errors():
                found = self._client.query(
                    collection,
                    filter=expression,
                    output_fields=["count(*)"],
                    partition_names=[partition],
                    consistency_level="Strong",
                    timeout=self._timeout_s,
                )
                count += int(found[0]["count(*)"])
        return count

    def search(
        self,
        collection: str,
        partitions: Sequence[str],
        queries: NDArray[np.float32],
        k: int,
        where: Where | None = None,
    ) -> list[list[Hit]]:
        """For each of the queries (Q, D) its `k` nearest rows, at most MOST_RESULTS, best first."""
        with self._errors():
            found = self._client.search(
                collection,
                data=np.ascontiguousarray(queries, np.float32).tolist(),
                limit=min(k, MOST_RESULTS),
                filter="" if where is None else where.to_expression(),
                output_fields=["line"],
                partition_names=list(partitions),
                search_params={"metric_type": "IP"},
                timeout=self._timeout_s,
            )
            return [[hit_of(one["key"], one["distance"], one["entity"]["line"]) for one in near] for near in found]

    def rows(
        self, collection: str, partitions: Sequence[str], where: Where, fields: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """The named fields of all rows that are meant, in any order."""
        if not partitions:
            return
        with self._errors():
            pages = self._client.query_iterator(
                collection,
                batch_size=BATCH,
                filter=where.to_expression(),
                output_fields=["key", *fields],
                partition_names=list(partitions),
                timeout=self._timeout_s,
            )
            try:
                while page := pages.next():
                    yield from page
            finally:
                pages.close()

    def items(self, collection: str, partitions: Sequence[str], ids: Collection[str]) -> list[Hit]:
        """The rows of the items with these ids, `similarity` 0."""
        found: list[Hit] = []
        wanted = sorted(ids)
        for start in range(0, len(wanted), MOST_NAMED):
            where = Where(items=tuple(map(hashed, wanted[start : start + MOST_NAMED])))
            for row in self.rows(collection, partitions, where, ["line"]):
                hit = hit_of(row["key"], 0.0, row["line"])
                if hit.item.id in ids:
                    found.append(hit)
        return found

    def partitions(self, collection: str) -> tuple[str, ...]:
        """Those of a collection; none where there is none."""
        with suppress(_Gone), self._errors():
            return tuple(
                one for one in self._client.list_partitions(collection, timeout=self._timeout_s) if one != "_default"
            )
        return ()

    def drop_partition(self, collection: str, partition: str) -> None:
        """Removes a partition; harmless where there is none."""
        for left in reversed(range(DROPS)):
            try:
                with suppress(_Gone), self._errors():
                    with suppress(*_unimplemented()):  # Milvus Lite releases none, and needs it not
                        self._client.release_partitions(collection, [partition], timeout=self._timeout_s)
                    self._client.drop_partition(collection, partition, timeout=self._timeout_s)
            except MilvusUnavailable:  # one that somebody had loaded again in between is not dropped
                if not left:
                    raise
            else:
                return

    def drop(self, collection: str) -> None:
        """Removes a collection with all of its rows; harmless where there is none."""
        with suppress(_Gone), self._errors():
            self._client.drop_collection(collection, timeout=self._timeout_s)

    def generations(self) -> frozenset[str]:
        """Of the galleries that have a collection here."""
        named = re.compile(re.escape(self._settings.collections) + "_([0-9a-f]{12})")
        with self._errors():
            found = map(named.fullmatch, self._client.list_collections(timeout=self._timeout_s))
            return frozenset(one[1] for one in found if one)

    def _load(self, collection: str) -> None:
        """Has the server hold the collection, if it does not. One that is held stays as it is, without what was released."""
        state = self._client.get_load_state(collection, timeout=self._timeout_s)["state"]
        if "Loaded" not in str(state).replace("NotLoad", ""):
            self._client.load_collection(collection, timeout=self._timeout_s)

    def _ensure(self, collection: str, dim: int) -> None:
        """Makes the collection, indexed and loaded, if there is none. Any number may do so at the same time."""
        from pymilvus import DataType

        with self._errors():
            client = self._client
            if client.has_collection(collection):
                self._load(collection)
                return
            schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
            schema.add_field("key", DataType.INT64, is_primary=True)
            schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dim)
            schema.add_field("label", DataType.INT64)
            schema.add_field("item", DataType.INT64)
            schema.add_field("facets", DataType.ARRAY, element_type=DataType.INT64, max_capacity=32)
            schema.add_field("line", DataType.VARCHAR, max_length=LINE_BYTES)
            indexes = client.prepare_index_params()
            indexes.add_index("embedding", index_type=self._settings.index_type, metric_type="IP")
            indexes.add_index("label", index_type="INVERTED")
            indexes.add_index("item", index_type="INVERTED")
            client.create_collection(collection, schema=schema, index_params=indexes)

    @property
    def _client(self) -> Any:
        with self._guard:
            if self._connected is None:
                if time.monotonic() < self._again_at:
                    raise MilvusUnavailable("The Milvus server did not answer a moment ago.")
                from pymilvus import MilvusClient

                logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs a trace of what it raises
                settings = self._settings
                self._connected = MilvusClient(
                    uri=settings.uri or "",
                    token=settings.secret,
                    db_name=settings.database,
                    timeout=settings.timeout_s,
                    grpc_options=GRPC,
                )
            return self._connected

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns what the client raises into MilvusUnavailable."""
        import grpc
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except MilvusException as error:
            if error.code in (NO_COLLECTION, NO_PARTITION):
                raise _Gone(f"The Milvus server lacks what is searched: {error.message}.") from error
            if error.code == NOT_CONNECTED:
                self._reconnect()
            raise MilvusUnavailable(f"The Milvus server does not do it: {error.message}.") from error
        except grpc.RpcError as error:
            self._reconnect()
            raise MilvusUnavailable(f"The Milvus server does not do it: {_code_of(error)}.") from error

    def _reconnect(self) -> None:
        """Lets a later call connect again: a channel whose server was away waits longer and longer."""
        with self._guard:
            failed, self._connected = self._connected, None
            self._again_at = time.monotonic() + PAUSE_S
        if failed is not None:
            with suppress(Exception):  # it may be broken in any way
                failed.close()


def open_milvus(settings: MilvusSettings) -> MilvusServer | None:
    """The server that the settings name; None: none. Raises ConfigurationError where its client is not installed."""
    if settings.uri is None:
        return None
    try:
        import pymilvus  # noqa: F401 - whether it is there
    except ImportError:
        raise ConfigurationError(
            ["SHITU_MILVUS__URI: the package pymilvus is not installed; pip install 'shitu[milvus]' brings it"]
        ) from None
    return MilvusServer(settings)


def required(server: MilvusServer | None) -> MilvusServer:
    """The server. Raises MilvusNotConfigured where there is none."""
    if server is None:
        raise MilvusNotConfigured(
            "A gallery with the index_method Milvus needs a Milvus server, and SHITU_MILVUS__URI names none."
        )
    return server


def _unimplemented() -> tuple[type[Exception], ...]:
    import grpc

    return (grpc.RpcError,)


def _code_of(error: Any) -> str:
    code = getattr(error, "code", None)
    return str(code().name) if callable(code) else type(error).__name__
