"""Which pictures below `images/` are still shown by something, and those that are not, deleted.

A picture is named before it is needed no more: by an upload that has just stored it, then by the enrolment job, then by the
gallery. They are looked at in this order, so that what moves from one to the next meanwhile is found. What an upload has
just stored no record names yet; so a picture that was stored within the last `grace_s` seconds stays for now.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from infra.erasure.records import Kept
from infra.errors.galleries import GalleryNotFound
from infra.errors.photos import ObjectNotFound
from infra.galleries import staging
from infra.galleries.deleted import all_deleted
from infra.galleries.feedback import decode_feedback
from infra.galleries.files import Pointer
from infra.galleries.keys import feedback_prefix, version_of
from infra.jobs.scripts import job_key
from infra.objects.store import preview_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import redis

    from infra.galleries.files import GalleryManifest
    from infra.galleries.store import GalleryStore

PIECE = 200
_KEY = re.compile(r"images/[0-9a-f]{2}/[0-9a-f]{64}")


def digest_of(key: str) -> str:
    """The SHA-256 in a picture's key."""
    return key.rpartition("/")[2]


def delete_unused(
    store: GalleryStore, client: redis.Redis | None, keys: Collection[str], since: float
) -> tuple[list[str], list[Kept], list[str]]:
    """Deletes those of `keys` that nothing shows, with their previews: digests deleted, what stays, and keys for later.

    Later: stored after `since` (seconds since 1970), or named by a job that is open or failed. `client` None: without jobs.
    """
    wanted = {key for key in keys if _KEY.fullmatch(key)}  # all others are no gallery's pictures
    if not wanted:
        return [], [], []
    by_jobs = set() if client is None else _of_jobs(client, wanted)
    by_jobs |= staging.pictures_of(store.objects) & wanted  # of imports that are under way
    by_galleries = _of_galleries(store, wanted)
    gone, kept, later = [], [], []
    for key in sorted(wanted):
        if key in by_galleries:
            kept.append(Kept(digest_of(key), tuple(sorted(by_galleries[key]))))
        elif key not in by_jobs and store.objects.delete_idle(key, since):
            store.objects.delete(preview_key(key))
            gone.append(digest_of(key))
        else:
            later.append(key)
    return gone, kept, later


def pictures_of(store: GalleryStore, name: str, pointer: Pointer) -> set[str]:
    """The keys of the pictures of all items in all kept versions of a gallery, and of its feedback."""
    found = {key for key, _ in _named(store, name, pointer)}
    return found | _of_feedback(store, name, pointer.generation)


def pointers(store: GalleryStore, name: str) -> list[Pointer]:
    """What is in force of a gallery's name, and what can be restored."""
    newest = store._newest_pointer(name)
    live = [] if newest is None or not newest.manifests else [newest]
    return live + [Pointer(one.token, one.generation, one.current, one.manifests) for one in all_deleted(store, name)]


def manifests_of(store: GalleryStore, name: str, pointer: Pointer) -> Iterator[GalleryManifest]:
    """All kept versions. Raises ObjectNotFound if one went meanwhile."""
    for manifest_id in pointer.manifests:
        yield store._manifest(name, pointer, version_of(manifest_id))


def _of_galleries(store: GalleryStore, wanted: set[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    names = {*store.names(), *(one.name for one in all_deleted(store))}
    for name in sorted(names):
        for key in _whole(store, name) & wanted:
            found.setdefault(key, set()).add(name)
    return found


def _whole(store: GalleryStore, name: str) -> set[str]:
    for _ in range(5):
        try:
            found: set[str] = set()
            for pointer in pointers(store, name):
                found |= pictures_of(store, name, pointer)
        except (ObjectNotFound, GalleryNotFound):
            continue  # changed while it was read
        return found
    raise ObjectNotFound(f"The gallery {name!r} changes faster than it can be read.")


def _named(store: GalleryStore, name: str, pointer: Pointer) -> Iterator[tuple[str, str]]:
    """(picture's key, item's id) of every row of every segment, once."""
    seen = set()
    for manifest in manifests_of(store, name, pointer):
        for segment in manifest.segments:
            if segment.id not in seen:
                seen.add(segment.id)
                yield from ((item.image_key, item.id) for item in store._all_items(manifest, segment))


def _of_feedback(store: GalleryStore, name: str, generation: str) -> set[str]:
    found = set()
    for key in list(store.objects.list(feedback_prefix(name, generation))):
        try:
            found.add(decode_feedback(store.objects.get(key)).image_key)
        except ObjectNotFound:
            continue
    return found


def _of_jobs(client: redis.Redis, wanted: set[str]) -> set[str]:
    """Those that a job names which is open, or failed and may be replayed."""
    found: set[str] = set()
    ids = []
    for index in client.scan_iter("shitu:jobs:list:*:status:*", count=1000):
        if str(index).rpartition(":")[2] in {"queued", "processing", "failed"}:
            ids += [str(member).partition(":")[2] for member in client.zrange(str(index), 0, -1)]
    for start in range(0, len(ids), PIECE):
        with client.pipeline(transaction=False) as pipe:
            for job_id in ids[start : start + PIECE]:
                pipe.hget(job_key(job_id), "request")
            for request in pipe.execute():
                found.update(_KEY.findall(str(request or "")))
    return found & wanted
