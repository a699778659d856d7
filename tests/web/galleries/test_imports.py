"""Imports over HTTP: what is sent is kept and promised; reports by pages; what can't be imported is refused at once."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from infra.galleries.staging import Stage
from tests.openapi_checks import check
from tests.web.conftest import Hand
from tests.web.refusals import refused
from web.routes import description
from web.services import EXTENSION, Services


def send(client: FlaskClient, files: dict[str, bytes], gallery: str = "drinks", **fields: str) -> Any:
    sent = [(io.BytesIO(data), name) for name, data in files.items()]
    path = f"/v1/galleries/{gallery}/imports"
    return client.post(path, data={"files": sent, **fields}, content_type="multipart/form-data")


def result_of(service: Services, job_id: str, lines: int) -> dict[str, Any]:
    """As a worker ends an import: every third line was rejected."""
    report: list[dict[str, Any]] = [
        {"line": one, "source": f"{one}.jpg", "label": "tea", "status": "added", "item_id": "itm_0", "error": None}
        if one % 3
        else {
            "line": one, "source": f"{one}.jpg", "label": "tea", "status": "rejected", "item_id": None,
            "error": {"code": "image_empty", "message": "The file is empty.", "retryable": False},
        }
        for one in range(1, lines + 1)
    ]  # fmt: skip
    Stage(service.objects, job_id).put_report(report)
    rejected = [line for line in report if line["status"] == "rejected"]
    return {
        "gallery": {"name": "drinks", "version": 3, "items": 9}, "activated": True,
        "counts": {"total": lines, "added": lines - len(rejected), "duplicate": 0, "rejected": len(rejected)},
        "reasons": {"image_empty": len(rejected)}, "rejected": rejected[:100],
        "models": {"embedder": {"name": "e", "digest": "d" * 64, "engine": "openvino", "precision": "fp32"}},
    }  # fmt: skip


def test_what_is_sent_is_kept_in_parts_and_promised(
    client: FlaskClient, service: Services, drinks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.requests.import_uploads.PART_BYTES", 1000)
    data = bytes(range(256)) * 10
    answer = send(client, {"shop/labels.csv": b"a.jpg,tea", "p.ZIP": data}, activate="false", metadata='{"batch": "7"}')
    assert answer.status_code == 202, answer.text
    job = answer.get_json()
    check(job, "ImportJob", description())
    assert answer.headers["Location"] == f"/v1/imports/{job['id']}"
    assert [(one["name"], one["bytes"]) for one in job["request"]["files"]] == [("labels.csv", 9), ("p.ZIP", 2560)]
    assert (job["request"]["activate"], job["metadata"], job["kind"]) == (False, {"batch": "7"}, "import")
    stage = Stage(service.objects, job["id"])
    assert [len(part) for part in stage.parts(1)] == [1000, 1000, 560]
    assert b"".join(stage.parts(1)) == data
    listed = client.get("/v1/imports?gallery=drinks&metadata.batch=7").get_json()["imports"]
    assert [one["id"] for one in listed] == [job["id"]]
    assert client.post(f"/v1/imports/{job['id']}/cancel").get_json()["status"] == "canceled"


def test_a_repeated_request_makes_no_second_job(client: FlaskClient, drinks: str) -> None:
    answers = [
        client.post(
            "/v1/galleries/drinks/imports",
            data={"files": [(io.BytesIO(b"PK"), "a.zip")]},
            headers={"Idempotency-Key": '"one"'},
        )
        for _ in range(2)
    ]
    assert len({answer.get_json()["id"] for answer in answers}) == 1


def test_the_report_comes_in_pages_and_as_lines(
    client: FlaskClient, service: Services, drinks: str, hand: Hand
) -> None:
    job_id = send(client, {"a.zip": b"PK"}).get_json()["id"]
    refused(client.get(f"/v1/imports/{job_id}/report"), 409, "result_not_ready")
    hand.finish(job_id, result_of(service, job_id, 10))
    check(client.get(f"/v1/imports/{job_id}").get_json(), "ImportJob", description())
    pages = [client.get(f"/v1/imports/{job_id}/report?limit=4").get_json()]
    check(pages[0], "ImportReport", description())
    while (after := pages[-1]["next_after"]) is not None:
        pages.append(client.get(f"/v1/imports/{job_id}/report?limit=4&after={after}").get_json())
    assert [line["line"] for page in pages for line in page["lines"]] == list(range(1, 11))
    some = client.get(f"/v1/imports/{job_id}/report?status=rejected").get_json()
    assert ([line["line"] for line in some["lines"]], some["total"]) == ([3, 6, 9], 3)
    text = client.get(f"/v1/imports/{job_id}/report?format=ndjson&status=added")
    assert text.mimetype == "application/x-ndjson"
    assert [json.loads(line)["line"] for line in text.text.splitlines()] == [1, 2, 4, 5, 7, 8, 10]
    refused(client.get(f"/v1/imports/{job_id}/report?status=odd"), 400, "invalid_request")


@pytest.mark.parametrize(
    ("files", "fields", "said"),
    [
        ({}, {"activate": "true"}, "required"),
        ({"a.exe": b"x"}, {}, "none of the files"),
        ({"a.zip": b"", "b.zip": b""}, {}, "two of a kind"),
        ({"vector.index": b""}, {}, "send both"),
        ({"a.zip": b""}, {"activte": "true"}, "activate"),
        ({"a.zip": b""}, {"activate": "maybe"}, "activate"),
        ({"a.zip": b""}, {"crop": "half"}, "crop"),
    ],
)
def test_mistakes_are_named(
    client: FlaskClient, drinks: str, files: dict[str, bytes], fields: dict[str, str], said: str
) -> None:
    reported = refused(send(client, files, **fields), 400, "invalid_request")
    assert said in json.dumps(reported), reported


def test_places_are_only_those_that_the_setting_allows(
    app: Flask, client: FlaskClient, service: Services, drinks: str
) -> None:
    request = {"source": "s3://shop/drinks", "list": "labels.csv", "activate": False}
    path = "/v1/galleries/drinks/imports"
    refused(client.post(path, json=request), 403, "import_forbidden")
    galleries = replace(service.settings.galleries, import_roots=("s3://shop", "/srv/pictures"))
    app.extensions[EXTENSION] = replace(service, settings=replace(service.settings, galleries=galleries))
    job = client.post(path, json=request).get_json()
    assert (job["request"]["source"], job["request"]["list"], job["request"]["files"]) == (
        "s3://shop/drinks",
        "labels.csv",
        [],
    )
    for place in ("s3://shopping/drinks", "/srv/pictures2", "/etc"):
        refused(client.post(path, json={"source": place}), 403, "import_forbidden")
    for place in ("pictures", "/srv/pictures/../../etc", ""):
        refused(client.post(path, json={"source": place}), 400, "invalid_request")
    refused(client.post(path, json={**request, "list": "labels.jpg"}), 400, "invalid_request")
    refused(client.post("/v1/galleries/none/imports", json=request), 404, "gallery_not_found")


def test_only_the_body_of_an_import_may_be_larger(app: Flask, service: Services, drinks: str) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 10_000
    client = app.test_client()
    assert send(client, {"a.zip": bytes(50_000)}).status_code == 202
    small = replace(service.settings.galleries, import_max_bytes=20_000)
    app.extensions[EXTENSION] = replace(service, settings=replace(service.settings, galleries=small))
    refused(send(client, {"a.zip": bytes(50_000)}), 413, "body_too_large")
    large = client.post(
        "/v1/galleries/drinks/items", data={"images": (io.BytesIO(bytes(50_000)), "a.jpg"), "labels": "x"}
    )
    refused(large, 413, "body_too_large")
