"""One enrolment job: stored pictures and their labels in, a new gallery version and a status for every picture out.

Running it twice changes nothing: an item's id follows from its content, and the items that this very job added are
known by `added_at`, which is the job's creation time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.galleries import Item, item_id
from infra.job_records import isoformat
from models.errors import ImageError
from models.image import crop, decode
from worker.errors import JobError, job_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from infra.job_records import Job
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Programs, Runtime

PICTURES_A_BATCH = 16  # bounds the memory of decoded pictures; larger batches embed no faster


@dataclass(frozen=True)
class Read:
    """One picture of the request after decoding: an item and what of it is embedded, or why it is rejected."""

    name: str
    label: str
    item: Item | None = None
    view: NDArray[np.uint8] | None = None  # (H, W, 3) RGB
    error: JobError | None = None


def enroll(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> dict[str, Any]:
    """The `result` of `job`; `checkpoint` takes the progress, and raises when the work must stop.

    A picture that cannot be used is rejected with its code and holds no other up. Raises GalleryNotFound if the gallery
    was deleted meanwhile, EmbedderMismatch if another model made it, StorageUnavailable, GalleryBusy.
    """
    request = job.request
    gallery = request["gallery"]
    runtime.require_same_model(runtime.store.manifest(gallery))
    pictures: list[dict[str, str]] = request["items"]
    read: list[Read] = []
    embeddings: dict[str, NDArray[np.float32]] = {}  # item id: (D,)
    with runtime.programs() as programs:
        for start in range(0, len(pictures), PICTURES_A_BATCH):
            checkpoint({"done": start, "total": len(pictures)})
            batch = [
                read_picture(picture, job, runtime, programs) for picture in pictures[start : start + PICTURES_A_BATCH]
            ]
            embeddings |= embed(batch, programs)
            read += [replace(entry, view=None) for entry in batch]  # decoded pictures are large
    checkpoint({"done": len(pictures), "total": len(pictures)})
    return add(job, runtime, read, embeddings)


def read_picture(picture: dict[str, str], job: Job, runtime: Runtime, programs: Programs) -> Read:
    """Fetches and decodes one picture; with the request's `crop` at "main_body" it is cut to its most certain body."""
    name, label = picture.get("name", ""), picture["label"]
    limits = runtime.settings.images
    try:
        image = decode(
            runtime.objects.get(picture["image_key"]), max_pixels=limits.max_pixels, min_side_px=limits.min_side_px
        )
    except ImageError as error:
        return Read(name, label, error=job_error(error))
    box: tuple[int, int, int, int] | None = None
    view = image
    if job.request.get("crop") == "main_body" and programs.detector is not None:
        bodies = programs.detector(image, max_detections=1)
        if bodies:  # otherwise the whole picture is the body
            box = bodies[0].box
            view = crop(image, box)
    item = Item(
        id=item_id(picture["sha256"], label, box),
        label=label,
        image_key=picture["image_key"],
        sha256=picture["sha256"],
        box=box,
        added_at=added_at(job),
    )
    return Read(name, label, item, view)


def embed(batch: Sequence[Read], programs: Programs) -> dict[str, NDArray[np.float32]]:
    """The embeddings (D,) of the batch's usable pictures by item id, computed together."""
    usable = [(entry.item.id, entry.view) for entry in batch if entry.item is not None and entry.view is not None]
    if not usable:
        return {}
    rows = programs.embedder([view for _, view in usable])
    return {found: row for (found, _), row in zip(usable, rows, strict=True)}


def add(job: Job, runtime: Runtime, read: Sequence[Read], embeddings: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    """Writes what is new as one version of the gallery; the job's `result`."""
    gallery = job.request["gallery"]
    wanted = {entry.item.id: entry.item for entry in read if entry.item is not None}
    if wanted:
        rows = np.stack([embeddings[found] for found in wanted])
        done = runtime.store.add(gallery, tuple(wanted.values()), rows, runtime.models["embedder"]["digest"])
        manifest, added = done.manifest, set(done.added_ids)
        if done.duplicate_ids:
            # What was added at this job's own time, this job added itself, in an attempt that died afterwards.
            own = {item.id for item in runtime.store.items(gallery) if item.added_at == added_at(job)}
            added |= own & wanted.keys()
    else:
        manifest, added = runtime.store.manifest(gallery), set()
    return {
        "gallery": {"name": gallery, "version": manifest.version, "items": manifest.item_count},
        "models": runtime.models,
        "items": [outcome(entry, added) for entry in read],
    }


def outcome(entry: Read, added: set[str]) -> dict[str, Any]:
    """What the result says about one picture. Takes its id out of `added`: the same picture again is a duplicate."""
    status = "rejected"
    if entry.item is not None:
        status = "added" if entry.item.id in added else "duplicate"
        added.discard(entry.item.id)
    return {
        "name": entry.name,
        "label": entry.label,
        "status": status,
        "item_id": entry.item.id if entry.item else None,
        "error": entry.error.to_dict() if entry.error else None,
    }


def added_at(job: Job) -> str:
    """When the job's items count as added: the same in every attempt."""
    return str(isoformat(job.created_at))
