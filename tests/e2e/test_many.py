"""Many photos in one call through the running service: sent twice, done once, listed, told where they stand."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import requests

from shitu import Client
from shitu.client.options import RecognitionOptions
from tests.e2e.service import Service, encode, labels, pattern, wait_for
from tests.infra.local_servers import serving
from tests.openapi_checks import check


def send(service: Service, key: str, wait_s: int) -> requests.Response:
    photos = [(f"{seed}.jpg", encode(pattern(seed))) for seed in (40, 44, 40)]
    files = [("images", photo) for photo in [*photos, ("broken.jpg", b"no photo"), ("cut.jpg", photos[0][1][:-300])]]
    fields = {
        "gallery": "many",
        "options": '{"whole_image": "always", "detection_threshold": 1}',
        "metadata": '{"visit": "7"}',
        "priority": "high",
    }
    headers = {"Idempotency-Key": f'"{key}"', "Prefer": f"wait={wait_s}", "Cancel-After": "5m"}
    return service.http.post(f"{service.base_url}/v1/batches", data=fields, files=files, headers=headers, timeout=60)


def test_a_batch_sent_twice_is_done_once(service: Service) -> None:
    service.create_gallery("many")
    service.enroll("many", {f"pattern {seed}": encode(pattern(seed)) for seed in (40, 44)})
    accepted = send(service, "many-1", 0)
    assert accepted.status_code == 202, accepted.text
    document = service.get("/openapi.json")
    check(accepted.json(), "Batch", document)
    again = send(service, "many-1", 30)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == accepted.headers["Location"]
    batch = again.json()
    check(batch, "Batch", document)
    assert (again.status_code, batch["status"]) == (200, "completed")
    counts = batch["counts"]
    assert (counts["total"], counts["succeeded"], counts["failed"], counts["rejected"]) == (5, 3, 1, 1)

    lines = service.http.get(service.base_url + batch["links"]["results"], timeout=10).text.splitlines()
    results: list[dict[str, Any]] = [json.loads(line) for line in lines]
    found = [{one["label"] for one in line["result"]["recognitions"]} for line in results[:3]]
    assert found == [{"pattern 40"}, {"pattern 44"}, {"pattern 40"}]
    assert [line["error"]["code"] for line in results[3:]] == ["image_not_an_image", "image_truncated"]
    text = service.http.get(service.base_url + batch["links"]["results"] + "?format=csv", timeout=10).text
    assert [row["label"] for row in csv.DictReader(io.StringIO(text))][:3] == ["pattern 40", "pattern 44", "pattern 40"]

    listed = service.get("/v1/recognitions?gallery=many&metadata.visit=7")["recognitions"]
    assert {job["id"] for job in listed} == {one["id"] for one in batch["jobs"] if one["id"]}
    assert len(service.get("/v1/recognitions?label=pattern%2040&status=succeeded&gallery=many")["recognitions"]) == 2


def test_who_waits_is_reported_where_it_stands_and_how_far_off_that_was_is_measured(service: Service) -> None:
    service.create_gallery("standing")
    for _ in range(3):
        service.recognized(encode(pattern(48)), "standing")
    job = service.accepted(service.ask(encode(pattern(48)), "standing"))
    if "queue" in job:  # else it ended before it was answered
        assert job["queue"]["position"] in {0, 1}
        assert 0 < job["queue"]["eta_s"] < 60
    service.finished(job)
    metrics = f"{service.base_url}/metrics"  # each process copies its numbers there twice a second
    wait_for(lambda: "shitu_job_eta_error_seconds_count" in service.http.get(metrics, timeout=10).text)


def test_photos_by_url_and_in_the_body_are_one_batch(service: Service) -> None:
    service.create_gallery("by-url")
    service.enroll("by-url", {f"pattern {seed}": encode(pattern(seed)) for seed in (40, 44)})
    with Client(service.base_url) as client, serving() as elsewhere:
        elsewhere.paths["/44.jpg"] = (200, {}, encode(pattern(44)))
        allowed = elsewhere.url("").replace("127.0.0.1", "localhost")
        photos = [f"{allowed}/44.jpg", encode(pattern(40)), f"{allowed}/gone.jpg"]
        options: RecognitionOptions = {"whole_image": "always", "detection_threshold": 1}
        batch = client.batches.wait(client.batches.create(photos, "by-url", options), timeout_s=60)
        results = list(client.batches.results(batch))
    assert (batch["counts"]["succeeded"], batch["counts"]["failed"]) == (2, 1)
    found = [{one["label"] for one in line["result"]["recognitions"]} for line in results if line["result"]]
    assert found == [{"pattern 44"}, {"pattern 40"}]
    assert [line["error"]["code"] for line in results if line["error"]] == ["fetch_failed"]


def test_pictures_by_url_by_upload_and_in_the_body_are_enrolled_and_recognised(service: Service) -> None:
    service.create_gallery("by-name-in-json")
    with Client(service.base_url) as client, serving() as elsewhere:
        elsewhere.paths["/50.jpg"] = (200, {}, encode(pattern(50)))
        allowed = elsewhere.url("").replace("127.0.0.1", "localhost")
        upload = client.uploads.create(encode(pattern(54)))
        pictures = [f"{allowed}/50.jpg", upload, encode(pattern(58)), f"{allowed}/gone.jpg"]
        names = ["pattern 50", "pattern 54", "pattern 58", "gone"]
        metadata = [{"seed": name[-2:]} for name in names]
        job = client.galleries.add("by-name-in-json", pictures, names, item_metadata=metadata)
        ended = client.enrollments.wait(job, timeout_s=60)
        assert ended["result"] is not None, ended["error"]
        added = ended["result"]["items"]
        assert [one["status"] for one in added] == ["added", "added", "added", "rejected"]
        assert added[3]["error"] is not None
        assert added[3]["error"]["code"] == "fetch_failed"
        check(ended, "EnrollmentJob", service.get("/openapi.json"))
        assert {one["label"]: one["metadata"] for one in client.galleries.items("by-name-in-json")} == {
            name: {"seed": name[-2:]} for name in names[:3]
        }
        again = client.enrollments.wait(client.galleries.add("by-name-in-json", pictures[:1], names[0]), timeout_s=60)
        assert again["result"] is not None, again["error"]
        assert [one["status"] for one in again["result"]["items"]] == ["duplicate"]
    for seed in (50, 54, 58):
        result = service.recognized(encode(pattern(seed, 200)), "by-name-in-json", options='{"whole_image": "always"}')
        assert f"pattern {seed}" in labels(result)
