"""POST /v1/recognitions: what is accepted becomes a kept and queued job, what is not is explained."""

from __future__ import annotations

import base64
import io
import time
from dataclasses import replace
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from infra.runtime.settings import Settings
from tests.web.pictures import picture, png_header
from tests.web.refusals import open_jobs, refused, send_json
from web.app import create_app
from web.services import Services

URL = "/v1/recognitions"


def send(client: FlaskClient, **fields: Any) -> TestResponse:
    return client.post(URL, data={"gallery": "drinks", "image": file(), **fields}, content_type="multipart/form-data")


def file(data: bytes | None = None, name: str = "shelf.jpg") -> tuple[io.BytesIO, str]:
    return io.BytesIO(picture() if data is None else data), name


def test_a_form_is_accepted_kept_and_queued(client: FlaskClient, service: Services, drinks: str) -> None:
    response = send(client, options='{"top_k": 3}', webhook_url="https://93.184.216.34/hook")
    assert response.status_code == 202
    job = response.get_json()
    assert job["id"].startswith("rec_")
    assert job["status"] == "queued"
    assert response.headers["Location"] == f"{URL}/{job['id']}"
    assert response.headers["Retry-After"] == "1"
    kept = service.ledger.get(job["id"])
    assert kept.request["gallery"] == drinks
    assert kept.request["options"] == {"top_k": 3}
    assert kept.webhook is not None
    assert kept.webhook.url == "https://93.184.216.34/hook"
    image = kept.request["image"]
    assert image["key"].startswith("photos/")
    assert service.objects.get(image["key"]) == picture()
    assert image == {"key": image["key"], "name": "shelf.jpg", "width": 96, "height": 64, "format": "JPEG"}
    assert service.redis.llen("shitu:queue:recognize") == 1


@pytest.mark.parametrize("prefix", ["", "data:image/jpeg;base64,"])
def test_json_with_base64_is_accepted(client: FlaskClient, service: Services, drinks: str, prefix: str) -> None:
    image = {"base64": prefix + base64.b64encode(picture()).decode(), "name": "a.jpg"}
    response = send_json(client, image=image, options={"whole_image": "never"})
    assert response.status_code == 202
    kept = service.ledger.get(response.get_json()["id"])
    assert service.objects.get(kept.request["image"]["key"]) == picture()
    assert kept.request["options"] == {"whole_image": "never"}


def test_wrong_names_are_reported_with_the_right_ones(client: FlaskClient, service: Services, drinks: str) -> None:
    response = client.post(URL, data={"galery": drinks, "imgae": file()}, content_type="multipart/form-data")
    errors = {error["pointer"]: error["detail"] for error in refused(response, 400, "invalid_request")["errors"]}
    assert "did you mean 'gallery'?" in errors["/galery"]
    assert errors["/imgae"].endswith(
        "did you mean 'image'? Allowed: image, gallery, filter, options, webhook_url, metadata, priority"
    )
    assert errors["/image"] == "this file is required"
    response = client.post(URL, data={"callback": "x"}, content_type="multipart/form-data")
    errors = {error["pointer"]: error["detail"] for error in refused(response, 400, "invalid_request")["errors"]}
    assert (
        errors["/callback"]
        == "there is no field 'callback' here. Allowed: image, gallery, filter, options, webhook_url, metadata, priority"
    )
    response = send_json(client, imagee=1)
    (error,) = refused(response, 400, "invalid_request")["errors"]
    assert "Allowed: galleries, gallery, image, filter, options, webhook" in error["detail"]
    assert open_jobs(service) == 0


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"image": "just text"}, 400, "invalid_request"),
        ({"gallery": ["drinks", "drinks"]}, 400, "invalid_request"),
        ({"options": "{"}, 400, "invalid_request"),
        ({"options": "[]"}, 400, "invalid_request"),
        ({"options": '{"top_k": 0}'}, 422, "invalid_options"),
        ({"options": '{"topk": 1}'}, 422, "invalid_options"),
        ({"webhook_url": "ftp://example.com/"}, 422, "url_invalid"),
        ({"webhook_url": "http://127.0.0.1:9000/"}, 422, "address_forbidden"),
        ({"webhook_url": "http://169.254.169.254/latest"}, 422, "address_forbidden"),
        ({"gallery": "dirnks"}, 404, "gallery_not_found"),
    ],
)
def test_bad_fields_are_refused(
    client: FlaskClient, service: Services, drinks: str, fields: dict[str, Any], status: int, code: str
) -> None:
    refused(send(client, **fields), status, code)
    assert open_jobs(service) == 0


@pytest.mark.parametrize(
    ("names", "words"), [(["drinks", "drinks"], "named twice"), ([f"gallery{n}" for n in range(11)], "at most 10")]
)
def test_too_many_or_equal_galleries_are_reported_alike_of_a_form_and_of_json(
    client: FlaskClient, drinks: str, names: list[str], words: str
) -> None:
    image = {"base64": base64.b64encode(picture()).decode()}
    for place, response in (
        ("gallery", send(client, gallery=names)),
        ("galleries", client.post(URL, json={"galleries": names, "image": image})),
    ):
        problem = refused(response, 400, "invalid_request")
        (error,) = problem["errors"]
        assert error["pointer"] == f"/{place}"
        assert words in error["detail"]
        assert problem["detail"] == f"{place}: {error['detail']}"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "image_empty"),
        (b"not a picture", "image_not_an_image"),
        (picture(width=1, height=1), "image_too_small"),
        (png_header(20_000, 20_000), "image_too_large"),
    ],
)
def test_bad_pictures_are_refused(client: FlaskClient, drinks: str, data: bytes, reason: str) -> None:
    problem = refused(send(client, image=file(data)), 422, "image_rejected")
    assert problem["reason"] == reason
    assert problem["errors"][0]["code"] == reason


def test_two_photos_in_one_request_are_too_many(client: FlaskClient, drinks: str) -> None:
    problem = refused(send(client, image=[file(), file()]), 413, "too_many_files")
    assert problem["max_files"] == 1


@pytest.mark.parametrize(
    "image",
    [
        {},
        {"base64": "AAAA", "url": "https://example.com/a.jpg"},
        {"base64": "***"},
        {"base64": 5},
        {"base64": ""},
        {"bytes": "AAAA"},
    ],
)
def test_json_needs_exactly_one_good_picture(client: FlaskClient, drinks: str, image: dict[str, Any]) -> None:
    problem = refused(send_json(client, image=image), 400, "invalid_request")
    assert problem["errors"][0]["pointer"].startswith("/image")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff"])
def test_json_that_is_none_is_refused(client: FlaskClient, body: bytes) -> None:
    refused(client.post(URL, data=body, content_type="application/json"), 400, "invalid_request")


@pytest.mark.parametrize("kind", ["image/jpeg", "application/x-www-form-urlencoded", "text/plain", None])
def test_other_bodies_are_refused(client: FlaskClient, kind: str | None) -> None:
    refused(client.post(URL, data=b"x=1", content_type=kind), 415, "unsupported_media_type")


def test_a_multipart_body_without_boundary_is_refused(client: FlaskClient) -> None:
    refused(client.post(URL, data=b"x", content_type="multipart/form-data"), 400, "invalid_request")


def test_a_body_over_the_limit_is_refused(settings: Settings) -> None:
    small = create_app(replace(settings, web=replace(settings.web, max_body_bytes=5000))).test_client()
    problem = refused(send(small, image=file(bytes(6000))), 413, "body_too_large")
    assert problem["max_body_bytes"] == 5000
    refused(small.post(URL, data=b"[" * 6000, content_type="application/json"), 413, "body_too_large")
    chunked = {"wsgi.input_terminated": True, "CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}
    response = small.post(
        URL, input_stream=io.BytesIO(b"[" * 6000), content_type="application/json", environ_overrides=chunked
    )
    refused(response, 413, "body_too_large")


def test_a_url_is_accepted_without_asking_anybody(client: FlaskClient, service: Services, drinks: str) -> None:
    """Kept in the ledger alone: a signed URL is a secret, so neither the job's JSON nor its webhook shows it."""
    url = "https://pictures.invalid/a/shelf%201.png?signature=s3cret"
    started = time.monotonic()
    response = send_json(client, image={"url": url}, webhook={"url": "https://hooks.invalid/x"})
    assert time.monotonic() - started < 1
    assert response.status_code == 202
    job = response.get_json()
    assert job["request"]["image"] == {
        "key": None,
        "name": "shelf 1.png",
        "width": None,
        "height": None,
        "format": None,
    }
    assert "s3cret" not in response.text
    assert service.ledger.get(job["id"]).source_url == url
    assert "s3cret" not in repr(service.ledger.get(job["id"]))
    assert service.redis.llen("shitu:queue:fetch") == 1
    assert service.redis.llen("shitu:queue:recognize") == 0
    refused(client.get(f"{URL}/{job['id']}/image"), 404, "photo_not_fetched")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://169.254.169.254/latest/meta-data", "address_forbidden"),
        ("http://127.0.0.1:8080/a.jpg", "address_forbidden"),
        ("http://0x7f.1:8080/a.jpg", "address_forbidden"),
        ("http://2130706433:8080/a.jpg", "address_forbidden"),
        ("http://[::ffff:10.0.0.1]/a.jpg", "address_forbidden"),
        ("http://localhost/a.jpg", "address_forbidden"),
        ("http://a.LOCALHOST./a.jpg", "address_forbidden"),
        ("http://pictures.invalid:22/a.jpg", "address_forbidden"),
        ("ftp://pictures.invalid/a.jpg", "url_invalid"),
        ("http://me:secret@pictures.invalid/a.jpg", "url_invalid"),
        ("https://pictures.invalid/" + "a" * 2048, "url_invalid"),
    ],
)
def test_urls_that_show_what_they_are_are_refused_at_once(
    client: FlaskClient, service: Services, drinks: str, url: str, code: str
) -> None:
    refused(send_json(client, image={"url": url}), 422, code)
    assert open_jobs(service) == 0


@pytest.mark.parametrize("path", [URL, "/v1/detections"])
def test_all_that_is_wrong_with_urls_is_reported_with_its_place_and_remedy(
    client: FlaskClient, drinks: str, path: str
) -> None:
    body = {"image": {"url": "http://127.0.0.1/a.jpg"}, "webhook": {"url": "http://10.0.0.7/"}}
    gallery = {"gallery": drinks} if path == URL else {}
    problem = refused(client.post(path, json=body | gallery), 422, "address_forbidden")
    photo, webhook = problem["errors"]
    assert (photo["pointer"], webhook["pointer"]) == ("/image/url", "/webhook/url")
    assert photo["detail"].endswith("; the setting SHITU_WEB__ALLOWED_HOSTS can allow it")
    assert webhook["detail"].endswith("; the setting SHITU_WEBHOOKS__ALLOWED_HOSTS can allow it")
    assert problem["detail"] == f"image.url: {photo['detail']}; webhook.url: {webhook['detail']}"
    problem = refused(client.post(path, json=body | gallery | {"priority": "x"}), 400, "invalid_request")
    assert [one["pointer"] for one in problem["errors"]] == ["/priority", "/image/url", "/webhook/url"]
    never = {"url": "http://169.254.169.254/"}  # no setting allows that
    (error,) = refused(client.post(path, json=gallery | {"image": never}), 422, "address_forbidden")["errors"]
    assert "SHITU" not in error["detail"]
    form = gallery | {"image": file(), "webhook_url": "ftp://x/"}
    (error,) = refused(client.post(path, data=form), 422, "url_invalid")["errors"]
    assert error == {"pointer": "/webhook_url", "detail": "the URL must start with http:// or https://"}


def test_a_replayed_job_is_fetched_again(client: FlaskClient, service: Services, drinks: str) -> None:
    job = send_json(client, image={"url": "https://pictures.invalid/a.jpg"}).get_json()
    lease = service.ledger.start(job["id"], fetching=True)
    assert lease is not None
    assert service.ledger.fail(lease, {"code": "fetch_failed", "message": "It could not be.", "retryable": True})
    refused(client.get(f"{URL}/{job['id']}/image"), 404, "photo_not_fetched")
    assert client.post(f"{URL}/{job['id']}/replay").status_code == 202
    assert service.redis.llen("shitu:queue:fetch") == 2
    assert service.redis.llen("shitu:queue:recognize") == 0


def test_without_redis_nothing_is_accepted(
    client: FlaskClient, service: Services, drinks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = redis.Redis.from_url("unix:///nonexistent/redis.sock", decode_responses=True)
    lost = replace(service, redis=gone, ledger=type(service.ledger)(gone, service.settings.jobs))
    client.application.extensions["shitu"] = lost
    response = send(client)
    problem = refused(response, 503, "redis_unavailable")
    assert problem["retryable"] is True
    assert int(response.headers["Retry-After"]) >= 1
    assert "nonexistent" not in response.text
    assert open_jobs(service) == 0
    assert service.redis.llen("shitu:queue:recognize") == 0


def test_the_photo_comes_back_as_a_picture_and_nothing_else(client: FlaskClient, drinks: str) -> None:
    job = send(client, image=file(picture("PNG"), "evil.html")).get_json()
    response = client.get(f"{URL}/{job['id']}/image")
    assert response.status_code == 200
    assert response.data == picture("PNG")
    assert response.content_type == "image/png"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]
