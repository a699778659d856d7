"""Enrolment with a real store and ledger: statuses, and that a second run after a crash adds nothing and says the same."""

from __future__ import annotations

import hashlib
import io
import queue
from typing import Any

import numpy as np
import pytest
from PIL import Image

from infra.galleries.store import GalleryStore
from infra.jobs.records import Job
from infra.objects.opening import open_store
from infra.runtime.settings import Settings
from models import verification
from models.detector import Detection
from models.enrolment import packed_features
from models.errors import EngineError
from models.galleries.calibration import from_threshold
from models.pictures.image import crop, decode, with_margin
from models.recognition.pipeline import Recognizer
from worker.enroll import BATCH_PICTURES, enroll
from worker.gallery_cache import GalleryCache
from worker.item_features import ItemFeatures
from worker.process import Process
from worker.recognize import recognize
from worker.runtime import Programs, Runtime

MODELS = {"detector": None, "embedder": {"name": "thumbnail", "digest": "d" * 64, "engine": "numpy"}}


class Thumbnail:
    """A picture's 8 x 8 thumbnail as its embedding: an embedder small enough to reason about. Black pictures have none."""

    name, digest, dim, engine, similarity_threshold = "thumbnail", "d" * 64, 192, "numpy", 0.5
    calibration = from_threshold(similarity_threshold)
    unknowns = np.empty((0, dim), np.float32)

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, crops: Any) -> Any:
        self.batches.append(len(crops))
        rows = []
        for picture in crops:
            row = np.asarray(Image.fromarray(picture).resize((8, 8)), np.float32).ravel()
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
    recognizer = Recognizer(None, embedder, verification)
    idle.put(Programs(None, embedder, recognizer))  # type: ignore[arg-type]  # an embedder by its shape
    store.create("drinks")
    features = ItemFeatures(store, objects, settings.images, 1 << 20)
    return Runtime(settings, objects, store, GalleryCache(store, 1 << 20, features), MODELS, idle)


def picture(seed: int | None) -> bytes:
    """A PNG of noise; black without a seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels if seed is not None else np.zeros_like(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def textured(seed: int, size: int = 200) -> bytes:
    """A PNG with corners to recognise it by."""
    noise = np.random.default_rng(seed).integers(0, 256, (25, 25, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return buffer.getvalue()


def job(process: Process, runtime: Runtime, pictures: list[tuple[str, bytes]], crop: str = "whole") -> Job:
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
    return process.ledger.create("enrollment", {"gallery": "drinks", "items": items, "crop": crop})


def statuses(result: dict[str, Any]) -> list[str]:
    return [item["status"] for item in result["items"]]


def ignore(progress: dict[str, Any] | None = None) -> None:
    """A checkpoint that never stops the work."""


def test_a_second_run_of_the_same_job_adds_nothing_and_says_the_same(process: Process, runtime: Runtime) -> None:
    enrollment = job(process, runtime, [("cola", picture(1)), ("juice", picture(2)), ("cola", picture(1))])
    first = enroll(enrollment, runtime, ignore)
    again = enroll(enrollment, runtime, ignore)  # as after a crash between the gallery's new version and the job's end
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


def test_pictures_are_embedded_in_batches_and_progress_is_reported(
    process: Process, runtime: Runtime, embedder: Thumbnail
) -> None:
    report: list[dict[str, Any]] = []

    def checkpoint(progress: dict[str, Any] | None = None) -> None:
        if progress is not None:
            report.append(progress)

    count = BATCH_PICTURES + 3
    enroll(job(process, runtime, [(str(seed), picture(seed)) for seed in range(count)]), runtime, checkpoint)
    assert embedder.batches == [BATCH_PICTURES, BATCH_PICTURES, 3, 3]  # the pictures, then a view of each
    assert report == [{"done": BATCH_PICTURES, "total": count}, {"done": count, "total": count}]


def test_views_and_features_are_kept_and_a_second_run_keeps_them(process: Process, runtime: Runtime) -> None:
    enrollment = job(process, runtime, [("cola", textured(1)), ("juice", textured(2))])
    for _ in range(2):
        enroll(enrollment, runtime, ignore)
        _, items, rows = runtime.store.load("drinks")
        views = runtime.store.load_views("drinks")
        assert views is not None
        assert (np.einsum("nd,nd->n", rows, views) > 0.5).all()  # another view of the same picture
        np.testing.assert_allclose(np.linalg.norm(views, axis=1), 1, atol=1e-3)
        kept = runtime.store.load_features("drinks")
        assert kept == {item.id: packed_features(decode(textured(n + 1))) for n, item in enumerate(items)}
        assert all(len(verification.unpack(packed)) > 20 for packed in kept.values())


def test_a_large_enough_gallery_is_calibrated_for_every_version(process: Process, runtime: Runtime) -> None:
    enroll(job(process, runtime, [("tea", textured(1))]), runtime, ignore)
    assert runtime.store.manifest("drinks").calibration is None  # too small: the embedder's own holds
    many = [(f"label {seed % 12}", textured(seed)) for seed in range(24)]
    enroll(job(process, runtime, many), runtime, ignore)
    first = runtime.store.manifest("drinks").calibration
    assert first is not None
    assert first["source"] == "gallery"
    enroll(job(process, runtime, [("label 0", textured(77)), ("label 1", textured(78))]), runtime, ignore)
    assert runtime.store.manifest("drinks").calibration not in (None, first)


class OneBody:
    """Always detects the same object."""

    def __call__(self, image: Any, threshold: float | None = None, max_detections: int = 5) -> Any:
        return [Detection((40, 30, 150, 161), 0.9)]


def test_the_main_body_is_cut_as_photos_are(process: Process, runtime: Runtime, embedder: Thumbnail) -> None:
    with runtime.programs():  # the one set, replaced by one with a detector
        detector = OneBody()
        recognizer = Recognizer(detector, embedder, verification)
        runtime.idle.put(Programs(detector, embedder, recognizer))  # type: ignore[arg-type]
        enroll(job(process, runtime, [("cola", textured(1))], "main_body"), runtime, ignore)
        (item,) = runtime.store.items("drinks")
        assert item.box == with_margin((40, 30, 150, 161), 200, 200)
        cut = crop(decode(textured(1)), item.box)
        assert runtime.store.load_features("drinks") == {item.id: packed_features(cut)}
        result = recognize(queued_photo(process, runtime, verify="always"), runtime, ignore)
        runtime.idle.get()
    (found,) = result["recognitions"]
    assert found["similarity"] == pytest.approx(1, abs=1e-3)
    assert found["verification"]["item_id"] == item.id
    assert found["verification"]["item_box"] == list(item.box)
    for x, y, item_x, item_y in found["verification"]["points"]:  # the same place of the same picture
        assert 200 * x == pytest.approx(item.box[0] + item_x * (item.box[2] - item.box[0]), abs=2)
        assert 200 * y == pytest.approx(item.box[1] + item_y * (item.box[3] - item.box[1]), abs=2)


def queued_photo(process: Process, runtime: Runtime, **options: Any) -> Job:
    key = runtime.objects.put_image(textured(1))
    return process.ledger.create("recognition", {"gallery": "drinks", "image": {"key": key}, "options": options})


def test_an_answer_says_what_decided_and_what_agrees(process: Process, runtime: Runtime) -> None:
    enroll(job(process, runtime, [("cola", textured(1)), ("juice", textured(2))]), runtime, ignore)
    result = recognize(queued_photo(process, runtime, verify="always", min_precision=0.8), runtime, ignore)
    (found,) = result["recognitions"]
    assert found["label"] == "cola"
    assert found["probability"] > 0.8
    assert found["verification"]["inliers"] > 20
    assert found["verification"]["item_id"] == found["candidates"][0]["item_id"]
    assert found["verification"]["item_box"] is None
    report = result["decision"]
    assert (report["min_precision"], report["calibration"], report["verify"], report["verified"]) == (
        0.8,
        "embedder",
        "always",
        1,
    )
    assert "verify" in result["timings_ms"]
    never = recognize(queued_photo(process, runtime, verify="never"), runtime, ignore)
    assert never["recognitions"][0]["verification"] is None


def test_what_the_header_refused_is_reported_in_its_place_and_labels_are_held_to_the_rule(
    process: Process, runtime: Runtime
) -> None:
    enrollment = job(process, runtime, [("cafe\u0301", picture(1)), ("tea", picture(2)), ("a\x07", picture(3))])
    refused = {"code": "image_empty", "message": "The file is empty.", "retryable": False}
    enrollment.request["items"][1] = {"name": "tea.png", "label": "tea", "error": refused}
    result = enroll(enrollment, runtime, ignore)
    assert statuses(result) == ["added", "rejected", "rejected"]
    assert result["items"][1]["error"] == refused
    assert result["items"][2]["error"]["code"] == "label_invalid"
    assert [item.label for item in runtime.store.items("drinks")] == ["caf\u00e9"]


def test_a_box_is_enrolled_with_the_margin_that_photos_are_searched_with(process: Process, runtime: Runtime) -> None:
    data = textured(5)
    enrollment = job(process, runtime, [("cola", data)] * 3)
    for item, box in zip(
        enrollment.request["items"], ([40, 60, 140, 160], [0, 0, 200, 200], [2, 2, 199, 199]), strict=True
    ):
        item["box"] = box
    assert statuses(enroll(enrollment, runtime, ignore)) == ["added", "added", "duplicate"]  # all but all is all
    _, items, embeddings = runtime.store.load("drinks")
    assert [item.box for item in items] == [with_margin([40, 60, 140, 160], 200, 200), None]
    with runtime.programs() as programs:
        part = programs.embedder([crop(decode(data), items[0].box or ())])
    np.testing.assert_array_equal(embeddings[:1], part)
    assert runtime.store.load_features("drinks")[items[0].id] == packed_features(crop(decode(data), items[0].box or ()))


@pytest.mark.parametrize("box", [[0, 0, 33, 32], [-1, 0, 20, 20], [5, 5, 5, 20], [20, 5, 5, 20]])
def test_a_box_out_of_the_photo_is_rejected(process: Process, runtime: Runtime, box: list[int]) -> None:
    enrollment = job(process, runtime, [("cola", picture(1)), ("tea", picture(2))])
    enrollment.request["items"][0]["box"] = box
    result = enroll(enrollment, runtime, ignore)
    assert statuses(result) == ["rejected", "added"]
    assert result["items"][0]["error"]["code"] == "box_invalid"


def test_an_items_metadata_goes_with_it_into_the_gallery_and_into_matches(process: Process, runtime: Runtime) -> None:
    made = job(process, runtime, [("tea", picture(1)), ("cola", picture(2))])
    made.request["items"][0]["metadata"] = {"article": "4711"}
    enroll(made, runtime, ignore)
    assert [item.metadata for item in runtime.store.items("drinks")] == [{"article": "4711"}, {}]
    photo = {"gallery": "drinks", "image": {"key": made.request["items"][0]["image_key"]}, "options": {}}
    answer = recognize(process.ledger.create("recognition", photo), runtime, ignore)
    (found,) = answer["recognitions"]
    assert found["matches"][0]["metadata"] == found["candidates"][0]["metadata"] == {"article": "4711"}
    assert "metadata" not in found["matches"][1]
