"""Pictures that a gallery has nearly already: reported, and left out where the request says so; the same after a crash."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from infra.galleries.store import GalleryStore
from infra.jobs.records import Job
from tests.worker.test_enroll import embedder, ignore, job, runtime, statuses
from worker.enroll import enroll
from worker.process import Process
from worker.runtime import Runtime

__all__ = ["embedder", "runtime"]  # the fixtures


def picture(seed: int, more: int = 0) -> bytes:
    """A PNG of black and bright fields, which no other seed has, a little brighter by `more`."""
    fields = np.random.default_rng(seed).integers(0, 2, (8, 8, 3)) * 200 + more
    buffer = io.BytesIO()
    Image.fromarray(fields.astype(np.uint8)).resize((32, 32), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()


def nearly(seed: int) -> bytes:
    """The same picture with other bytes."""
    return picture(seed, 4)


def skipping(process: Process, runtime: Runtime, pictures: list[tuple[str, bytes]]) -> Job:
    made = job(process, runtime, pictures)
    return process.ledger.create("enrollment", {**made.request, "skip_near_duplicates": True})


def test_near_duplicates_are_reported_and_added(process: Process, runtime: Runtime) -> None:
    first = enroll(job(process, runtime, [("cola", picture(1))]), runtime, ignore)
    result = enroll(job(process, runtime, [("cola", nearly(1)), ("tea", picture(2))]), runtime, ignore)
    near, other = result["items"]
    assert statuses(result) == ["added", "added"]  # type: ignore[arg-type]  # a result is a dict
    report = near["near_duplicate_of"]
    assert (report["item_id"], report["label"]) == (first["items"][0]["item_id"], "cola")
    assert 0.97 <= report["similarity"] <= 1
    assert "near_duplicate_of" not in other


def test_they_are_left_out_where_that_is_requested(process: Process, runtime: Runtime) -> None:
    first = enroll(job(process, runtime, [("cola", picture(1))]), runtime, ignore)
    enrollment = skipping(
        process, runtime, [("cola", nearly(1)), ("tea", nearly(1)), ("milk", picture(3)), ("milk", nearly(3))]
    )
    result = enroll(enrollment, runtime, ignore)
    assert statuses(result) == ["duplicate", "added", "added", "duplicate"]  # type: ignore[arg-type]  # as above
    assert result["items"][0]["item_id"] == first["items"][0]["item_id"]
    assert result["items"][1]["near_duplicate_of"]["label"] == "cola"
    assert result["items"][3]["item_id"] == result["items"][2]["item_id"]
    assert result["gallery"]["items"] == 3
    again = enroll(enrollment, runtime, ignore)  # after a crash before the end was written
    assert again["items"] == result["items"]
    assert runtime.store.manifest("drinks").version == 3


def test_a_crash_before_anything_was_written_changes_nothing(
    process: Process, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrollment = skipping(process, runtime, [("cola", picture(1)), ("cola", nearly(1))])

    def die(*_: object, **__: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(GalleryStore, "add", die)
        with pytest.raises(MemoryError):
            enroll(enrollment, runtime, ignore)
    assert statuses(enroll(enrollment, runtime, ignore)) == ["added", "duplicate"]  # type: ignore[arg-type]  # as above
