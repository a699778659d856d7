"""Enrolment with a real store and ledger: statuses, and that a second run after a crash adds nothing and says the same."""

from __future__ import annotations

import hashlib
import io
import queue
from typing import Any

import numpy as np
import pytest
from PIL import Image

from infra.galleries import GalleryStore
from infra.job_records import Job
from infra.objects import open_store
from infra.settings import Settings
from models.errors import EngineError
from models.pipeline import Recognizer
from worker.enroll import BATCH_PICTURES, enroll
from worker.gallery_cache import GalleryCache
from worker.process import Process
from worker.runtime import Programs, Runtime

MODELS = {"detector": None, "embedder": {"name": "thumbnail", "digest": "d" * 64, "engine": "numpy"}}


class Thumbnail:
    """A picture's 8 x 8 thumbnail as its embedding: an embedder small enough to reason about. Black pictures have none."""

    name, digest, dim, engine, similarity_threshold = "thumbnail", "d" * 64, 192, "numpy", 0.5

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, crops: Any) -> Any:
        self.batches.append(len(crops))
        rows = []
        for crop in crops:
            row = np.asarray(Image.fromarray(crop).resize((8, 8)), np.float32).ravel()
            if not row.any():
                raise EngineError("no direction", "embedding_invalid")
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, np.float32).reshape(-1, self.dim)


@pytest.fixture
def embedder() -> Thumbnail:
    return Thumbnail()


@pytest.fixture
def runtime(settings: Settings, embedder: Thumbnail) -> Runtime:
    objects = open_store(settings.objects, settings.data_dir)
    store = GalleryStore(objects)
    idle: queue.LifoQueue[Programs] = queue.LifoQueue()
    idle.put(Programs(None, embedder, Recognizer(None, embedder)))  # type: ignore[arg-type]  # an embedder by its shape
    store.create("drinks")
    return Runtime(settings, objects, store, GalleryCache(store, 1 << 20), MODELS, idle)


def picture(seed: int | None) -> bytes:
    """A PNG of noise; black without a seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels if seed is not None else np.zeros_like(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def job(process: Process, runtime: Runtime, pictures: list[tuple[str, bytes]]) -> Job:
    """A queued enrolment of labelled pictures."""
    items = [
        {
            "image_key": runtime.objects.put_image(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "name": f"{label}.png",
            "label": label,
        }
        for label, data in pictures
    ]
    return process.ledger.create("enrollment", {"gallery": "drinks", "items": items, "crop": "whole"})


def statuses(result: dict[str, Any]) -> list[str]:
    return [item["status"] for item in result["items"]]


def ignore(progress: dict[str, Any] | None = None) -> None:
    """A checkpoint that never stops the work."""


def test_a_second_run_of_the_same_job_adds_nothing_and_says_the_same(process: Process, runtime: Runtime) -> None:
    asked = job(process, runtime, [("cola", picture(1)), ("juice", picture(2)), ("cola", picture(1))])
    first = enroll(asked, runtime, ignore)
    again = enroll(asked, runtime, ignore)  # as after a crash between the gallery's new version and the job's end
    assert statuses(first) == ["added", "added", "duplicate"]
    assert again == first
    assert runtime.store.manifest("drinks").item_count == 2


def test_another_job_finds_duplicates(process: Process, runtime: Runtime) -> None:
    enroll(job(process, runtime, [("cola", picture(1))]), runtime, ignore)
    second = enroll(job(process, runtime, [("cola", picture(1)), ("tea", picture(3))]), runtime, ignore)
    assert statuses(second) == ["duplicate", "added"]


def test_unusable_pictures_are_rejected_alone(process: Process, runtime: Runtime) -> None:
    broken = picture(4)[:200]
    result = enroll(job(process, runtime, [("a", picture(5)), ("b", broken), ("c", picture(None))]), runtime, ignore)
    assert statuses(result) == ["added", "rejected", "rejected"]
    assert result["items"][1]["error"]["code"] == "image_truncated"
    assert result["items"][2]["error"]["code"] == "embedding_invalid"
    assert runtime.store.manifest("drinks").item_count == 1


def test_only_unusable_pictures_leave_the_gallery_as_it_is(process: Process, runtime: Runtime) -> None:
    result = enroll(job(process, runtime, [("a", b"\x89PNG\r\n\x1a\n")]), runtime, ignore)
    assert statuses(result) == ["rejected"]
    assert result["gallery"] == {"name": "drinks", "version": 1, "items": 0}


def test_pictures_are_embedded_in_batches_and_progress_is_told(
    process: Process, runtime: Runtime, embedder: Thumbnail
) -> None:
    told: list[dict[str, Any]] = []

    def checkpoint(progress: dict[str, Any] | None = None) -> None:
        if progress is not None:
            told.append(progress)

    count = BATCH_PICTURES + 3
    enroll(job(process, runtime, [(str(seed), picture(seed)) for seed in range(count)]), runtime, checkpoint)
    assert embedder.batches == [BATCH_PICTURES, 3]
    assert told == [{"done": BATCH_PICTURES, "total": count}, {"done": count, "total": count}]
