"""What is to be erased, written before anything is, and the receipt that is left of it. Neither holds personal data.

    erasures/open/<id>.json    under way: whoever finds it resumes it (JSON)
    erasures/done/<id>.json    the receipt

The receipt is written before the other is removed: whoever dies in between leaves both, and the work is then done once more,
which changes nothing.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Literal

from infra.errors.galleries import ErasureNotFound
from infra.errors.photos import ObjectNotFound
from infra.errors.service import StorageUnavailable
from infra.jobs.records import ALPHABET, isoformat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.objects.store import ObjectStore

Kind = Literal["items", "gallery", "recognition", "detection", "embedding", "classification", "purge"]

PREFIX = "ers"
OPEN, DONE = "erasures/open/", "erasures/done/"
SCHEMA = 1
_ID = re.compile(rf"{PREFIX}_[{ALPHABET}]{{26}}")


@dataclass(frozen=True)
class Kept:
    """A picture whose bytes stay: items or feedback of these galleries show them, or the photo of a recognition has them."""

    sha256: str
    galleries: tuple[str, ...]
    photo: bool = False


@dataclass(frozen=True)
class Erasure:
    """What is to be erased, or was. `pictures` are object keys that are still to be looked at, `erased` digests."""

    id: str
    kind: Kind
    requested_at: str  # ISO 8601, UTC
    completed_at: str | None = None
    gallery: str | None = None
    generations: tuple[str, ...] = ()  # of the gallery
    item_ids: tuple[str, ...] = ()
    until: str = ""  # ISO 8601: items that were added later are not meant
    job_id: str | None = None
    photo: str | None = None  # of the job: its key
    pictures: tuple[str, ...] = ()
    erased: tuple[str, ...] = ()  # SHA-256 of pictures that are gone, previews too
    kept: tuple[Kept, ...] = ()
    vectors: int = 0  # rows that were in kept versions
    feedback: tuple[str, ...] = ()  # ids
    messages: int = 0  # of webhooks, and events
    steps: frozenset[str] = field(default_factory=frozenset)  # those that are done

    def after(self, step: str) -> Erasure:
        """With this step done."""
        return replace(self, steps=self.steps | {step})

    def seeking(self, keys: Iterator[str] | set[str]) -> Erasure:
        """With more pictures to look at."""
        return replace(self, pictures=tuple(sorted({*self.pictures, *keys})))


class Erasures:
    """The records of one object store. Every method raises StorageUnavailable when the store fails."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def note(self, erasure: Erasure) -> Erasure:
        """Keeps how far it has come; once this returns it will be finished, whoever dies."""
        self._objects.put(f"{OPEN}{erasure.id}.json", _encoded(erasure))
        return erasure

    def complete(self, erasure: Erasure, now: float) -> Erasure:
        """The receipt."""
        done = replace(erasure, completed_at=isoformat(now))
        if erasure.kind != "purge":  # nobody requested it
            self._objects.put(f"{DONE}{erasure.id}.json", _encoded(done))
        self._objects.delete(f"{OPEN}{erasure.id}.json")
        return done

    def unfinished(self) -> list[Erasure]:
        """Those under way, the oldest first."""
        found = []
        for key in list(self._objects.list(OPEN)):
            try:
                found.append(_decoded(self._objects.get(key)))
            except ObjectNotFound:
                continue  # finished in this moment
        return sorted(found, key=lambda one: one.requested_at)

    def get(self, erasure_id: str) -> Erasure:
        """Raises ErasureNotFound."""
        if _ID.fullmatch(erasure_id):
            for place in (DONE, OPEN, DONE):  # it may be finished while it is looked for
                try:
                    return _decoded(self._objects.get(f"{place}{erasure_id}.json"))
                except ObjectNotFound:
                    continue
        raise ErasureNotFound("There is no erasure with this id.")


def _encoded(erasure: Erasure) -> bytes:
    return json.dumps({"schema": SCHEMA, **asdict(erasure), "steps": sorted(erasure.steps)}).encode()


def _decoded(data: bytes) -> Erasure:
    try:
        found = json.loads(data)
        members = {one.name: found[one.name] for one in fields(Erasure) if one.name in found}
        for name in ("generations", "item_ids", "pictures", "erased", "feedback"):
            members[name] = tuple(map(str, members[name]))
        members["kept"] = tuple(
            Kept(one["sha256"], tuple(one["galleries"]), bool(one.get("photo"))) for one in members["kept"]
        )
        members["steps"] = frozenset(members["steps"])
        return Erasure(**members)
    except (ValueError, KeyError, TypeError) as error:
        raise StorageUnavailable("A record of an erasure cannot be read.") from error
