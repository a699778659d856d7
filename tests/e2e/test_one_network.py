"""Detections, embeddings and classifications through the running service: as the networks themselves answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from standardwebhooks import Webhook

from infra.stack.launcher import Stack
from models.artifacts.folders import resolve
from models.classifier import Classifier
from models.detector import Detector
from models.embedder import Embedder
from models.pictures.image import decode
from models.recognition.several_objects import separate_objects
from shitu import Client
from shitu.cli.main import main
from tests.e2e.service import Service, encode, pattern, wait_for
from tests.infra.local_servers import serving
from tests.openapi_checks import check

PHOTO = encode(np.hstack([pattern(20), pattern(24)]), quality=95)
BOXES = [[0, 0, 160, 160], [160, 0, 900, 160]]
CLIPPED = [(0, 0, 160, 160), (160, 0, 320, 160)]


def answered(service: Service, path: str, options: dict[str, Any], **more: str) -> dict[str, Any]:
    """The ended job."""
    answer = service.http.post(
        f"{service.base_url}{path}",
        data={"options": json.dumps(options), **more},
        files={"image": ("a.jpg", PHOTO)},
        timeout=30,
    )
    return service.finished(service.accepted(answer))


def test_a_detection_is_the_detector_s(service: Service) -> None:
    job = answered(service, "/v1/detections", {"detection_threshold": 0.05, "max_detections": 7})
    check(job, "DetectionJob", service.get("/openapi.json"))
    assert job["id"].startswith("det_")
    expected = Detector(resolve("shitu-detector"))(decode(PHOTO), 0.05, 7)
    assert [tuple(one["box"]) for one in job["result"]["detections"]] == [one.box for one in expected]
    assert {"queue", "fetch", "decode", "detect", "total"} == job["result"]["timings_ms"].keys()
    drawn = service.http.get(f"{service.base_url}{job['links']['self']}/image?annotated=1", timeout=10)
    assert (drawn.status_code, drawn.headers["Content-Type"]) == (200, "image/jpeg")


def test_an_embedding_is_the_embedder_s_of_the_whole_and_of_parts(service: Service) -> None:
    embedder, image = Embedder(resolve("shitu-embedder")), decode(PHOTO)
    for options, crops in (({}, [image]), ({"boxes": BOXES}, [image[:, :160], image[:, 160:]])):
        job = answered(service, "/v1/embeddings", options)
        check(job, "EmbeddingJob", service.get("/openapi.json"))
        rows = np.array([one["embedding"] for one in job["result"]["embeddings"]])
        assert rows.shape == (len(crops), job["result"]["dim"])
        assert (np.sum(rows * embedder(crops), axis=1) > 0.9999).all()
    assert [tuple(one["box"]) for one in job["result"]["embeddings"]] == CLIPPED
    assert job["result"]["models"]["embedder"]["digest"] == embedder.digest


def test_a_classification_is_the_classifier_s_and_its_webhook_says_it(service: Service, stack: Stack) -> None:
    with serving() as receiver:
        receiver.paths["/hook"] = (204, {}, b"")
        options = {"boxes": BOXES, "top_k": 2}
        job = answered(service, "/v1/classifications", options, webhook_url=receiver.url("/hook"))
        wait_for(lambda: len(receiver.requests) > 0)
        _, _, headers, body = receiver.requests[0]
    check(job, "ClassificationJob", service.get("/openapi.json"))
    message = Webhook(str(stack.settings.webhooks.secret)).verify(body, {k.lower(): v for k, v in headers.items()})
    assert (message["type"], message["data"]["result"]) == ("classification.succeeded", job["result"])
    image = decode(PHOTO)
    expected = Classifier(Path(stack.settings.worker.classifier))([image[:, :160], image[:, 160:]], 2)
    for report, one in zip(job["result"]["classifications"], expected, strict=True):
        assert [found["label"] for found in report["classes"]] == list(one.label_names)
        assert [found["score"] for found in report["classes"]] == pytest.approx(one.scores, abs=1e-4)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/classifications"])
def test_a_box_that_turns_out_to_be_outside_fails_the_job(service: Service, path: str) -> None:
    job = answered(service, path, {"boxes": [[0, 200, 50, 300]]})  # it might lie in the photo, were that turned
    assert (job["status"], job["error"]["code"], job["error"]["retryable"]) == ("failed", "options_invalid", False)
    again = service.http.post(f"{service.base_url}{job['links']['self']}/replay", timeout=10)
    assert again.status_code == 202
    assert service.finished(job)["status"] == "failed"


def test_items_are_found_by_a_picture_and_by_an_item(service: Service, tmp_path: Path) -> None:
    service.create_gallery("looks")
    with Client(service.base_url) as client:
        seeds = [20, 24, 28, 32]
        names, metadata = [f"pattern {seed}" for seed in seeds], [{"even": str(seed % 8 == 0)} for seed in seeds]
        job = client.galleries.add("looks", [encode(pattern(seed)) for seed in seeds], names, item_metadata=metadata)
        client.enrollments.wait(job, timeout_s=60)
        photo = encode(pattern(24), quality=60)
        ended = client.embeddings.wait(client.galleries.search_items("looks", photo, limit=3), timeout_s=60)
        check(ended, "EmbeddingJob", service.get("/openapi.json"))
        assert ended["result"] is not None, ended["error"]
        near = ended["result"]["items"]
        assert (near[0]["label"], len(near)) == ("pattern 24", 3)
        assert ended["result"]["gallery"] == {"name": "looks", "version": 2, "items": 4}
        some = client.galleries.search_items("looks", photo, filters={"even": "True"})
        filtered = client.embeddings.wait(some, timeout_s=60)["result"]
        assert filtered is not None
        assert {one["label"] for one in filtered["items"]} == {
            name for name, own in zip(names, metadata, strict=True) if own["even"] == "True"
        }
        row = np.array(ended["result"]["embeddings"][0]["embedding"], np.float32)
        expected = Embedder(resolve("shitu-embedder"))([decode(encode(pattern(seed))) for seed in seeds]) @ row
        assert [one["label"] for one in near] == [names[at] for at in np.argsort(-expected)[:3]]
        alike = list(client.galleries.items("looks", like=near[0]["item_id"]))
        assert len(alike) == 3
        assert near[0]["item_id"] not in {one["id"] for one in alike}
        client.galleries.choose_index("looks", dist_type="hamming", fuse=True)
        again = client.embeddings.wait(client.galleries.search_items("looks", photo, limit=1), timeout_s=60)["result"]
        assert again is not None
        assert [one["label"] for one in again["items"]] == ["pattern 24"]
        old = client.embeddings.wait(client.galleries.search_items("looks", photo, version=1), timeout_s=60)["result"]
        assert old is not None
        assert (old["items"], old["gallery"]["version"]) == ([], 1)
    (tmp_path / "a.jpg").write_bytes(photo)
    for what, label in ((str(tmp_path / "a.jpg"), "pattern 24"), (near[0]["item_id"], alike[0]["label"])):
        report = CliRunner().invoke(main, ["gallery", "search", "looks", what, "--server", service.base_url, "--json"])
        assert json.loads(report.stdout)["items"][0]["label"] == label, report.output


def test_a_worker_looks_for_pictures_with_several_objects(service: Service) -> None:
    service.create_gallery("crowded")
    service.enroll("crowded", {"one": encode(pattern(36)), "two": encode(np.hstack([pattern(36), pattern(40)]))})
    with Client(service.base_url) as client:
        report = client.galleries.lint("crowded", objects=True)
        for _ in range(20):
            if report["complete"]:
                break
            report = client.galleries.lint("crowded", objects=True)
    assert report["complete"]
    check(report, "Lint", service.get("/openapi.json"))
    assert report["skipped"] == []
    detector = Detector(resolve("shitu-detector"))
    pictures = {"one": encode(pattern(36)), "two": encode(np.hstack([pattern(36), pattern(40)]))}
    images = {label: decode(data) for label, data in pictures.items()}
    expected = {
        label
        for label, image in images.items()
        if len(separate_objects(detector(image), image.shape[0] * image.shape[1])) > 1
    }
    assert {one["labels"][0] for one in report["findings"] if one["kind"] == "several_objects"} == expected
