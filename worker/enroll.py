"""One enrolment job: stored pictures and their labels in, a new gallery version and a status for every picture out.

Of each picture the gallery keeps the embedding, that of an augmented view, and its local features, for verification.

Running it twice changes nothing: an item's id follows from its content, and the items that this very job added are
known by `added_at`, which is the job's creation time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from contracts.names import LabelRefused, clean_label, readable_label
from infra.errors.galleries import EmbedderMismatch
from infra.galleries.store import Item, item_id
from infra.jobs.records import isoformat
from models.enrolment import calibrator, embed_views, packed_features
from models.errors import ImageError, ModelError
from models.galleries.near_duplicates import Near, near_duplicates
from models.pictures.image import crop, decode, with_margin
from worker.errors import JobError, job_error
from worker.previews import keep_preview

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from contracts.results import EnrolledItem, EnrollmentResult
    from infra.galleries.calibration import Calibrate
    from infra.jobs.records import Job
    from worker.lease_keeper import Checkpoint
    from worker.runtime import Programs, Runtime

BATCH_PICTURES = 16  # larger batches embed no faster
BATCH_PIXELS = 24_000_000  # of decoded pictures held at a time, besides the one that goes over it


@dataclass(frozen=True)
class Picture:
    """One picture of the request on its way: read with `item`, `view`, `features`, then embedded, or with an `error`."""

    name: str
    label: str
    item: Item | None = None
    view: NDArray[np.uint8] | None = None  # (H, W, 3) RGB: what is embedded of it
    features: bytes = b""  # packed local features of what is embedded
    embedding: NDArray[np.float32] | None = None  # (D,)
    augmented: NDArray[np.float32] | None = None  # (D,), of an augmented view; zeros if it has none
    near: Near | None = None
    error: JobError | None = None


def enroll(job: Job, runtime: Runtime, checkpoint: Checkpoint) -> EnrollmentResult:
    """The `result` of `job`; `checkpoint` takes the progress, and raises when the work must stop.

    A picture that cannot be used is rejected with its code and holds no other up. Raises GalleryNotFound if the gallery
    was deleted meanwhile, EmbedderMismatch if another model made it, StorageUnavailable, GalleryBusy.
    """
    while True:
        digest = runtime.embedder_of(runtime.store.manifest(job.request["gallery"]))
        try:
            return enrolled(job, runtime, checkpoint, digest)
        except EmbedderMismatch:
            if runtime.embedder_of(runtime.store.manifest(job.request["gallery"])) == digest:
                raise
            # A version of another embedder was activated meanwhile: the pictures are embedded again.


def enrolled(job: Job, runtime: Runtime, checkpoint: Checkpoint, digest: str) -> EnrollmentResult:
    """`enroll` with the embedder of this digest. Raises EmbedderMismatch if the gallery is of another one."""
    requested: list[dict[str, Any]] = job.request["items"]
    done: list[Picture] = []
    batch: list[Picture] = []
    with runtime.programs(digest) as programs:
        for position, entry in enumerate(requested, start=1):
            batch.append(read(entry, job, runtime, programs))
            pixels = sum(picture.view.shape[0] * picture.view.shape[1] for picture in batch if picture.view is not None)
            if len(batch) == BATCH_PICTURES or pixels >= BATCH_PIXELS or position == len(requested):
                done += embed(batch, programs)
                batch = []
                checkpoint({"done": position, "total": len(requested)})
            else:
                checkpoint()
        calibrate = calibrator(programs.embedder)
    return add(job, runtime, done, calibrate, digest)


def read(entry: dict[str, Any], job: Job, runtime: Runtime, programs: Programs) -> Picture:
    """Fetches and decodes one picture; cut to the entry's `box`, or with the request's `crop` at "main_body" to its most certain object."""
    picture = Picture(entry.get("name", ""), readable_label(entry["label"]))
    if "error" in entry:  # refused by its header, and kept to be reported in its place
        return replace(picture, error=JobError(**entry["error"]))
    try:
        picture = replace(picture, label=clean_label(entry["label"]))
    except LabelRefused as error:  # of a job from before there was a rule
        return replace(picture, error=JobError("label_invalid", f"{error}.".capitalize(), retryable=False))
    limits = runtime.settings.images
    try:
        data = runtime.objects.get(entry["image_key"])
        image = decode(data, max_pixels=limits.max_pixels, min_side_px=limits.min_side_px)
    except ImageError as error:
        return replace(picture, error=job_error(error))
    keep_preview(runtime.objects, entry["image_key"], data, image)
    box: tuple[int, int, int, int] | None = None
    view = image
    if entry.get("box") is not None:
        if not _within(entry["box"], image):
            height, width = image.shape[:2]
            report = f"The box {entry['box']} is not within the photo of {width} x {height} pixels."
            return replace(picture, error=JobError("box_invalid", report, retryable=False))
        box = with_margin(entry["box"], *image.shape[:2])  # as it was and will be searched
        box, view = (None, image) if box == (0, 0, *image.shape[1::-1]) else (box, crop(image, box).copy())
    elif job.request.get("crop") == "main_body":
        box, view = main_body(image, programs)
    item = Item(
        id=item_id(entry["sha256"], picture.label, box),
        label=picture.label,
        image_key=entry["image_key"],
        sha256=entry["sha256"],
        box=box,
        added_at=added_at(job),
        metadata=entry.get("metadata", {}),
    )
    return replace(picture, item=item, view=view, features=packed_features(view))


def main_body(
    image: NDArray[np.uint8], programs: Programs
) -> tuple[tuple[int, int, int, int] | None, NDArray[np.uint8]]:
    """The box of a picture's most certain object and its pixels; without one, or a detector, the whole picture."""
    detections = [] if programs.detector is None else programs.detector(image, max_detections=1)
    if not detections:
        return None, image
    box = with_margin(detections[0].box, *image.shape[:2])  # as much of it as a photo is searched with
    return box, crop(image, box).copy()  # lets go of the rest


def _within(box: Sequence[int], image: NDArray[np.uint8]) -> bool:
    """Whether a box (x1, y1, x2, y2) has pixels, all of them the image's."""
    height, width = image.shape[:2]
    return 0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height


def embed(batch: Sequence[Picture], programs: Programs) -> list[Picture]:
    """The batch, embedded together and without its decoded pictures. One that cannot be embedded is rejected alone."""
    usable = [(picture.view, picture.item.sha256) for picture in batch if picture.view is not None and picture.item]
    views = [view for view, _ in usable]
    try:
        embeddings = programs.embedder(views)
    except ModelError as error:
        if error.code != "embedding_invalid":
            raise  # the engine's trouble, not the picture's
        if len(batch) > 1:
            return [one for picture in batch for one in embed([picture], programs)]
        unusable = JobError(error.code, "The embedder gives no usable answer for this picture.", retryable=False)
        return [replace(batch[0], item=None, view=None, error=unusable)]
    augmented = embed_views(views, [sha256 for _, sha256 in usable], programs.embedder)
    rows = iter(zip(embeddings, augmented, strict=True))
    return [picture if picture.view is None else embedded(picture, *next(rows)) for picture in batch]


def embedded(picture: Picture, embedding: NDArray[np.float32], augmented: NDArray[np.float32]) -> Picture:
    """`picture` with what the embedder said of it, without its pixels."""
    return replace(picture, view=None, embedding=embedding, augmented=augmented)


def add(job: Job, runtime: Runtime, pictures: Sequence[Picture], calibrate: Calibrate, digest: str) -> EnrollmentResult:
    """Writes what is new as one version of the gallery; the job's `result`."""
    gallery = job.request["gallery"]
    wanted: dict[str, Picture] = {}
    for picture in pictures:
        if picture.item is not None:
            wanted.setdefault(picture.item.id, picture)
    near = nearly_there(job, runtime, wanted, digest)
    pictures = [
        replace(picture, near=near.get(picture.item.id)) if picture.item is not None else picture
        for picture in pictures
    ]
    wanted = {key: picture for key, picture in wanted.items() if key not in near or not near[key].skipped}
    added: set[str] = set()
    activate = bool(job.request.get("activate", True))
    staged = None if activate else runtime.store.made_by(gallery, job.id)
    if staged is not None:  # by an attempt that died afterwards
        manifest = staged
        own = {item.id for item in runtime.store.items(gallery, staged.version) if item.added_at == added_at(job)}
        added = own & wanted.keys()
    elif wanted:
        done = runtime.store.add(
            gallery,
            [picture.item for picture in wanted.values() if picture.item is not None],
            np.stack([picture.embedding for picture in wanted.values() if picture.embedding is not None]),
            digest,
            np.stack([picture.augmented for picture in wanted.values() if picture.augmented is not None]),
            [picture.features for picture in wanted.values()],
            calibrate,
            activate=activate,
            made_by=job.id,
        )
        manifest, added = done.manifest, set(done.added_ids)
        if done.duplicate_ids:
            # What was added at this job's own time, this job added itself, in an attempt that died afterwards.
            duplicates = runtime.store.find(gallery, done.duplicate_ids)
            added |= {item.id for item in duplicates.values() if item.added_at == added_at(job)}
    else:
        manifest = runtime.store.manifest(gallery)
    return {
        "gallery": {"name": gallery, "version": manifest.version, "items": manifest.item_count},
        "activated": activate or manifest.version == runtime.store.manifest(gallery).version,
        "models": runtime.models_with(digest),
        "items": [outcome(picture, added) for picture in pictures],
    }


def nearly_there(job: Job, runtime: Runtime, wanted: Mapping[str, Picture], digest: str) -> dict[str, Near]:
    """Of the pictures, by the ids of their items, those that are nearly another item; not of what is there already.

    What this job itself added, in an attempt that died afterwards, counts as new: the second answer is the first.
    Raises EmbedderMismatch if the gallery is not of the embedder of `digest` any more.
    """
    current = runtime.galleries.current(job.request["gallery"])
    if runtime.embedder_of(current.manifest) != digest:
        raise EmbedderMismatch("Another version of the gallery was activated meanwhile, of another embedder.")
    there = current.gallery.find_all(wanted.keys())
    own = [key for key, item in there.items() if getattr(item, "added_at", None) == added_at(job)]
    fresh = [picture for key, picture in wanted.items() if key not in there or key in own]
    items = [picture.item for picture in fresh if picture.item is not None]
    if not items:
        return {}
    rows = np.stack([picture.embedding for picture in fresh if picture.embedding is not None])
    skip = bool(job.request.get("skip_near_duplicates"))
    found = near_duplicates(current.gallery, items, rows, own, skip=skip)
    return {item.id: one for item, one in zip(items, found, strict=True) if one is not None}


def outcome(picture: Picture, added: set[str]) -> EnrolledItem:
    """What the result says about one picture. Takes its id out of `added`: the same picture again is a duplicate."""
    status: Literal["added", "duplicate", "rejected"] = "rejected"
    if picture.item is not None:
        status = "added" if picture.item.id in added else "duplicate"
        added.discard(picture.item.id)
    report: EnrolledItem = {
        "name": picture.name,
        "label": picture.label,
        "status": status,
        "item_id": picture.item.id if picture.item else None,
        "error": picture.error.to_dict() if picture.error else None,
    }
    if (near := picture.near) is not None:
        report["near_duplicate_of"] = {"item_id": near.item_id, "label": near.label, "similarity": near.similarity}
        if near.skipped:
            report["item_id"] = near.item_id
    return report


def added_at(job: Job) -> str:
    """When the job's items count as added: the same in every attempt."""
    return str(isoformat(job.created_at))
