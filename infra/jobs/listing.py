"""Lists jobs, the newest first, by what is known of them: status, gallery, labels, metadata, time of creation.

The index is kept by the very scripts that change a job (`INDEX`, part of all of them), one sorted set a facet, so that a
page costs what it shows and not what there is. Members sort by the job's creation and its id, so that a cursor, which is
a member, stays where it is whatever comes and goes. Records decide: what an index says too much is left out.

    shitu:jobs:list:{kind}            zset   {created_at}:{id} of all jobs of a kind, all scores 0
    shitu:jobs:list:{kind}:{facet}    zset   likewise of those with the facet: status:queued, gallery:drinks,
                                             label:{hash}, metadata:{hash}
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import redis

from infra.errors.requests import InvalidCursor
from infra.jobs import scripts
from infra.jobs.records import parse_job
from infra.jobs.results import Results

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from contracts.jobs import JobKind
    from infra.jobs.records import Job

CHUNK = 200
MOST_LOOKED_AT = 5000  # entries for one page; then it ends early, with a cursor to continue from
MEMBER = re.compile(r"\d{10}\.\d{6}:[a-z]+_[0-9a-z]{26}")


@dataclass(frozen=True)
class Wanted:
    """Which jobs: all that is given must hold. Times are seconds since 1970, from `after` on and before `before`."""

    status: str | None = None
    gallery: str | None = None
    label: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    after: float | None = None
    before: float | None = None

    def facets(self) -> list[str]:
        """Their names."""
        found = [f"status:{self.status}"] if self.status is not None else []
        found += [gallery_facet(self.gallery)] if self.gallery is not None else []
        found += [label_facet(self.label)] if self.label is not None else []
        return found + [metadata_facet(name, value) for name, value in self.metadata.items()]


@dataclass(frozen=True)
class JobPage:
    """Some jobs, the newest first; `next_after` continues after them, None at the end."""

    jobs: tuple[Job, ...]
    next_after: str | None


def gallery_facet(name: str) -> str:
    """Of the jobs of a gallery."""
    return f"gallery:{name}"


def label_facet(label: str) -> str:
    """Of recognitions that found a label, and of enrolments that bring it."""
    return f"label:{_hash(label)}"


def metadata_facet(name: str, value: str) -> str:
    """Of jobs that carry this."""
    return f"metadata:{_hash(name, value)}"


def facets_of(request: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    """Those that a job has from its creation, one a line."""
    galleries = [str(request["gallery"])] if "gallery" in request else []
    galleries += [str(name) for name in request.get("galleries", ())]
    found = [gallery_facet(name) for name in galleries]
    found += [label_facet(str(item["label"])) for item in request.get("items", ()) if "label" in item]
    found += [metadata_facet(name, value) for name, value in metadata.items()]
    return "\n".join(dict.fromkeys(found))


def found_facets(result: Mapping[str, Any]) -> str:
    """Those that a job gets by its result, one a line."""
    labels = [str(one["label"]) for one in result.get("recognitions", ()) if "label" in one]
    return "\n".join(dict.fromkeys(map(label_facet, labels)))


class Listing:
    """The part of the ledger that lists; may be used by many threads."""

    def __init__(self, client: redis.Redis, results: Results | None = None) -> None:
        self._redis = client
        self._results = results or Results(client)

    def page(self, kind: JobKind, wanted: Wanted, limit: int, after: str | None = None) -> JobPage:
        """At most `limit` jobs after `after`, a page's `next_after`. Raises InvalidCursor."""
        indexes = [_key(kind), *(_key(kind, facet) for facet in wanted.facets())]
        found: list[tuple[str, Job]] = []
        looked_at = 0
        for members in self._chunks(indexes, wanted, read_cursor(after), min(CHUNK, limit + 1)):
            looked_at += len(members)
            found += self._jobs(indexes, self._in_all(indexes, members), wanted)
            if len(found) > limit:
                return JobPage(tuple(job for _, job in found[:limit]), packed(found[limit - 1][0]))
            if looked_at >= MOST_LOOKED_AT:
                return JobPage(tuple(job for _, job in found), packed(members[-1]))
        return JobPage(tuple(job for _, job in found), None)

    def _chunks(self, indexes: list[str], wanted: Wanted, cursor: str | None, first: int) -> Iterator[list[str]]:
        """The members of the shortest index within the times, the newest first, bit by bit."""
        with self._redis.pipeline(transaction=False) as pipe:
            for index in indexes:
                pipe.zcard(index)
            sizes = pipe.execute()
        _, shortest = min(zip(sizes, indexes, strict=True))
        highest = "+" if wanted.before is None else f"({stamp(wanted.before)}"
        lowest = "-" if wanted.after is None else f"[{stamp(wanted.after)}"
        if cursor is not None and (highest == "+" or cursor < highest[1:]):
            highest = f"({cursor}"
        count = first
        while True:
            members = [str(one) for one in self._redis.zrevrangebylex(shortest, highest, lowest, start=0, num=count)]
            if members:
                yield members
            if len(members) < count:
                return
            highest, count = f"({members[-1]}", CHUNK

    def _in_all(self, indexes: list[str], members: list[str]) -> list[str]:
        """Those of `members` that every index has."""
        if len(indexes) == 1:
            return members
        with self._redis.pipeline(transaction=False) as pipe:
            for index in indexes[1:]:
                pipe.zmscore(index, members)
            scores = pipe.execute()
        return [member for member, *there in zip(members, *scores, strict=True) if None not in there]

    def _jobs(self, indexes: list[str], members: list[str], wanted: Wanted) -> list[tuple[str, Job]]:
        with self._redis.pipeline(transaction=False) as pipe:
            for member in members:
                pipe.hgetall(scripts.job_key(member.partition(":")[2]))
            records = pipe.execute(raise_on_error=False)
        found, gone = [], []
        for member, record in zip(members, records, strict=True):
            if not record:
                gone.append(member)
            if isinstance(record, dict) and record:
                try:
                    whole = self._results.whole({str(name): str(value) for name, value in record.items()})
                    job = parse_job(whole)
                except (KeyError, ValueError):  # a record that something else wrote is the keeper's to find
                    continue
                if wanted.status is None or job.status == wanted.status:
                    found.append((member, job))
        if gone:
            self._tidy(indexes, gone)
        return found

    def _tidy(self, indexes: list[str], members: list[str]) -> None:
        """Jobs whose records were lost; a Redis that takes no writes can still list."""
        try:
            for index in indexes:
                self._redis.zrem(index, *members)
        except redis.ResponseError:
            return


def _key(kind: JobKind, facet: str = "") -> str:
    return f"shitu:jobs:list:{kind}" + (f":{facet}" if facet else "")


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def stamp(at: float) -> str:
    """A time as members of an index begin with it."""
    return f"{min(max(at, 0.0), 9_999_999_999.0):017.6f}"


def packed(member: str) -> str:
    """A member as a cursor."""
    return base64.urlsafe_b64encode(member.encode()).decode().rstrip("=")


def read_cursor(after: str | None) -> str | None:
    """The member of a cursor. Raises InvalidCursor."""
    if after is None:
        return None
    try:
        member = base64.b64decode(after.encode() + b"=" * (-len(after) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        member = ""
    if not MEMBER.fullmatch(member):
        raise InvalidCursor("This is no cursor: send the `next_after` of the page before.")
    return member
