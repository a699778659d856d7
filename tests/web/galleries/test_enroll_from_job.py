"""A part of a recognised photo becomes an enrolment; whatever cannot be enrolled is explained."""

from __future__ import annotations

import io
from typing import Any

import pytest
from flask.testing import FlaskClient

from infra.objects.store import preview_key
from tests.openapi_checks import check
from tests.web.conftest import Hand, recognition_result
from tests.web.pictures import picture
from tests.web.refusals import open_jobs, refused, send_json
from web.routes import description
from web.services import Services

URL = "/v1/galleries/drinks/items"
SIZE = {"width": 96, "height": 64}
BOX = [10, 8, 60, 50]


@pytest.fixture
def recognized(client: FlaskClient, hand: Hand, drinks: str) -> str:
    """The id of a recognition that has succeeded, of a photo of 96 x 64 pixels."""
    job = client.post(
        "/v1/recognitions", data={"gallery": drinks, "image": (io.BytesIO(picture(seed=77)), "shelf.jpg")}
    )
    hand.finish(job.get_json()["id"], recognition_result(image=SIZE))
    return str(job.get_json()["id"])


def enrol(client: FlaskClient, job: Any, box: Any = None, label: Any = "tea", **more: Any) -> Any:
    return client.post(URL, json={"from": {"job": job, "box": box}, "label": label, **more})


def test_a_box_of_a_photo_becomes_an_enrolment(client: FlaskClient, service: Services, recognized: str) -> None:
    answer = enrol(client, recognized, BOX, " Te\u0301 ", webhook={"url": "https://93.184.216.34/hook"})
    assert answer.status_code == 202
    job = answer.get_json()
    check(job, "EnrollmentJob", description())
    assert answer.headers["Location"] == f"/v1/enrollments/{job['id']}"
    (item,) = job["request"]["items"]
    assert (item["label"], item["box"], item["job"], item["name"]) == ("Té", BOX, recognized, "shelf.jpg")
    assert item["image_key"].startswith("images/")  # not the job's own photo, which goes with the job
    assert service.objects.get(item["image_key"]) == picture(seed=77)
    assert job["webhook"]["url"] == "https://93.184.216.34/hook"
    assert service.redis.llen("shitu:queue:enroll") == 1


@pytest.mark.parametrize("source", [{}, {"box": None}])
def test_without_a_box_it_is_the_whole_photo(client: FlaskClient, recognized: str, source: dict[str, Any]) -> None:
    answer = client.post(URL, json={"from": {"job": recognized, **source}, "label": "tea"})
    assert answer.status_code == 202
    assert answer.get_json()["request"]["items"][0]["box"] is None


def test_the_rendering_for_browsers_is_kept_too(client: FlaskClient, service: Services, recognized: str) -> None:
    photo = service.ledger.get(recognized).request["image"]["key"]
    service.objects.put(preview_key(photo), b"rendered")
    key = enrol(client, recognized, BOX).get_json()["request"]["items"][0]["image_key"]
    assert service.objects.get(preview_key(key)) == b"rendered"


@pytest.mark.parametrize(
    "box",
    [
        [10, 8, 10, 50], [10, 50, 60, 50], [60, 8, 10, 50], [10, 50, 60, 8],  # no pixel
        [10, 8, 25, 50], [10, 8, 60, 20],  # fewer than 16 a side
        [10, 8, 97, 50], [10, 8, 60, 65], [-1, 8, 60, 50], [10, -1, 60, 50], [100, 100, 200, 200],  # out of the photo
    ],
)  # fmt: skip
def test_a_box_that_is_none_of_the_photo_is_refused(
    client: FlaskClient, service: Services, recognized: str, box: list[int]
) -> None:
    problem = refused(enrol(client, recognized, box), 422, "box_invalid")
    assert problem["errors"][0]["pointer"] == "/from/box"
    assert str(box) in problem["detail"]
    assert (problem["width"], problem["height"]) == (96, 64)
    assert open_jobs(service) == 0


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"from": {"job": "$job", "box": [1, 2, 30]}, "label": "tea"}, "/from/box"),
        ({"from": {"job": "$job", "box": [1, 2, 30, 40, 50]}, "label": "tea"}, "/from/box"),
        ({"from": {"job": "$job", "box": [1, 2, 30.5, 40]}, "label": "tea"}, "/from/box/2"),
        ({"from": {"job": "$job", "box": [1, 2, "30", 40]}, "label": "tea"}, "/from/box/2"),
        ({"from": {"job": "$job", "box": [1, 2, True, 40]}, "label": "tea"}, "/from/box/2"),
        ({"from": {"job": "$job", "box": "1,2,3,4"}, "label": "tea"}, "/from/box"),
        ({"from": {"job": "$job", "bok": [1, 2, 30, 40]}, "label": "tea"}, "/from/bok"),
        ({"from": {"box": [1, 2, 30, 40]}, "label": "tea"}, "/from/job"),
        ({"from": "$job", "label": "tea"}, "/from"),
        ({"label": "tea"}, "/from"),
        ({"from": {"job": "$job"}}, "/label"),
        ({"from": {"job": "$job"}, "label": "  "}, "/label"),
        ({"from": {"job": "$job"}, "label": "x" * 201}, "/label"),
        ({"from": {"job": "$job"}, "label": "a\u202eb"}, "/label"),
        ({"from": {"job": "$job"}, "label": "a\nb"}, "/label"),
        ({"from": {"job": "$job"}, "label": "tea", "labels": ["tea"]}, "/labels"),
        ([], ""),
    ],
)
def test_a_bad_body_is_refused_where_it_is_bad(
    client: FlaskClient, service: Services, recognized: str, body: Any, pointer: str
) -> None:
    if isinstance(body, dict) and "from" in body:
        source = body["from"]
        named = recognized if source == "$job" else {**source, **({"job": recognized} if "job" in source else {})}
        body = {**body, "from": named}
    problem = refused(client.post(URL, json=body), 400, "invalid_request")
    assert pointer in [error["pointer"] for error in problem["errors"]]
    if pointer == "/from/bok":
        assert "did you mean 'box'?" in problem["detail"]
    assert open_jobs(service) == 0


def test_a_job_that_has_no_photo_to_give_is_reported_apart(
    client: FlaskClient, service: Services, hand: Hand, drinks: str, recognized: str
) -> None:
    refused(enrol(client, "rec_0" + "0" * 25), 404, "job_not_found")
    refused(enrol(client, "nothing"), 404, "job_not_found")
    enrolment = enrol(client, recognized, BOX).get_json()["id"]
    refused(enrol(client, enrolment), 404, "job_not_found")  # a job of another kind
    waiting = client.post("/v1/recognitions", data={"gallery": drinks, "image": (io.BytesIO(picture()), "a.jpg")})
    problem = refused(enrol(client, waiting.get_json()["id"]), 409, "job_unfinished")
    assert problem["retryable"]
    linked = send_json(client, image={"url": "https://93.184.216.34/a.jpg"}).get_json()["id"]
    refused(enrol(client, linked), 404, "photo_not_fetched")
    service.redis.delete(f"shitu:job:{recognized}")
    service.redis.set(f"shitu:tombstone:{recognized}", "1")
    refused(enrol(client, recognized, BOX), 410, "job_expired")


def test_the_photo_of_a_failed_job_can_be_enrolled(client: FlaskClient, hand: Hand, drinks: str) -> None:
    job = client.post(
        "/v1/recognitions", data={"gallery": drinks, "image": (io.BytesIO(picture()), "a.jpg")}
    ).get_json()
    hand.fail(job["id"], "embedder_mismatch")
    assert enrol(client, job["id"], [0, 0, 64, 64]).status_code == 202
    refused(enrol(client, job["id"], [-1, 0, 64, 64]), 422, "box_invalid")


def test_a_photo_that_is_gone_is_reported(client: FlaskClient, service: Services, recognized: str) -> None:
    service.objects.delete(service.ledger.get(recognized).request["image"]["key"])
    refused(enrol(client, recognized, BOX), 404, "object_not_found")


def test_a_gallery_or_webhook_that_cannot_be_is_refused(
    client: FlaskClient, service: Services, recognized: str
) -> None:
    body = {"from": {"job": recognized, "box": BOX}, "label": "tea"}
    refused(client.post("/v1/galleries/nothing/items", json=body), 404, "gallery_not_found")
    refused(enrol(client, recognized, BOX, webhook={"url": "http://127.0.0.1/"}), 422, "address_forbidden")
    refused(enrol(client, recognized, BOX, webhook={"url": "ftp://x/"}), 422, "url_invalid")
    refused(client.post(URL, data=b"{}", content_type="text/plain"), 415, "unsupported_media_type")
    client.delete("/v1/galleries/drinks")
    refused(enrol(client, recognized, BOX), 404, "gallery_not_found")
    assert open_jobs(service) == 0


def test_it_carries_what_the_form_does(client: FlaskClient, service: Services, recognized: str) -> None:
    more = {"metadata": {"order": "7"}, "priority": "high", "item_metadata": {"article": "4711"}}
    body = {"from": {"job": recognized, "box": BOX}, "label": "tea", **more}
    headers = {"Idempotency-Key": "one", "Cancel-After": "1m"}
    first = client.post(URL, json=body, headers=headers)
    assert first.status_code == 202, first.text
    job = first.get_json()
    assert (job["metadata"], job["request"]["items"][0]["metadata"]) == ({"order": "7"}, {"article": "4711"})
    assert client.post(URL, json=body, headers=headers).get_json()["id"] == job["id"]
    assert open_jobs(service) == 1
    refused(enrol(client, recognized, BOX, metadata={"a b": "c"}), 400, "invalid_request")
    refused(enrol(client, recognized, BOX, item_metadata={"a": 5}), 400, "invalid_request")
    refused(enrol(client, recognized, BOX, priority="urgent"), 400, "invalid_request")
