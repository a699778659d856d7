"""What a request may ask for besides the usual, through the running service with real workers."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.e2e.service import Service, encode, labels, pattern
from tests.openapi_checks import check


@pytest.fixture(scope="module")
def shelf(service: Service) -> bytes:
    """A photo of three products side by side, of which the gallery `asking` knows the first two."""
    service.create_gallery("asking")
    service.enroll("asking", {f"pattern {seed}": encode(pattern(seed)) for seed in (20, 24)})
    return encode(np.hstack([pattern(seed) for seed in (20, 24, 28)]), quality=95)


def test_given_boxes_are_looked_up_and_nothing_else(service: Service, shelf: bytes) -> None:
    options = {"boxes": [[160, 0, 320, 160], [0, 0, 160, 160], [320, 0, 900, 160]]}
    result = service.recognized(shelf, "asking", options=json.dumps(options))
    by_box = {one["given"]: one for one in (*result["recognitions"], *result["dropped"])}
    assert [by_box[at].get("label") for at in range(3)] == ["pattern 24", "pattern 20", None]
    assert by_box[2]["box"] == [320, 0, 480, 160]
    assert set(labels(result)) == {"pattern 20", "pattern 24"}


def test_the_photo_comes_smaller_and_with_its_answers_drawn_over_it(service: Service, shelf: bytes) -> None:
    options = json.dumps({"boxes": [[0, 0, 160, 160], [160, 0, 320, 160]]})
    job = service.finished(service.accepted(service.ask(shelf, "asking", options=options)))
    link = f"{service.base_url}{job['links']['self']}/image"
    pictures = [
        np.asarray(Image.open(io.BytesIO(service.http.get(link + query, timeout=10).content)).convert("RGB")).astype(
            int
        )
        for query in ("", "?annotated=1", "?width=240")
    ]
    assert [one.shape for one in pictures] == [(160, 480, 3), (160, 480, 3), (80, 240, 3)]
    changed = np.abs(pictures[1] - pictures[0]).max(axis=2) > 60
    assert changed[:, 159:162].mean() > 0.5  # where two boxes meet
    assert changed.mean() < 0.3
    assert np.abs(pictures[2] - pictures[0].reshape(80, 2, 240, 2, 3).mean(axis=(1, 3))).mean() < 6


def test_a_trace_says_how_the_answer_came_about(service: Service, shelf: bytes) -> None:
    job = service.finished(
        service.accepted(service.ask(shelf, "asking", options='{"trace": true, "verify": "always"}'))
    )
    check(job, "RecognitionJob", service.get("/openapi.json"))
    trace, times = job["result"]["trace"], job["result"]["timings_ms"]
    assert trace["parts"]
    outcomes = [part["outcome"] for part in trace["parts"]]
    assert outcomes.count("recognized") == len(job["result"]["recognitions"])
    assert len(trace["detections"]) >= outcomes.count("recognized")
    assert any("inliers" in match for part in trace["parts"] for match in part["matches"])
    stages = {"queue", "fetch", "decode", "detect", "crop", "embed", "search", "verify", "total"}
    assert stages == times.keys()
    assert all(took >= 0 for took in times.values())


def test_several_galleries_are_searched_as_one(service: Service, shelf: bytes) -> None:
    service.create_gallery("asking-too")
    service.enroll("asking-too", {"pattern 28": encode(pattern(28))})
    options = json.dumps({"boxes": [[160 * n, 0, 160 * n + 160, 160] for n in range(3)]})
    fields = {"gallery": ["asking-too", "asking"], "options": options}
    answer = service.http.post(
        f"{service.base_url}/v1/recognitions", data=fields, files={"image": ("a.jpg", shelf)}, timeout=30
    )
    job = service.finished(service.accepted(answer))
    check(job, "RecognitionJob", service.get("/openapi.json"))
    found = {one["given"]: (one["label"], one["gallery"]) for one in job["result"]["recognitions"]}
    assert found == {0: ("pattern 20", "asking"), 1: ("pattern 24", "asking"), 2: ("pattern 28", "asking-too")}
    assert [used["name"] for used in job["result"]["galleries"]] == ["asking-too", "asking"]
    assert job["result"]["decision"]["calibration"] == "embedder"


def test_an_old_photo_is_compared_in_another_version(service: Service) -> None:
    service.create_gallery("versions")
    service.enroll("versions", {"old name": encode(pattern(30)), "kept": encode(pattern(34))})
    before = service.get("/v1/galleries/versions")["version"]
    photo = encode(np.hstack([pattern(30), pattern(34)]), quality=95)
    options = json.dumps({"boxes": [[0, 0, 160, 160], [160, 0, 320, 160]], "similarity_threshold": 0.6})
    old = service.finished(service.accepted(service.ask(photo, "versions", options=options)))
    service.http.delete(f"{service.base_url}/v1/galleries/versions/items", params={"label": "old name"}, timeout=10)
    service.enroll("versions", {"new name": encode(pattern(30))})

    def compared(job: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        link = f"{service.base_url}{job['links']['self']}/compare"
        new = service.finished(service.accepted(service.http.post(link, json=body, timeout=10)))
        check(new, "RecognitionJob", service.get("/openapi.json"))
        assert new["status"] == "succeeded", new["error"]
        return new

    now = compared(old, {})
    difference = now["result"]["difference"]
    assert (difference["counts"]["relabeled"], difference["counts"]["same"]) == (1, 1)
    assert [difference["parts"][0][side]["label"] for side in ("before", "after")] == ["old name", "new name"]
    assert difference["parts"][0]["before"]["similarity"] > 0.8
    assert difference["before"][0]["version"] == before < difference["after"][0]["version"]

    back = compared(now, {"version": before})  # and what was then is found as it was
    assert back["result"]["gallery"]["version"] == before
    assert back["result"]["recognitions"] == old["result"]["recognitions"]
    assert back["result"]["difference"]["parts"][0]["after"]["label"] == "old name"
