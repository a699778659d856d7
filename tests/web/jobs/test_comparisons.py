"""`POST /v1/recognitions/{job_id}/compare`: what it takes, keeps and refuses."""

from __future__ import annotations

import io
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.web.conftest import Hand, fill_gallery, recognition_result
from tests.web.pictures import picture
from web.services import Services


@pytest.fixture
def old(client: FlaskClient, hand: Hand, drinks: str) -> dict[str, Any]:
    """A succeeded job."""
    form = {"gallery": drinks, "options": '{"top_k": 3}', "image": (io.BytesIO(picture()), "a.jpg")}
    job: dict[str, Any] = client.post("/v1/recognitions", data=form).get_json()
    hand.finish(job["id"], recognition_result())
    return job


def test_the_new_job_has_the_photo_the_options_and_the_old_answer(
    client: FlaskClient, service: Services, hand: Hand, old: dict[str, Any]
) -> None:
    fill_gallery(service, "other", ["tea"])
    taken = client.post(f"{old['links']['self']}/compare", json={"gallery": "other", "version": 2})
    assert taken.status_code == 202
    job = taken.get_json()
    assert job["id"] != old["id"]
    assert taken.headers["Location"] == job["links"]["self"]
    request = job["request"]
    assert (request["gallery"], request["version"]) == ("other", 2)
    assert (request["image"], request["options"]) == (old["request"]["image"], {"top_k": 3})
    assert (request["compared"]["job"], len(request["compared"]["parts"])) == (old["id"], 3)
    assert request["compared"]["parts"][0]["standing"]["label"] == "tea"
    assert service.redis.scard(f"shitu:photo:{request['image']['key']}") == 2  # the photo stays for the new job
    hand.fail(job["id"], "gallery_not_found")
    assert client.post(f"{job['links']['self']}/replay").get_json()["request"] == request


def test_no_body_is_the_version_in_force(client: FlaskClient, old: dict[str, Any]) -> None:
    for body in ({}, {"json": {}}):
        taken = client.post(f"{old['links']['self']}/compare", **body)
        assert taken.status_code == 202
        assert taken.get_json()["request"]["gallery"] == "drinks"
        assert "version" not in taken.get_json()["request"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"gallery": "nothing"}, 404, "gallery_not_found"),
        ({"version": 99}, 404, "gallery_version_not_found"),
        ({"version": 0}, 400, "invalid_request"),
        ({"version": "2"}, 400, "invalid_request"),
        ({"galery": "x"}, 400, "invalid_request"),
        ({"webhook": {"url": "http://127.0.0.1/"}}, 422, "address_forbidden"),
    ],
)
def test_what_can_not_be_compared_with_is_reported(
    client: FlaskClient, old: dict[str, Any], body: dict[str, Any], status: int, code: str
) -> None:
    refused = client.post(f"{old['links']['self']}/compare", json=body)
    assert (refused.status_code, refused.get_json()["code"]) == (status, code)


def test_a_job_without_an_answer_and_a_photo_that_is_gone_are_reported(
    client: FlaskClient, hand: Hand, service: Services, old: dict[str, Any], drinks: str
) -> None:
    form = {"gallery": drinks, "image": (io.BytesIO(picture(seed=4)), "a.jpg")}
    job = client.post("/v1/recognitions", data=form).get_json()
    link = f"{job['links']['self']}/compare"
    assert client.post(link).get_json()["code"] == "result_not_ready"
    hand.fail(job["id"], "image_truncated")
    refused = client.post(link)
    assert (refused.status_code, refused.get_json()["retryable"]) == (409, False)
    service.objects.delete(old["request"]["image"]["key"])
    assert client.post(f"{old['links']['self']}/compare").status_code == 404
    assert client.post(f"{old['links']['self'][:-3]}000/compare").status_code == 404
    assert client.post(f"{old['links']['self']}/compare", data=b"x").status_code == 415


def test_a_version_of_several_galleries_is_of_none(
    client: FlaskClient, service: Services, hand: Hand, drinks: str
) -> None:
    fill_gallery(service, "other", ["tea"])
    form = {"gallery": [drinks, "other"], "image": (io.BytesIO(picture()), "a.jpg")}
    job = client.post("/v1/recognitions", data=form).get_json()
    hand.finish(job["id"], recognition_result())
    refused = client.post(f"{job['links']['self']}/compare", json={"version": 1})
    assert (refused.status_code, refused.get_json()["errors"][0]["pointer"]) == (400, "/version")
    assert client.post(f"{job['links']['self']}/compare").get_json()["request"]["galleries"] == [drinks, "other"]
