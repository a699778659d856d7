"""Uploads by link and pictures by link, with a folder and with a real S3 server under the service."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import boto3
import httpx
import pytest

from infra.jobs.uploads import FOLDER, LATE_S, Uploads
from infra.keys.store import Limits
from infra.runtime import tracing
from tests.web.keyed import bearer, with_keys
from tests.web.pictures import picture
from web.app import create_app
from web.services import EXTENSION

if TYPE_CHECKING:
    import redis
    from flask import Flask
    from flask.testing import FlaskClient

    from infra.runtime.settings import Settings
    from web.services import Services

PHOTO = picture(width=64, height=48)


@pytest.fixture(params=["folder", "s3"])
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    if request.param == "folder":
        return settings
    endpoint, bucket = (request.getfixturevalue(name) for name in ("s3_endpoint", "s3_bucket"))
    objects = dataclasses.replace(settings.objects, url=f"s3://{bucket}/some/prefix", endpoint_url=endpoint)
    return dataclasses.replace(settings, objects=objects)


def new_upload(client: FlaskClient, data: bytes = PHOTO, **about: Any) -> dict[str, Any]:
    answer = client.post("/v1/uploads", json={"size": len(data), **about})
    assert answer.status_code == 201, answer.text
    assert "no-store" in answer.headers["Cache-Control"]
    made: dict[str, Any] = answer.get_json()
    return made


def send(client: FlaskClient, made: dict[str, Any], data: bytes = PHOTO, **headers: str) -> int:
    """The status of the PUT, made as the answer says."""
    to, report = made["send"], {**made["send"]["headers"], **headers}
    assert to["method"] == "PUT"
    if "X-Amz-Signature" in to["url"]:
        return httpx.put(to["url"], content=data, headers=report, timeout=30).status_code
    parts = urlsplit(to["url"])
    return client.put(f"{parts.path}?{parts.query}", data=data, headers=report).status_code


def test_what_was_sent_by_a_link_is_the_photo_of_a_job(client: FlaskClient, service: Services, drinks: str) -> None:
    made = new_upload(client, media_type="image/jpeg", name="folder/shelf.jpg")
    assert (made["status"], made["name"]) == ("open", "shelf.jpg")
    body = {"gallery": drinks, "image": {"upload": made["id"]}}
    early = client.post("/v1/recognitions", json=body)
    assert (early.status_code, early.get_json()["code"]) == (409, "upload_incomplete")
    assert send(client, made) in {200, 204}
    assert client.get(made["links"]["self"]).get_json()["status"] == "received"
    for name in ("", "other.jpg"):  # a repetition finds the bytes where the first one left them
        answer = client.post("/v1/recognitions", json={**body, "image": {"upload": made["id"], "name": name}})
        assert answer.status_code == 202, answer.text
        image = answer.get_json()["request"]["image"]
        assert (image["name"], image["width"], image["format"]) == (name or "shelf.jpg", 64, "JPEG")
        assert service.objects.get(image["key"]) == PHOTO
        assert list(service.objects.list(FOLDER)) == []
    for kind in ("detections", "embeddings"):
        assert client.post(f"/v1/{kind}", json={"image": {"upload": made["id"]}}).status_code == 202
    service.objects.delete(image["key"])
    gone = client.post("/v1/recognitions", json=body)
    assert (gone.status_code, gone.get_json()["code"]) == (410, "upload_expired")


def test_it_is_checked_as_any_picture(client: FlaskClient, service: Services, drinks: str) -> None:
    made = new_upload(client, b"no picture")
    assert send(client, made, b"no picture") in {200, 204}
    answer = client.post("/v1/recognitions", json={"gallery": drinks, "image": {"upload": made["id"]}})
    assert (answer.status_code, answer.get_json()["code"]) == (422, "image_rejected")
    wrong = new_upload(client)
    service.objects.put(FOLDER + wrong["id"], PHOTO + b"more")  # by a server that does not hold to what was signed
    answer = client.post("/v1/recognitions", json={"gallery": drinks, "image": {"upload": wrong["id"]}})
    assert (answer.status_code, answer.get_json()["code"]) == (422, "upload_mismatch")


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({}, 400, "invalid_request", "/size"),
        ({"size": 0}, 400, "invalid_request", "/size"),
        ({"size": 10, "media_type": "text/html"}, 400, "invalid_request", "/media_type"),
        ({"size": 10, "type": "image/jpeg"}, 400, "invalid_request", "/type"),
        ({"size": 10**12}, 413, "body_too_large", None),
    ],
)
def test_a_link_for_nothing_sensible_is_refused(
    client: FlaskClient, body: dict[str, Any], status: int, code: str, pointer: str | None
) -> None:
    answer = client.post("/v1/uploads", json=body)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)
    if pointer:
        assert [error["pointer"] for error in answer.get_json()["errors"]] == [pointer]


@pytest.mark.parametrize(
    "image", [{}, {"upload": "upl_1", "url": "http://example.com/"}, {"upload": ""}, {"upload": 1}]
)
def test_an_image_is_one_thing(client: FlaskClient, drinks: str, image: dict[str, Any]) -> None:
    answer = client.post("/v1/recognitions", json={"gallery": drinks, "image": image})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_request")


def test_uploads_and_links_are_their_key_s_own(settings: Settings) -> None:
    app: Flask = create_app(with_keys(settings))
    service: Services = app.extensions[EXTENSION]
    mine, other = bearer(app, "recognize"), bearer(app, "admin", name="other")
    client = app.test_client()
    made = client.post("/v1/uploads", json={"size": len(PHOTO)}, headers=mine).get_json()
    assert send(client, made) in {200, 204}  # without a key
    body = {"image": {"upload": made["id"]}}
    for headers in (other, {}):
        assert client.post("/v1/detections", json=body, headers=headers).status_code == (404 if headers else 401)
        assert client.get(made["links"]["self"], headers=headers).status_code == (404 if headers else 401)
    job = client.post("/v1/detections", json=body, headers=mine).get_json()
    image = f"{job['links']['self']}/image"
    assert client.get(f"{image}?link=1").status_code == 401
    answer = client.get(f"{image}?link=1", headers=mine)
    assert answer.headers["Cache-Control"] == "no-store"
    url = answer.get_json()["url"]
    if "X-Amz-Signature" in url:
        found = httpx.get(url, timeout=30)
        assert (found.content, found.headers["content-type"]) == (PHOTO, "image/jpeg")
        assert job["request"]["image"]["key"] in url
    else:
        path = urlsplit(url).path
        shown = client.get(path)
        assert (shown.data, shown.mimetype) == (PHOTO, "image/jpeg")
        assert client.get(path[:-1] + ("A" if path[-1] != "A" else "B")).status_code == 404
        assert client.get("/v1/links/" + job["request"]["image"]["key"].rpartition("/")[2]).status_code == 404
    for more in ("width=64", "annotated=1"):
        assert client.get(f"{image}?link=1&{more}", headers=mine).get_json()["code"] == "invalid_request"
    service.objects.delete(job["request"]["image"]["key"])
    assert client.get(f"{image}?link=1", headers=mine).get_json()["code"] == "object_not_found"


def test_an_item_s_picture_has_a_link_too(client: FlaskClient, drinks: str) -> None:
    item = client.get(f"/v1/galleries/{drinks}/items").get_json()["items"][0]
    url = client.get(item["links"]["image"] + "?link=true").get_json()["url"]
    parts = urlsplit(url)
    data = httpx.get(url, timeout=30).content if "X-Amz-Signature" in url else client.get(parts.path).data
    assert data == client.get(item["links"]["image"]).data


def test_the_size_counts_for_the_key_s_bytes(settings: Settings) -> None:
    app: Flask = create_app(with_keys(settings))
    client, headers = app.test_client(), bearer(app, "recognize", Limits(bytes_per_day=1000))
    assert client.post("/v1/uploads", json={"size": 600}, headers=headers).status_code == 201
    second = client.post("/v1/uploads", json={"size": 600}, headers=headers)
    assert (second.status_code, second.get_json()["code"]) == (429, "bytes_limited")


def test_the_keeper_deletes_what_can_be_named_no_more(client: FlaskClient, service: Services, drinks: str) -> None:
    used, unused, stray = new_upload(client), new_upload(client), f"{FOLDER}upl_" + "0" * 26
    for made in (used, unused):
        send(client, made)
    service.objects.put(stray, b"of an upload that Redis forgot")
    answer = client.post("/v1/recognitions", json={"gallery": drinks, "image": {"upload": used["id"]}})
    key, now = answer.get_json()["request"]["image"]["key"], service.ledger.time()
    kept_s = service.settings.objects.upload_s

    def keeper(at: float) -> Uploads:
        return Uploads(service.redis, service.objects, 900, kept_s, now=lambda: at)

    assert keeper(now + kept_s).remove_due() == 0
    assert keeper(now + 60).check_stored(keeper(now).stored())
    assert set(service.objects.list(FOLDER)) == {stray, FOLDER + unused["id"]}
    late = keeper(now + kept_s + LATE_S + 60)
    assert late.remove_due() == 2
    assert late.check_stored(late.stored())
    assert list(service.objects.list(FOLDER)) == []
    assert service.objects.get(key) == PHOTO
    assert service.redis.zcard("shitu:uploads") == 0


class TestTheServiceItself:
    """Links where pictures are in a folder."""

    @pytest.fixture(params=["folder"])
    def settings(self, settings: Settings) -> Settings:
        return settings

    def test_a_link_takes_the_bytes_once(self, client: FlaskClient, service: Services) -> None:
        made = new_upload(client, media_type="image/jpeg")
        for headers, data in (({"Content-Type": "text/html"}, PHOTO), ({}, PHOTO + b"x"), ({}, PHOTO[:-1])):
            assert send(client, made, data, **headers) == 422
        assert send(client, made) == 204
        assert send(client, made) == 409
        assert service.objects.get(FOLDER + made["id"]) == PHOTO

    def test_a_link_is_not_to_be_guessed_and_ends(self, client: FlaskClient, redis_client: redis.Redis) -> None:
        made = new_upload(client)
        token = parse_qs(urlsplit(made["send"]["url"]).query)["token"][0]
        assert token not in str(redis_client.hgetall(f"shitu:upload:{made['id']}"))
        path = f"/v1/uploads/{made['id']}/content"
        for query in ("", "?token=", "?token=" + "A" * 43):
            status = client.put(path + query, data=PHOTO, content_type="application/octet-stream").status_code
            assert status == (404 if query.endswith("A") else 400)
        redis_client.hset(f"shitu:upload:{made['id']}", "link_until", "1")
        assert send(client, made) == 410

    def test_what_opens_a_picture_is_in_no_trace_and_no_log(
        self, client: FlaskClient, service: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG")
        started: list[str] = []
        start = tracing.start
        monkeypatch.setattr(
            tracing, "start", lambda *report, **more: (started.append(str(report)), start(*report, **more))[1]
        )
        token, _ = service.uploads.link(service.photos.keep(PHOTO))
        made = new_upload(client)
        sent = parse_qs(urlsplit(made["send"]["url"]).query)["token"][0]
        assert client.get(f"/v1/links/{token}").data == PHOTO
        assert send(client, made) == 204
        assert len(started) == 3
        for secret in (token, sent):
            assert secret not in str(started)
            assert secret not in caplog.text + str([vars(record) for record in caplog.records])

    def test_bytes_that_another_request_brings_are_waited_for(
        self, client: FlaskClient, redis_client: redis.Redis
    ) -> None:
        made = new_upload(client)
        redis_client.set(f"shitu:upload:{made['id']}:taking", 1)
        assert send(client, made) == 409
        redis_client.delete(f"shitu:upload:{made['id']}:taking")
        assert send(client, made) == 204


class TestAnS3Server:
    """Where links lead."""

    @pytest.fixture(params=["s3"])
    def settings(self, settings: Settings) -> Settings:
        return settings

    def test_links_are_signed_for_the_public_endpoint_or_lead_to_the_service(self, settings: Settings) -> None:
        public = dataclasses.replace(settings.objects, public_endpoint_url="https://s3.shop.example")
        client = create_app(dataclasses.replace(settings, objects=public)).test_client()
        parts = urlsplit(new_upload(client, media_type="image/jpeg")["send"]["url"])
        query = parse_qs(parts.query)
        assert (parts.scheme, parts.netloc) == ("https", "s3.shop.example")
        assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
        assert query["X-Amz-SignedHeaders"] == ["content-length;content-type;host"]
        assert query["X-Amz-Expires"] == ["900"]
        own = dataclasses.replace(settings.objects, direct_links=False)
        client = create_app(dataclasses.replace(settings, objects=own)).test_client()
        made = new_upload(client)
        assert made["send"]["url"].startswith("http://localhost/v1/uploads/")
        assert send(client, made) == 204
        bucket = urlsplit(str(settings.objects.url)).netloc
        s3 = boto3.client("s3", endpoint_url=settings.objects.endpoint_url, region_name="us-east-1")
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]
        assert f"some/prefix/{FOLDER}{made['id']}" in keys
