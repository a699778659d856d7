"""Results over a size lie in the object store, and the ledger has a reference to them: Redis keeps all it has in memory.

A result is stored before the job's end is written, under the attempt's own key, so that what an attempt leaves that
lost its lease or died is no job's result; it is found by the daily search. With the job's record its result is marked to go,
in the same script. Whoever reads a job reads it whole; of one whose object is lost the result is null.

    results/{job id}/{token}   the result as JSON
    shitu:results:leaving      zset  keys of objects whose jobs are gone, by since when
"""

from __future__ import annotations

import itertools
import json
import logging
from typing import TYPE_CHECKING

from infra.errors.photos import ObjectNotFound
from infra.errors.service import StorageUnavailable
from infra.jobs.scripts import job_key
from infra.redis.client import server_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import redis

    from infra.objects.store import ObjectStore

FOLDER = "results/"
LEAVING = "shitu:results:leaving"
MARK = '{"$stored": "'  # as the script that removes a job looks for it: infra.jobs.change_scripts
STRAY_S = 3600.0  # an attempt writes its end within that time

log = logging.getLogger(__name__)


class Results:
    """May be used by many threads. Without `objects`, or with `most_bytes` 0, every result stays in Redis."""

    def __init__(self, client: redis.Redis, objects: ObjectStore | None = None, most_bytes: int = 0) -> None:
        self._redis = client
        self._objects = objects
        self._most_bytes = most_bytes

    def kept(self, job_id: str, token: int, text: str) -> str:
        """What the ledger keeps of a result: the text itself, or a reference. Raises StorageUnavailable."""
        if self._objects is None or not self._most_bytes or len(text) <= self._most_bytes:
            return text
        key, data = f"{FOLDER}{job_id}/{token}", text.encode()
        self._objects.put(key, data)
        return json.dumps({"$stored": key, "bytes": len(data)})

    def whole(self, record: Mapping[str, str]) -> Mapping[str, str]:
        """A job's record with its result in it. Raises StorageUnavailable."""
        text = record.get("result") or ""
        if not text.startswith(MARK):
            return record
        if self._objects is None:
            raise StorageUnavailable("The result is in an object store that is not opened here.")
        try:
            return {**record, "result": self._objects.get(json.loads(text)["$stored"]).decode()}
        except ObjectNotFound:
            log.warning("a job's result is gone from the object store", extra={"job_id": record.get("id")})
            return {name: value for name, value in record.items() if name != "result"}

    def remove_due(self, limit: int = 100) -> int:
        """Deletes the results of jobs that are gone; how many, at most `limit`. Raises StorageUnavailable."""
        if self._objects is None:
            return 0
        keys = [str(key) for key in self._redis.zrange(LEAVING, 0, limit - 1)]
        for key in keys:
            self._objects.delete(key)
            self._redis.zrem(LEAVING, key)
        return len(keys)

    def stored(self) -> Iterator[str]:
        """The keys of all results in the store, read bit by bit."""
        return iter(()) if self._objects is None else self._objects.list(FOLDER)

    def check_stored(self, stored: Iterator[str], limit: int = 500) -> bool:
        """Deletes those of the next `limit` of `stored` that no job refers to; False when there are no more."""
        keys = list(itertools.islice(stored, limit))
        for key in keys:
            text = str(self._redis.hget(job_key(key.split("/")[1]), "result") or "")
            if self._objects is not None and not text.startswith(f'{MARK}{key}"'):
                self._objects.delete_idle(key, server_time(self._redis) - STRAY_S)
        return bool(keys)
