"""Erases items, galleries and jobs: noted first, then done step by step, finished by whoever finds it unfinished.

Rows, feedback, answers and messages go at once. A picture goes at once as well, unless it was uploaded within the last
`grace_s` seconds (infra.erasure.pictures), a job that is open or failed names it, or the job itself is still running:
then the keeper ends it as soon as that is over.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, cast

from contracts.errors import ServiceError
from contracts.indexes import choice_of
from contracts.names import readable_label
from infra.erasure.jobs import erase_job
from infra.erasure.pictures import delete_unused, digest_of, manifests_of, pictures_of, pointers
from infra.erasure.records import PREFIX, Erasure, Erasures, Kept
from infra.erasure.rows import erase_rows
from infra.errors.galleries import GalleryCorrupt, GalleryNotFound, ItemNotFound
from infra.errors.jobs import JobExpired, JobNotFound
from infra.errors.photos import ObjectNotFound
from infra.galleries.deleted import DeletedGallery, all_deleted, purge
from infra.galleries.feedback import decode_feedback
from infra.galleries.keys import feedback_prefix
from infra.galleries.lint_reports import drop_reports
from infra.galleries.milvus_tidy import tidy
from infra.jobs.photos import Photos
from infra.jobs.records import isoformat, new_id
from infra.jobs.scripts import photo_key
from infra.objects.store import image_key_of
from infra.runtime import audit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    import redis

    from infra.erasure.records import Kind
    from infra.galleries.files import Item, Pointer
    from infra.galleries.store import GalleryStore
    from infra.jobs.ledger import JobLedger

    Meant = Callable[[str, str], bool]  # of a record of feedback: its key, and its photo's

TAKEN_OVER_S = 30.0  # before that, the process with the request is at it
LONGEST_PAUSE_S = 600.0
ALL_FEEDBACK = "galleries/feedback/"

log = logging.getLogger(__name__)


class Eraser:
    """May be used by many threads. Every method raises redis.RedisError, StorageUnavailable, GalleryBusy, GalleryCorrupt and MilvusUnavailable."""

    def __init__(
        self, store: GalleryStore, client: redis.Redis, ledger: JobLedger, grace_s: float, tombstone_s: float
    ) -> None:
        self._store, self._redis, self._ledger = store, client, ledger
        self._grace_s, self._tombstone_s = grace_s, tombstone_s
        self._again_at: dict[str, float] = {}
        self.records = Erasures(store.objects)

    def erase_items(self, name: str, item_ids: Collection[str] = (), labels: Collection[str] = ()) -> Erasure:
        """These items and all of these labels, in every version of the gallery that can be gone back to.

        What they were before a correction goes too. Raises GalleryNotFound, ItemNotFound for the first that no version has.
        """
        self._store.manifest(name)
        wanted = {readable_label(label) for label in labels}
        ids: set[str] = set()
        keys: set[str] = set()
        generations = []
        until = ""
        seen: set[str] = set()
        for pointer in pointers(self._store, name):
            items = self._all_items(name, pointer)
            seen |= {item.id for item in items} | {item.label for item in items}
            live = {item.id for item in self._live_items(name, pointer)}
            meant = [item for item in items if item.id in item_ids or item.label in wanted]
            contents = {(item.sha256, item.box) for item in meant}
            meant += [item for item in items if (item.sha256, item.box) in contents and item.id not in live]
            if meant:
                generations.append(pointer.generation)
                ids |= {item.id for item in meant}
                keys |= {item.image_key for item in meant}
                until = max(until, *(item.added_at for item in meant))  # clocks differ, and these are meant
        for one in (*item_ids, *sorted(wanted)):
            if one not in seen:
                raise ItemNotFound(f"No version of the gallery {name!r} has an item or label {one!r}.")
        made = self._made("items", gallery=name, generations=tuple(generations), item_ids=tuple(sorted(ids)))
        made = replace(made, until=max(until, made.requested_at))
        return self.finish(self.records.note(made.seeking(keys)))

    def erase_gallery(self, name: str) -> Erasure:
        """The gallery, and all of its name that could be restored. Raises GalleryNotFound if there is neither."""
        found = pointers(self._store, name)
        if not found:
            raise GalleryNotFound(f"There is no gallery {name!r}, and none to restore.")
        made = self._made("gallery", gallery=name, generations=tuple(one.generation for one in found))
        return self.finish(self.records.note(made))

    def erase_job(self, job_id: str) -> Erasure:
        """A job about one photo, canceled if it is open, with photo, answer, feedback and messages.

        Raises JobNotFound, JobExpired.
        """
        made = self._made(cast("Kind", self._ledger.get(job_id).kind.value), job_id=job_id)
        return self.finish(self.records.note(self._with_photo(made)))

    def before_purge(self, deleted: DeletedGallery) -> None:
        """Notes the pictures of a gallery that is about to be purged, to be deleted after that."""
        made = self._made("purge", gallery=deleted.name, generations=(deleted.generation,))
        found = self._pictures_before(deleted)
        if found:
            self.records.note(made.seeking(found))

    def finish(self, erasure: Erasure) -> Erasure:
        """Does what is still to be done, as far as it can be done now; harmless if somebody else does so too."""
        if erasure.kind == "items":
            erasure = self._items(erasure)
        elif erasure.kind == "gallery":
            erasure = self._gallery(erasure)
        elif erasure.job_id is not None:
            erasure = self._job(erasure)
            if "job" not in erasure.steps:
                return erasure
        elif self._still_there(erasure):
            return erasure  # the purge goes first
        self._ledger.note_erasure()  # before the receipt: what answers are kept of it goes too
        erasure = self._pictures(erasure)
        if erasure.pictures or (erasure.photo is not None and "photo" not in erasure.steps):
            return self.records.note(erasure)
        audit.erased(erasure.kind, erasure.id, erasure.gallery, erasure.job_id)
        return self.records.complete(erasure, self._ledger.time())

    def finish_left(self, after_s: float = TAKEN_OVER_S) -> int:
        """Resumes all that were requested `after_s` seconds ago or more. How many are finished now.

        One that waits is looked at again after a while only, for all galleries are read for it. Raises what the last one
        stumbled over, once all others had their turn.
        """
        until = self._ledger.time() - after_s
        finished, failure = 0, None
        unfinished = self.records.unfinished()
        self._again_at = {one.id: self._again_at.get(one.id, 0.0) for one in unfinished}
        for one in unfinished:
            requested_at = datetime.fromisoformat(one.requested_at).timestamp()
            if requested_at > until or self._again_at[one.id] > time.monotonic():
                continue
            try:
                finished += self.finish(one).completed_at is not None
            except ServiceError as error:
                failure = error
            self._again_at[one.id] = time.monotonic() + min(LONGEST_PAUSE_S, self._grace_s / 6)
        if failure is not None and not finished:
            raise failure
        return finished

    def _items(self, erasure: Erasure) -> Erasure:
        name = str(erasure.gallery)
        if "rows" not in erasure.steps:
            rows = sum(
                erase_rows(self._store, name, generation, erasure.item_ids, erasure.until or erasure.requested_at)
                for generation in erasure.generations
            )
            for generation in erasure.generations:  # labels and ids are named there, too
                drop_reports(self._store.objects, name, generation)
            erasure = self.records.note(replace(erasure, vectors=rows).after("rows"))
        if "server" not in erasure.steps:
            self._tidy_server(name, erasure.generations)
            erasure = self.records.note(erasure.after("server"))
        if "feedback" not in erasure.steps:
            keys = set(erasure.pictures)
            prefixes = [feedback_prefix(name, generation) for generation in erasure.generations]
            erasure = self._without_feedback(erasure, prefixes, lambda _key, image: image in keys)
        return erasure

    def _tidy_server(self, name: str, generations: Collection[str]) -> None:
        """Drops from Milvus the files that were written again. Of galleries that were never there it is not called."""
        server = self._store.milvus
        for pointer in pointers(self._store, name) if server is not None else ():
            if server is None or pointer.generation not in generations:
                continue
            if any(choice_of(kept.index).remote for kept in manifests_of(self._store, name, pointer)):
                tidy(self._store, server, name, pointer, unfinished_s=0)

    def _gallery(self, erasure: Erasure) -> Erasure:
        name = str(erasure.gallery)
        with suppress(GalleryNotFound):
            if self._store.manifest(name).generation in erasure.generations:
                self._store.delete(name)
        noted = [erasure]

        def note(deleted: DeletedGallery) -> None:
            found = self._pictures_before(deleted)
            if found:
                rows = noted[0].vectors + deleted.item_count
                noted[0] = self.records.note(replace(noted[0].seeking(found), vectors=rows))

        for one in all_deleted(self._store, name, purging=True):
            if one.generation in erasure.generations:
                purge(self._store, one, note)
        return noted[0]

    def _with_photo(self, erasure: Erasure) -> Erasure:
        """With the job's photo, if it is there: it may still have to be fetched."""
        photo = ""
        with suppress(JobNotFound, JobExpired):
            photo = str(self._ledger.get(str(erasure.job_id)).request.get("image", {}).get("key") or "")
        return replace(erasure, photo=photo).seeking({image_key_of(_digest(photo))}) if photo else erasure

    def _job(self, erasure: Erasure) -> Erasure:
        job_id = str(erasure.job_id)
        if "job" not in erasure.steps:
            if erasure.photo is None:
                erasure = self.records.note(self._with_photo(erasure))
            gone = erase_job(self._redis, self._ledger, job_id, self._tombstone_s)
            if gone is None:
                return erasure
            erasure = self.records.note(replace(erasure, messages=gone).after("job"))
        if "feedback" not in erasure.steps:
            end = f".{job_id}.json"
            erasure = self._without_feedback(erasure, [ALL_FEEDBACK], lambda key, _image: key.endswith(end))
        if erasure.photo is not None and "photo" not in erasure.steps:
            state = Photos(self._redis, self._store.objects).erase(erasure.photo)
            if state == "gone":
                erased = (*erasure.erased, _digest(erasure.photo))
                erasure = self.records.note(replace(erasure, erased=tuple(dict.fromkeys(erased))).after("photo"))
        return erasure

    def _pictures_before(self, deleted: DeletedGallery) -> set[str]:
        """Of a gallery that is about to go; none where that was begun before, and they were noted then."""
        try:
            return pictures_of(self._store, deleted.name, deleted.pointer)
        except ObjectNotFound:
            return set()
        except GalleryCorrupt as error:  # it goes all the same
            log.warning("a damaged gallery's pictures stay", extra={"gallery": deleted.name, "why": error.detail})
            return set()

    def _without_feedback(self, erasure: Erasure, prefixes: Iterable[str], meant: Meant) -> Erasure:
        """Without those records of feedback: their photos are noted before the first goes."""
        keys, images = [], set()
        for prefix in prefixes:
            for key in list(self._store.objects.list(prefix)):
                if prefix == ALL_FEEDBACK and not meant(key, ""):
                    continue  # spares reading it
                with suppress(ObjectNotFound):
                    image = decode_feedback(self._store.objects.get(key)).image_key
                    if meant(key, image):
                        keys.append(key)
                        images.add(image)
        ids = tuple(dict.fromkeys([*erasure.feedback, *(key.rpartition("/")[2].partition(".")[0] for key in keys)]))
        erasure = self.records.note(replace(erasure.seeking(images), feedback=ids))
        for key in keys:
            self._store.objects.delete(key)
        return self.records.note(erasure.after("feedback"))

    def _pictures(self, erasure: Erasure) -> Erasure:
        since = self._ledger.time() - self._grace_s
        gone, kept, later = delete_unused(self._store, self._redis, erasure.pictures, since)
        if erasure.kind == "items":
            kept += [Kept(one, (), photo=True) for one in gone if any(self._store.objects.list(photo_key(one)))]
        return replace(
            erasure,
            erased=tuple(dict.fromkeys([*erasure.erased, *gone])),
            kept=(*erasure.kept, *kept),
            pictures=tuple(later),
        )

    def _still_there(self, erasure: Erasure) -> bool:
        deleted = all_deleted(self._store, erasure.gallery, purging=True)
        return any(one.generation in erasure.generations for one in deleted)

    def _all_items(self, name: str, pointer: Pointer) -> list[Item]:
        """Every row of every segment of every kept version, once."""
        found: dict[str, list[Item]] = {}
        for manifest in manifests_of(self._store, name, pointer):
            for segment in manifest.segments:
                if segment.id not in found:
                    found[segment.id] = list(self._store._all_items(manifest, segment))
        return [item for items in found.values() for item in items]

    def _live_items(self, name: str, pointer: Pointer) -> tuple[Item, ...]:
        return self._store._segment_items(self._store._manifest(name, pointer, None))

    def _made(
        self,
        kind: Kind,
        *,
        gallery: str | None = None,
        generations: tuple[str, ...] = (),
        item_ids: tuple[str, ...] = (),
        job_id: str | None = None,
    ) -> Erasure:
        now = self._ledger.time()
        return Erasure(
            new_id(PREFIX, now),
            kind,
            str(isoformat(now)),
            gallery=gallery,
            generations=generations,
            item_ids=item_ids,
            job_id=job_id,
        )


def pending_digests(erasure: Erasure) -> list[str]:
    """Of the pictures that are still there, and of which it is not decided yet: in no other list of the receipt."""
    found = {digest_of(key) for key in erasure.pictures}
    if erasure.photo is not None and "photo" not in erasure.steps:
        found.add(_digest(erasure.photo))
    return sorted(found)


def kept_pictures(erasure: Erasure) -> list[Kept]:
    """Those that stay, as one thing or another: a photo's bytes may be a gallery's picture too. Each digest once."""
    pending = set(pending_digests(erasure))
    found = {one.sha256: one for one in erasure.kept if one.sha256 not in pending}
    return list(found.values())


def erased_digests(erasure: Erasure) -> list[str]:
    """Of the pictures that lie nowhere any more."""
    left = {*pending_digests(erasure), *(one.sha256 for one in erasure.kept)}
    return [one for one in erasure.erased if one not in left]


def _digest(photo: str) -> str:
    """Of a photo's key, which may end in `.1`: infra.jobs.photos."""
    return digest_of(photo).partition(".")[0]
