"""What this process said of a photo, and what its networks saw in it, for when the same bytes come again.

Two kinds of entries, together at most `limit_bytes`, the one used longest ago goes first:

- answers: the same photo, owner, models and options on the very same versions of the galleries. Nothing is read or run.
- sights: the same photo, owner, models and options that the networks depend on: the parts of the photo and their
  embeddings, on whatever gallery. Only the search is done again.

A photo is known by its key in the store, which is the hash of its content. The owner, who holds the request's API key, is in
every key: nobody learns, not even by how quickly an answer comes, what another one has sent.

An erasure empties the cache. Each is counted in Redis (infra.erasure.records); a job's lease and every heartbeat carry the number,
and what was begun under an older one is not kept.
"""

from __future__ import annotations

import json
import threading
import time
from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from infra.runtime.telemetry import CACHE_LOOKUPS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from infra.galleries.files import GalleryManifest
    from infra.jobs.records import Job
    from models.recognition.pipeline import RecognizeOptions, Sight

SEEN_BY_THE_NETWORKS = ("detection_threshold", "max_detections", "whole_image", "boxes", "compat")
ENTRY_BYTES = 400  # a key's strings and their places, measured
PART_BYTES = 600  # a part as a Python object

Key = tuple[Any, ...]


@dataclass(frozen=True)
class _Entry:
    value: Any
    size_bytes: int
    until: float


class AnswerCache:
    """May be used by many threads. With a limit of 0 nothing is kept; `ttl_s` is the longest that an entry stays."""

    def __init__(self, limit_bytes: int, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_bytes, self._ttl_s, self._clock = limit_bytes, ttl_s, clock
        self._held: OrderedDict[Key, _Entry] = OrderedDict()
        self._size_bytes = 0
        self._erasures = 0
        self._guard = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """About how many bytes are held."""
        with self._guard:
            return self._size_bytes

    @property
    def erasures(self) -> int:
        """The number of erasures that this cache knows of: what is begun now is kept only while that stays so."""
        with self._guard:
            return self._erasures

    def notice(self, erasures: int) -> None:
        """So many erasures were finished so far: one more than before empties the cache."""
        with self._guard:
            if erasures != self._erasures:
                self._erasures = erasures
                self._held.clear()
                self._size_bytes = 0

    def answer(self, key: Key) -> dict[str, Any] | None:
        """A copy of what was answered."""
        found = self._get(("answers", *key))
        if found is None:
            return None
        answered: dict[str, Any] = json.loads(found)
        return answered

    def sight(self, key: Key) -> Sight | None:
        """What the networks saw."""
        found: Sight | None = self._get(("sights", *key))
        return found

    def keep_answer(self, key: Key, answer: Mapping[str, Any], begun_at: int) -> None:
        """`begun_at`: the number of erasures when the job began."""
        text = json.dumps(answer)
        self._keep(("answers", *key), text, len(text), begun_at)

    def keep_sight(self, key: Key, sight: Sight, begun_at: int) -> None:
        """As `keep_answer`."""
        self._keep(("sights", *key), sight, sight.embeddings.nbytes + PART_BYTES * len(sight.parts), begun_at)

    def _get(self, key: Key) -> Any:
        if not self._limit_bytes:
            return None
        with self._guard:
            entry = self._held.get(key)
            if entry is not None and entry.until <= self._clock():
                self._drop(key)
                entry = None
            if entry is not None:
                self._held.move_to_end(key)
        CACHE_LOOKUPS.labels(key[0], "miss" if entry is None else "hit").inc()
        return None if entry is None else entry.value

    def _keep(self, key: Key, value: Any, size_bytes: int, begun_at: int) -> None:
        entry = _Entry(value, size_bytes + ENTRY_BYTES, self._clock() + self._ttl_s)
        with self._guard:
            if begun_at != self._erasures or entry.size_bytes > self._limit_bytes:
                return
            if key in self._held:
                self._drop(key)
            self._held[key] = entry
            self._size_bytes += entry.size_bytes
            while self._size_bytes > self._limit_bytes:
                self._drop(next(iter(self._held)))

    def _drop(self, key: Key) -> None:
        self._size_bytes -= self._held.pop(key).size_bytes


def answer_key(
    job: Job, options: RecognizeOptions, models: Mapping[str, Any], searched: Sequence[GalleryManifest]
) -> Key:
    """Whatever an answer depends on; whole manifests, for an erasure rewrites a version under its old number."""
    report = (
        json.dumps(asdict(options), sort_keys=True),
        _fingerprint(models),
        json.dumps(job.request.get("filter", ())),
    )
    versions = tuple((one, json.dumps(one.calibration, sort_keys=True)) for one in searched)
    return (job.owner, job.request["image"]["key"], *report, versions)


def sight_key(job: Job, options: RecognizeOptions, models: Mapping[str, Any]) -> Key:
    """Whatever detections and embeddings depend on."""
    chosen = {name: getattr(options, name) for name in SEEN_BY_THE_NETWORKS}
    return (job.owner, job.request["image"]["key"], json.dumps(chosen, sort_keys=True), _fingerprint(models))


def _fingerprint(models: Mapping[str, Any]) -> str:
    return json.dumps(models, sort_keys=True)
