"""Galleries embedded again: staged, evaluated, activated or not; a worker that dies makes no second version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.errors.galleries import EmbedderUnknown, NothingToReembed
from infra.galleries.feedback import GalleryFeedback
from infra.galleries.staging import Stage
from infra.galleries.store import Item, item_id
from infra.jobs.records import Job
from tests.worker.test_enroll import ignore, textured
from tests.worker.test_several_embedders import enrolled, named, recognized, runtime, tiny
from worker.embedders import Embedders
from worker.lease_keeper import StopWork
from worker.process import Process
from worker.reembed import reembed
from worker.runtime import Runtime

__all__ = ["runtime", "tiny"]  # fixtures

PICTURES = [(label, textured(seed)) for label, seed in (("tea", 1), ("tea", 1001), ("cola", 2), ("cola", 1002))]


class DiedError(Exception):
    """A worker's end, as the job's next attempt sees it."""


def reembed_job(process: Process, embedder: str = "tiny-embed", gallery: str = "first", **more: Any) -> Job:
    return process.ledger.create("reembedding", {"gallery": gallery, "embedder": embedder, **more})


def test_a_gallery_is_embedded_again_as_a_staged_version(process: Process, runtime: Runtime) -> None:
    enrolled(process, runtime, "first", PICTURES)
    before = runtime.store.manifest("first")
    reported: list[Any] = []
    result = reembed(reembed_job(process), runtime, lambda progress=None: reported.append(progress))
    assert (result["activated"], result["not_activated"], result["left_out"]) == (False, "not_requested", [])
    assert result["base"] == {"name": "first", "version": before.version, "items": 4}
    assert (named(result), named(result["evaluation"])) == ("tiny-embed", "tiny-embed")
    assert {one["stage"] for one in reported if one} == {"embed", "evaluate"}
    assert runtime.store.manifest("first") == before  # in force as it was
    made = runtime.store.manifest("first", result["gallery"]["version"])
    assert (made.embedder_digest, made.item_count) == (runtime.named("tiny-embed"), 4)
    assert runtime.store.items("first", made.version) == runtime.store.items("first", before.version)
    assert runtime.store.load_features("first", made.version) == runtime.store.load_features("first", before.version)
    rows = runtime.store.load("first", made.version)[2]
    views = runtime.store.load_views("first", made.version)
    assert (rows.shape, views is not None and views.any(axis=1).all()) == ((4, made.dim), True)
    runtime.store.activate("first", made.version)
    found = recognized(process, runtime, textured(2), "first")
    assert (named(found), found["recognitions"][0]["label"]) == ("tiny-embed", "cola")


def test_it_is_as_if_the_pictures_had_been_enrolled_with_the_other_embedder(process: Process, runtime: Runtime) -> None:
    enrolled(process, runtime, "first", PICTURES)
    enrolled(process, runtime, "second", PICTURES)
    result = reembed(reembed_job(process), runtime, ignore)
    mine = runtime.store.load("first", result["gallery"]["version"])[2]
    assert np.allclose(mine, runtime.store.load("second")[2], atol=1e-6)


def test_it_is_put_in_force_if_it_answers_as_much(process: Process, runtime: Runtime) -> None:
    enrolled(process, runtime, "second", PICTURES)
    result = reembed(reembed_job(process, "shitu-embedder", "second", activate=True), runtime, ignore)
    assert (result["activated"], result["not_activated"]) == (True, None), result["evaluation"]
    scores = result["evaluation"]["leave_one_out"]
    assert scores["version"]["right"] >= scores["against"]["right"]
    assert runtime.store.manifest("second").embedder_digest == runtime.default_digest
    assert recognized(process, runtime, textured(1), "second")["recognitions"][0]["label"] == "tea"


def test_it_is_not_put_in_force_if_it_answers_less(
    process: Process, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled(process, runtime, "first", PICTURES)
    from worker import reembed as module

    def worse(*given: Any) -> Any:
        found = compared(*given)
        right = found["leave_one_out"]["version"]["right"]
        found["leave_one_out"]["against"]["right"] = right + 1
        return found

    compared = module.compared
    monkeypatch.setattr(module, "compared", worse)
    result = reembed(reembed_job(process, activate=True), runtime, ignore)
    assert (result["activated"], result["not_activated"]) == (False, "recall_lower")


def test_items_without_pictures_are_reported_and_keep_it_from_being_put_in_force(
    process: Process, runtime: Runtime
) -> None:
    enrolled(process, runtime, "first", PICTURES)
    without = Item(item_id("0" * 64, "rice"), "rice", "", "0" * 64, None, "2026-01-01T00:00:00Z")
    lost = Item(item_id("1" * 64, "salt"), "salt", "images/11/" + "1" * 64, "1" * 64, None, "2026-01-01T00:00:00Z")
    rows = np.eye(2, runtime.store.manifest("first").dim, dtype=np.float32)
    runtime.store.add("first", [without, lost], rows, runtime.default_digest)
    result = reembed(reembed_job(process, activate=True), runtime, ignore)
    assert [(one["item_id"], one["error"]["code"]) for one in result["left_out"]] == [
        (without.id, "picture_missing"), (lost.id, "picture_missing"),
    ]  # fmt: skip
    assert (result["left_out_count"], result["not_activated"]) == (2, "items_left_out")
    assert (result["gallery"]["items"], result["base"]["items"]) == (4, 6)


def test_a_gallery_without_any_picture_is_refused(process: Process, runtime: Runtime) -> None:
    item = Item(item_id("0" * 64, "rice"), "rice", "", "0" * 64, None, "2026-01-01T00:00:00Z")
    runtime.store.add("first", [item], np.ones((1, 8), np.float32) / np.sqrt(8), runtime.default_digest)
    with pytest.raises(NothingToReembed):
        reembed(reembed_job(process), runtime, ignore)
    assert runtime.store.versions("first") == (1, 2)


def test_an_empty_gallery_belongs_to_the_other_embedder_then(process: Process, runtime: Runtime) -> None:
    result = reembed(reembed_job(process, activate=True), runtime, ignore)
    assert (result["activated"], result["gallery"]["items"]) == (True, 0)
    assert named(enrolled(process, runtime, "first", PICTURES[:1])) == "tiny-embed"


def test_an_embedder_that_no_worker_has_is_reported(process: Process, runtime: Runtime) -> None:
    with pytest.raises(EmbedderUnknown):
        reembed(reembed_job(process, "ppshitu-v2-embedder"), runtime, ignore)


@pytest.mark.parametrize("at", ["embed", "evaluate"])
def test_a_worker_that_dies_costs_a_batch_and_makes_no_second_version(
    process: Process, runtime: Runtime, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.reembed.BATCH_ITEMS", 1)
    enrolled(process, runtime, "second", PICTURES)
    job = reembed_job(process, "shitu-embedder", "second", activate=True)

    def dying(progress: dict[str, Any] | None = None) -> None:
        if progress is not None and progress["stage"] == at and progress["done"] >= 2:
            raise DiedError

    with pytest.raises(DiedError):
        reembed(job, runtime, dying)
    before = Stage(runtime.objects, job.id).done()
    assert before
    versions = runtime.store.versions("second")
    read: list[str] = []
    get = runtime.objects.get

    def counted(key: str) -> bytes:
        read.append(key)
        return get(key)

    monkeypatch.setattr(runtime.objects, "get", counted)
    result = reembed(job, runtime, ignore)
    pictures = [key for key in read if key.startswith("images/")]
    assert len(pictures) == (2 if at == "embed" else 0)
    assert result["gallery"]["version"] == 3
    assert runtime.store.versions("second") == (1, 2, 3)
    assert versions == ((1, 2) if at == "embed" else (1, 2, 3))
    assert result["activated"]
    # And one that dies after the activation says the same again.
    assert reembed(job, runtime, ignore) == result
    assert runtime.store.versions("second") == (1, 2, 3)


def test_what_is_added_meanwhile_is_embedded_too(process: Process, runtime: Runtime) -> None:
    enrolled(process, runtime, "second", PICTURES)
    more = [("rice", textured(3))]

    def adding(progress: dict[str, Any] | None = None) -> None:
        if progress is not None and progress["done"] == 4 and progress["stage"] == "embed" and more:
            enrolled(process, runtime, "second", [more.pop()])

    result = reembed(reembed_job(process, "shitu-embedder", "second", activate=True), runtime, adding)
    assert (result["base"]["items"], result["gallery"]["items"], result["activated"]) == (5, 5, True)


def test_what_is_added_after_the_version_was_made_is_not_lost(process: Process, runtime: Runtime) -> None:
    enrolled(process, runtime, "second", PICTURES)
    more = [("rice", textured(3))]

    def adding(progress: dict[str, Any] | None = None) -> None:
        if progress is not None and progress["stage"] == "evaluate" and more:
            enrolled(process, runtime, "second", [more.pop()])

    result = reembed(reembed_job(process, "shitu-embedder", "second", activate=True), runtime, adding)
    assert (result["activated"], result["not_activated"]) == (False, "gallery_changed")
    assert runtime.store.manifest("second").item_count == 5


def test_a_removed_item_is_not_brought_back(process: Process, runtime: Runtime) -> None:
    enrolled(process, runtime, "first", PICTURES)
    gone = [runtime.store.items("first")[0].id]

    def removing(progress: dict[str, Any] | None = None) -> None:
        if progress is not None and progress["done"] == 4 and progress["stage"] == "embed" and gone:
            runtime.store.remove("first", [gone.pop()])

    result = reembed(reembed_job(process), runtime, removing)
    assert (result["gallery"]["items"], result["left_out_count"]) == (3, 0)


def test_it_gives_way_to_jobs_that_wait(process: Process, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.reembed.BATCH_ITEMS", 1)
    monkeypatch.setattr("worker.reembed.TURN_S", -1.0)
    enrolled(process, runtime, "first", PICTURES)
    job = reembed_job(process)
    for _ in range(3):
        with pytest.raises(StopWork):
            reembed(job, runtime, ignore, lambda: True)
    assert reembed(job, runtime, ignore, lambda: True)["gallery"]["items"] == 4


def test_batches_of_another_embedder_are_not_taken(process: Process, runtime: Runtime, tmp_path: Path) -> None:
    enrolled(process, runtime, "first", PICTURES)
    job = reembed_job(process)

    def dying(progress: dict[str, Any] | None = None) -> None:
        if progress is not None and progress["done"]:
            raise DiedError

    with pytest.raises(DiedError):
        reembed(job, runtime, dying)
    other = replace(job, request={**job.request, "embedder": "shitu-embedder"})
    result = reembed(other, runtime, ignore)
    assert named(result) == "shitu-embedder"
    mine = runtime.store.load("first", result["gallery"]["version"])[2]
    assert np.allclose(mine, runtime.store.load("first")[2], atol=1e-6)


def test_feedback_is_embedded_for_each_version_with_its_own_embedder(process: Process, runtime: Runtime) -> None:
    enrolled(process, runtime, "second", PICTURES)
    version = runtime.store.manifest("second").version
    key = runtime.objects.put_image(textured(1, 190))
    feedback = GalleryFeedback(runtime.objects, runtime.store)
    feedback.add("second", "rec_1", version, None, "wrong", "cola", "tea", key, (190, 190))
    evaluation = reembed(reembed_job(process, "shitu-embedder", "second"), runtime, ignore)["evaluation"]
    assert (evaluation["feedback"]["version"], evaluation["unusable_feedback"]) == (
        {"queries": 1, "right": 1, "recall_at_1": 1.0}, 0,
    )  # fmt: skip
    assert evaluation["feedback"]["against"]["queries"] == 1
    # Where the old embedder is gone, nothing can be said of the old version's answers.
    alone = replace(runtime, embedders=Embedders())
    evaluation = reembed(reembed_job(process, "shitu-embedder", "second"), alone, ignore)["evaluation"]
    assert (evaluation["feedback"]["version"]["queries"], evaluation["unusable_feedback"]) == (0, 1)
    assert evaluation["leave_one_out"]["against"]["queries"] == 4
