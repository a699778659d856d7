"""The same photo again: answered without the networks, searched again on a changed gallery, forgotten after an erasure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from infra.erasure.eraser import Eraser
from infra.jobs.records import Job
from infra.jobs.terms import Terms
from infra.redis.client import open_client
from infra.runtime.settings import Settings
from models.recognition.pipeline import Sight
from tests.worker.test_enroll import Thumbnail, embedder, ignore, job, runtime, textured  # noqa: F401 - fixtures
from worker.answer_cache import ENTRY_BYTES, AnswerCache
from worker.attempt import attempt
from worker.enroll import enroll
from worker.process import Process
from worker.recognize import recognize
from worker.runtime import Runtime


@pytest.fixture
def caching(process: Process, runtime: Runtime) -> Runtime:  # noqa: F811
    """A runtime that keeps answers, with two items enrolled."""
    enroll(job(process, runtime, [("cola", textured(1)), ("juice", textured(2))]), runtime, ignore)
    return replace(runtime, answers=AnswerCache(1 << 20, 3600.0))


def recognition_job(process: Process, runtime: Runtime, owner: str = "", seed: int = 1, **options: Any) -> Job:  # noqa: F811
    key = runtime.objects.put_image(textured(seed))
    request = {"gallery": "drinks", "image": {"key": key}, "options": options}
    return process.ledger.create("recognition", request, terms=Terms(owner=owner))


def untimed(result: Any) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "timings_ms"}


def test_the_same_photo_again_is_answered_alike_and_nothing_is_read_or_run(
    process: Process,
    caching: Runtime,
    embedder: Thumbnail,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = recognize(recognition_job(process, caching, verify="always"), caching, ignore)
    again = recognition_job(process, caching, verify="always")
    looked, read = len(embedder.batches), []
    monkeypatch.setattr(caching.objects, "get", lambda key: read.append(key) or store_get(key))
    second = recognize(again, caching, ignore)
    assert untimed(second) == untimed(first)
    assert second["recognitions"][0]["label"] == "cola"
    assert len(embedder.batches) == looked
    assert [key for key in read if "photos/" in key or "images/" in key] == []
    assert "detect" not in second["timings_ms"]
    assert "total" in second["timings_ms"]


def store_get(key: str) -> bytes:
    raise AssertionError(f"{key} was read")


@pytest.mark.parametrize("change", ["owner", "options", "photo", "models"])
def test_whatever_an_answer_depends_on_makes_another_question(
    process: Process,
    caching: Runtime,
    embedder: Thumbnail,  # noqa: F811
    change: str,
) -> None:
    recognize(recognition_job(process, caching, owner="key_a"), caching, ignore)
    looked = len(embedder.batches)
    other = caching
    if change == "models":
        other = replace(caching, models={**caching.models, "detector": {"digest": "e" * 64}})
    question = {
        "owner": recognition_job(process, caching, owner="key_b"),
        "options": recognition_job(process, caching, owner="key_a", max_detections=1),
        "photo": recognition_job(process, caching, owner="key_a", seed=2),
        "models": recognition_job(process, caching, owner="key_a"),
    }[change]
    recognize(question, other, ignore)
    assert len(embedder.batches) == looked + 1


def test_a_filter_makes_another_question(process: Process, caching: Runtime) -> None:
    whole = recognize(recognition_job(process, caching), caching, ignore)
    again = recognition_job(process, caching)
    filtered = recognize(replace(again, request={**again.request, "filter": ["brand:none"]}), caching, ignore)
    assert whole["recognitions"]
    assert (filtered["recognitions"], filtered["reason"]) == ([], "empty_gallery")


def test_an_option_that_the_networks_do_not_see_costs_a_search_only(
    process: Process,
    caching: Runtime,
    embedder: Thumbnail,  # noqa: F811
) -> None:
    recognize(recognition_job(process, caching), caching, ignore)
    looked = len(embedder.batches)
    found = recognize(recognition_job(process, caching, min_precision=0.5, verify="always"), caching, ignore)
    assert len(embedder.batches) == looked
    assert found["decision"]["min_precision"] == 0.5
    assert found["recognitions"][0]["verification"]["inliers"] > 20  # the photo was read again for that


def test_on_a_changed_gallery_only_the_search_is_done_again(
    process: Process,
    caching: Runtime,
    embedder: Thumbnail,  # noqa: F811
) -> None:
    unknown = recognition_job(process, caching, seed=3, verify="never")
    before = recognize(unknown, caching, ignore)
    enroll(job(process, caching, [("tea", textured(3))]), caching, ignore)
    looked = len(embedder.batches)
    after = recognize(recognition_job(process, caching, seed=3, verify="never"), caching, ignore)
    assert len(embedder.batches) == looked
    assert "tea" not in [one["label"] for one in before["recognitions"]]
    assert after["recognitions"][0]["label"] == "tea"
    assert after["gallery"]["version"] == before["gallery"]["version"] + 1
    assert not {"fetch", "decode", "detect", "embed"} & after["timings_ms"].keys()


def test_a_trace_says_of_work_that_was_done(
    process: Process,
    caching: Runtime,
    embedder: Thumbnail,  # noqa: F811
) -> None:
    recognize(recognition_job(process, caching), caching, ignore)
    looked = len(embedder.batches)
    assert "trace" in recognize(recognition_job(process, caching, trace=True), caching, ignore)
    assert len(embedder.batches) == looked + 1


def test_an_erasure_is_noticed_with_the_next_job(process: Process, caching: Runtime, settings: Settings) -> None:
    process._runtime = caching
    done = recognition_job(process, caching)
    assert attempt(done.id, lambda one, checkpoint: dict(recognize(one, caching, checkpoint)), process)
    assert caching.answers.size_bytes > 0
    eraser = Eraser(caching.store, open_client(settings), process.ledger, 0.0, 60.0)
    assert eraser.erase_job(done.id).completed_at is not None
    begun: list[int] = []

    def work(_job: Job, _checkpoint: Any) -> dict[str, Any]:
        begun.append(caching.answers.size_bytes)
        return {"recognitions": []}

    assert attempt(recognition_job(process, caching, seed=2).id, work, process)
    assert begun == [0]


def test_what_was_begun_before_an_erasure_is_not_kept() -> None:
    cache = AnswerCache(1 << 20, 60.0)
    begun_at = cache.erasures
    cache.notice(1)
    cache.keep_answer(("key",), {"label": "erased"}, begun_at)
    assert cache.answer(("key",)) is None
    assert cache.size_bytes == 0


def test_the_bytes_are_bounded_and_what_was_used_longest_ago_goes_first() -> None:
    cache = AnswerCache(4 * (ENTRY_BYTES + 20), 60.0)
    for number in range(4):
        cache.keep_answer((number,), {"n": number}, 0)
    assert cache.answer((0,)) == {"n": 0}
    for number in range(4, 7):
        cache.keep_answer((number,), {"n": number}, 0)
    assert [number for number in range(7) if cache.answer((number,))] == [0, 4, 5, 6]
    assert cache.size_bytes <= 4 * (ENTRY_BYTES + 20)
    cache.keep_answer(("large",), {"text": "x" * 10_000}, 0)
    assert cache.answer(("large",)) is None
    assert cache.answer((6,)) == {"n": 6}


def test_nothing_stays_longer_than_it_may_and_with_no_bytes_nothing_is_kept() -> None:
    now = [0.0]
    cache = AnswerCache(1 << 20, 60.0, clock=lambda: now[0])
    sight = Sight(1, 1, (), (), np.zeros((1, 4), np.float32), (), {})
    cache.keep_sight(("key",), sight, 0)
    now[0] = 59.0
    assert cache.sight(("key",)) is sight
    now[0] = 60.0
    assert cache.sight(("key",)) is None
    assert cache.size_bytes == 0
    off = AnswerCache(0, 60.0)
    off.keep_sight(("key",), sight, 0)
    assert off.sight(("key",)) is None
