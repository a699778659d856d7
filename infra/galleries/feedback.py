"""What people said of a gallery's answers, kept with the gallery for as long as that.

    galleries/feedback/<name>/<generation>/<id>.<verdict>.<job id>.json    one judgement (JSON)

Each is an object of its own that is never changed: it is there whole or not at all, writers need no lock, and none can undo
another's. Ids sort by time, and with what stands in the keys a listing counts them and finds those of a job, unread.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, get_args

from infra.errors.galleries import FeedbackNotFound, GalleryCorrupt
from infra.errors.photos import ObjectNotFound
from infra.errors.requests import InvalidCursor
from infra.galleries.files import check_name
from infra.galleries.keys import feedback_prefix
from infra.galleries.reader import not_found
from infra.jobs.records import isoformat, new_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from infra.galleries.files import Box
    from infra.galleries.reader import GalleryReader
    from infra.objects.store import ObjectStore

Verdict = Literal["right", "wrong", "ignore"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
PREFIX = "fbk"
SCHEMA = 1
_ID = re.compile(rf"{PREFIX}_[0-9a-z]{{26}}")
HOLDOUT = 5  # every fifth photo is held out


@dataclass(frozen=True)
class Feedback:
    """One judgement of what is in `box` of a photo (None: all of it)."""

    id: str
    job_id: str
    gallery: str
    version: int  # of the gallery, that answered
    box: Box | None  # x1, y1, x2, y2 in pixels of the upright photo
    verdict: Verdict
    answer: str | None  # the label that was answered there
    label: str | None  # the right one, if that is known
    created_at: str  # ISO 8601, UTC
    image_key: str
    width: int  # of the upright photo
    height: int


@dataclass(frozen=True)
class Page:
    """Some judgements in the order of their coming; `next_after` leads on. `counts` is of all there are."""

    feedback: list[Feedback]
    counts: dict[Verdict, int]
    next_after: str | None


@dataclass(frozen=True)
class _Entry:
    key: str
    id: str
    verdict: Verdict
    job_id: str


class _Moments:
    """Times that grow by a millisecond at least: what comes later in one process has the higher id."""

    def __init__(self) -> None:
        self._last, self._guard = 0.0, threading.Lock()

    def next(self) -> float:
        with self._guard:
            self._last = max(time.time(), self._last + 0.001)
            return self._last


_moments = _Moments()


class GalleryFeedback:
    """The judgements of all galleries of one object store; may be used by many threads.

    Every method raises GalleryNotFound, InvalidGalleryName, GalleryCorrupt and StorageUnavailable where they apply.
    """

    def __init__(self, objects: ObjectStore, galleries: GalleryReader) -> None:
        self._objects, self._galleries = objects, galleries

    def add(
        self,
        gallery: str,
        job_id: str,
        version: int,
        box: Box | None,
        verdict: Verdict,
        answer: str | None,
        label: str | None,
        image_key: str,
        size: tuple[int, int],
        made_id: str | None = None,
    ) -> Feedback:
        """Keeps a judgement: once this returns it is not lost. `size`: width and height of the photo.

        `made_id`: its id, where a repetition must not be a second one.
        """
        now = _moments.next()
        made = Feedback(
            made_id or new_id(PREFIX, now),
            job_id,
            gallery,
            version,
            box,
            verdict,
            answer,
            label,
            str(isoformat(now)),
            image_key,
            *size,
        )
        generation = self._generation(gallery)
        key = f"{feedback_prefix(gallery, generation)}{made.id}.{verdict}.{job_id}.json"
        self._objects.put(key, json.dumps({"schema": SCHEMA, **asdict(made)}, ensure_ascii=False).encode())
        if self._generation(gallery) != generation:  # deleted meanwhile, and perhaps made again
            self._objects.delete(key)
            raise not_found(gallery)
        return made

    def page(self, gallery: str, after: str | None = None, limit: int = 100, verdict: Verdict | None = None) -> Page:
        """The next `limit` judgements behind the one with the id `after`, of one verdict or all. Raises InvalidCursor."""
        if after is not None and not _ID.fullmatch(after):
            raise InvalidCursor("This is no cursor: send the `next_after` of the page before.")
        entries = self._entries(gallery)
        counted = Counter(entry.verdict for entry in entries)
        left = [one for one in entries if one.id > (after or "") and verdict in (None, one.verdict)]
        found = [self._read(entry) for entry in left[:limit]]
        return Page(
            [one for one in found if one is not None],
            {one: counted[one] for one in VERDICTS},
            left[limit - 1].id if len(left) > limit else None,
        )

    def of_job(self, gallery: str, job_id: str) -> list[Feedback]:
        """Those of one job, in the order of their coming."""
        found = [self._read(entry) for entry in self._entries(gallery) if entry.job_id == job_id]
        return [one for one in found if one is not None]

    def find(self, gallery: str, feedback_id: str) -> Feedback:
        """Raises FeedbackNotFound."""
        for entry in self._entries(gallery):
            if entry.id == feedback_id and (found := self._read(entry)) is not None:
                return found
        raise FeedbackNotFound(f"The gallery {gallery!r} has no feedback {feedback_id!r}.")

    def latest(self, gallery: str) -> list[Feedback]:
        """The last judgement of each box of each photo: what people say in the end, in the order of the first."""
        found = (self._read(entry) for entry in self._entries(gallery))
        return last_of(one for one in found if one is not None)

    def _generation(self, gallery: str) -> str:
        return self._galleries.manifest(check_name(gallery)).generation

    def _entries(self, gallery: str) -> list[_Entry]:
        prefix = feedback_prefix(gallery, self._generation(gallery))
        return [entry for key in self._objects.list(prefix) if (entry := _entry(key)) is not None]

    def _read(self, entry: _Entry) -> Feedback | None:
        """None if it has gone, with its gallery."""
        try:
            return decode_feedback(self._objects.get(entry.key))
        except ObjectNotFound:
            return None


def last_of(judged: Iterable[Feedback]) -> list[Feedback]:
    """The last judgement of each box of each photo, in the order of the first; `judged` in the order of their coming."""
    said: dict[tuple[str, Box | None], Feedback] = {}
    for one in judged:
        said[one.image_key, one.box] = one
    return list(said.values())


def decode_feedback(data: bytes) -> Feedback:
    """Raises GalleryCorrupt."""
    try:
        found = json.loads(data)
        if found["schema"] != SCHEMA:
            raise ValueError("another schema")
        return read_feedback(found)
    except (ValueError, KeyError, TypeError) as error:
        raise GalleryCorrupt("A record of feedback cannot be read.") from error


def read_feedback(found: Mapping[str, Any]) -> Feedback:
    """A judgement of its JSON; further members are passed over. Raises ValueError, KeyError or TypeError for what is none."""
    if found["verdict"] not in VERDICTS:
        raise ValueError("no verdict")
    members = {member.name: found[member.name] for member in fields(Feedback)}
    if found["box"] is not None:
        x1, y1, x2, y2 = (int(side) for side in found["box"])
        members["box"] = (x1, y1, x2, y2)
    return Feedback(**members)


def held_out(judged: list[Feedback]) -> set[str]:
    """The keys of every fifth photo, in the order of their coming: the same ones when more have come."""
    return set(list(dict.fromkeys(one.image_key for one in judged))[HOLDOUT - 1 :: HOLDOUT])


def list_of(judged: list[Feedback]) -> Iterator[str]:
    """A line for each box whose label is known: image key, label, job, and the box unless it is the whole photo.

    As models.training.data.readers.lists reads it, with the job for an id: what one photo shows is no match of itself.
    """
    for one in judged:
        if one.label is not None:
            box = [] if one.box is None else [",".join(map(str, one.box))]
            yield "\t".join([one.image_key, one.label, one.job_id, *box]) + "\n"


def coco_of(judged: list[Feedback]) -> dict[str, list[dict[str, object]]]:
    """COCO detection JSON: boxes under their labels; those without a label are crowds, neither to be found nor wrong."""
    labels = {label: number for number, label in enumerate(sorted({one.label for one in judged if one.label}), 1)}
    images: dict[str, dict[str, object]] = {}
    notes: list[dict[str, object]] = []
    for one in judged:
        image = images.setdefault(
            one.image_key,
            {"id": len(images) + 1, "file_name": one.image_key, "width": one.width, "height": one.height},
        )
        x1, y1, x2, y2 = one.box or (0, 0, one.width, one.height)
        note: dict[str, object] = {"id": len(notes) + 1, "image_id": image["id"], "bbox": [x1, y1, x2 - x1, y2 - y1]}
        note["area"] = (x2 - x1) * (y2 - y1)
        note["iscrowd"] = int(one.label is None)
        note["category_id"] = labels.get(one.label or "", 0)
        notes.append(note)
    categories: list[dict[str, object]] = [{"id": number, "name": label} for label, number in labels.items()]
    if any(note["iscrowd"] for note in notes):
        categories.insert(0, {"id": 0, "name": "unknown"})
    return {"images": list(images.values()), "annotations": notes, "categories": categories}


def _entry(key: str) -> _Entry | None:
    parts = key.rpartition("/")[2].split(".")
    if len(parts) != 4 or not _ID.fullmatch(parts[0]) or parts[1] not in VERDICTS:
        return None  # another version's, or nobody's
    return _Entry(key, parts[0], parts[1], parts[2])
