"""The walk of one photo through the running service, and what must hold when many take it at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from standardwebhooks import Webhook

from infra.stack.launcher import Stack
from tests.e2e.service import Service, encode, labels, pattern, wait_for
from tests.infra.local_servers import serving
from tests.openapi_checks import check

WHOLE = '{"whole_image": "always", "detection_threshold": 1}'


def test_a_photo_gets_its_label_and_says_what_made_the_answer(service: Service) -> None:
    service.create_gallery("walk")
    pictures = {f"pattern {seed}": encode(pattern(seed)) for seed in range(4)}
    enrolled = service.enroll("walk", pictures)
    assert [item["status"] for item in enrolled["items"]] == ["added"] * 4
    assert [item["label"] for item in enrolled["items"]] == list(pictures)

    answer = service.ask(encode(pattern(2), quality=60), "walk", options=WHOLE)
    job = service.finished(service.accepted(answer))

    assert job["status"] == "succeeded"
    result = job["result"]
    assert set(labels(result)) == {"pattern 2"}
    assert result["reason"] is None
    assert result["image"] == {"width": 160, "height": 160}
    manifest = service.get("/v1/galleries/walk")
    assert result["gallery"] == {"name": "walk", "version": manifest["version"], "items": 4}
    assert result["models"]["embedder"]["digest"] == manifest["embedder_digest"]
    best = result["recognitions"][0]
    assert best["similarity"] > 0.8
    assert best["matches"][0]["item_id"] == enrolled["items"][2]["item_id"]
    stages = {"fetch", "decode", "detect", "crop", "embed", "search", "total"}
    assert stages <= result["timings_ms"].keys()


def test_the_webhook_arrives_signed_and_holds_what_the_poll_says(service: Service, stack: Stack) -> None:
    service.create_gallery("told")
    service.enroll("told", {"pattern 7": encode(pattern(7))})
    secret = stack.settings.webhooks.secret
    assert secret is not None
    with serving() as receiver:
        receiver.paths["/hook"] = (204, {}, b"")
        asked = service.ask(encode(pattern(7)), "told", webhook_url=receiver.url("/hook"))
        job = service.finished(service.accepted(asked))
        wait_for(lambda: len(receiver.requests) > 0)
        wait_for(lambda: service.get(job["links"]["self"])["webhook"]["status"] == "delivered")
        method, _, headers, body = receiver.requests[0]
    assert method == "POST"
    message = Webhook(secret).verify(body, {name.lower(): value for name, value in headers.items()})
    assert message["type"] == "recognition.succeeded"
    assert message["data"]["id"] == job["id"]
    assert message["data"]["result"] == job["result"]
    assert len(receiver.requests) == 1


def test_a_receiver_that_fails_is_reported_again_under_the_same_id(service: Service) -> None:
    service.create_gallery("told-again")
    with serving() as receiver:
        receiver.paths["/hook"] = (503, {}, b"busy")
        job = service.accepted(service.ask(encode(pattern(1)), "told-again", webhook_url=receiver.url("/hook")))
        wait_for(lambda: len(receiver.requests) > 0)
        receiver.paths["/hook"] = (200, {}, b"")
        wait_for(lambda: service.get(job["links"]["self"])["webhook"]["status"] == "delivered")
        ids = {headers["webhook-id"] for _, _, headers, _ in receiver.requests}
        assert len(receiver.requests) >= 2
    assert len(ids) == 1


def test_real_answers_are_as_described(service: Service) -> None:
    document = service.get("/openapi.json")
    service.create_gallery("described")
    enrolled = service.enroll("described", {f"pattern {seed}": encode(pattern(seed)) for seed in range(2)})
    check(enrolled, "EnrollmentResult", document)
    scene = encode(np.hstack([pattern(0), pattern(1)]))
    for options in ('{"compat": "paddleclas", "detection_threshold": 0, "similarity_threshold": 0}', WHOLE):
        job = service.finished(service.accepted(service.ask(scene, "described", options=options)))
        check(job, "RecognitionJob", document)
    compat = service.recognized(scene, "described", options='{"compat": "paddleclas", "similarity_threshold": -1}')
    assert compat["paddleclas"] == [
        {"bbox": one["box"], "rec_docs": one["label"], "rec_scores": pytest.approx(one["similarity"], abs=1e-6)}
        for one in compat["recognitions"]
    ]
    assert compat["paddleclas"]
    refused = service.finished(service.accepted(service.ask(encode(pattern(0))[:-300], "described")))
    check(refused, "RecognitionJob", document)
    assert refused["error"]["code"] == "image_truncated"


def test_an_empty_gallery_answers_with_a_reason(service: Service) -> None:
    service.create_gallery("empty")
    result = service.recognized(encode(pattern(0)), "empty")
    assert result["recognitions"] == []
    assert result["reason"] == "empty_gallery"


def test_a_changed_gallery_is_searched_within_a_second(service: Service) -> None:
    """No interval is waited for: every job asks which version is current, so the first answer after a change knows it."""
    service.create_gallery("changing")
    service.enroll("changing", {"old": encode(pattern(10)), "kept": encode(pattern(11))})
    photo = encode(pattern(10))
    usual_s = []
    for _ in range(3):
        started = time.monotonic()
        assert "old" in labels(service.recognized(photo, "changing", options=WHOLE))
        usual_s.append(time.monotonic() - started)

    deleted = service.http.delete(
        f"{service.base_url}/v1/galleries/changing/items", params={"label": "old"}, timeout=10
    )
    assert deleted.status_code == 200
    changed_at = time.monotonic()
    result = service.recognized(photo, "changing", options=WHOLE)
    assert time.monotonic() - changed_at < max(usual_s) + 1
    assert "old" not in labels(result)
    assert result["gallery"]["version"] == deleted.json()["version"]

    service.enroll("changing", {"new": encode(pattern(10))})
    assert "new" in labels(service.recognized(photo, "changing", options=WHOLE))

    back = service.http.post(
        f"{service.base_url}/v1/galleries/changing/versions/{deleted.json()['version']}/activate", timeout=10
    )
    assert back.status_code == 200
    assert "new" not in labels(service.recognized(photo, "changing", options=WHOLE))


def test_enrolling_twice_adds_once(service: Service) -> None:
    service.create_gallery("twice")
    first = service.enroll("twice", {"pattern 3": encode(pattern(3))})
    second = service.enroll("twice", {"pattern 3": encode(pattern(3)), "pattern 4": encode(pattern(4))})
    assert [item["status"] for item in second["items"]] == ["duplicate", "added"]
    assert second["items"][0]["item_id"] == first["items"][0]["item_id"]
    assert service.get("/v1/galleries/twice")["item_count"] == 2


def test_the_main_body_can_be_enrolled_instead_of_the_whole(service: Service) -> None:
    service.create_gallery("bodies")
    canvas = encode(pattern(5, 320))
    service.enroll("bodies", {"pattern 5": canvas}, crop="main_body")
    items = service.get("/v1/galleries/bodies/items")["items"]
    assert len(items) == 1
    box = items[0]["box"]
    assert box is None or (0 <= box[0] < box[2] <= 320 and 0 <= box[1] < box[3] <= 320)


def test_many_photos_at_once_each_get_their_own_answer(service: Service) -> None:
    service.create_gallery("crowd")
    photos = {f"pattern {seed}": encode(pattern(100 + seed), quality=95) for seed in range(24)}
    service.enroll("crowd", photos)

    def ask(entry: tuple[str, bytes]) -> tuple[str, str, float]:
        label, photo = entry
        own = Service(service.base_url)
        result = own.recognized(photo, "crowd", options=WHOLE)
        (whole,) = result["recognitions"]
        return label, whole["label"], whole["similarity"]

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, photos.items()))
    for label, found, similarity in answers:
        assert found == label
        assert similarity > 0.99  # the very picture that was enrolled


def test_a_queued_job_can_be_canceled_and_stays_canceled(service: Service) -> None:
    service.create_gallery("canceled")
    large = encode(pattern(6, 4000))
    jobs = [service.accepted(service.ask(large, "canceled")) for _ in range(6)]
    last = jobs[-1]
    canceled = service.http.post(service.base_url + last["links"]["cancel"], timeout=10)
    assert canceled.status_code == 200
    assert service.finished(last)["status"] == "canceled"
    assert all(service.finished(job)["status"] == "succeeded" for job in jobs[:-1])
    assert service.get(last["links"]["self"])["status"] == "canceled"


def test_the_service_says_that_it_is_ready_and_counts(service: Service) -> None:
    assert service.get("/readyz")["status"] == "ready"
    metrics = service.http.get(service.base_url + "/metrics", timeout=10).text
    assert "shitu_workers_ready" in metrics
    assert "shitu_workers_ready 0.0" not in metrics
    assert 'shitu_jobs_finished_total{kind="recognition",status="succeeded"}' in metrics
    assert 'shitu_stage_duration_seconds_count{stage="embed"}' in metrics
    assert "shitu_batch_size_count" in metrics
