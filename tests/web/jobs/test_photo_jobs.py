"""The routes of detections, embeddings and classifications: what they take, refuse and answer."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from contracts.options import CLASSIFY_OPTIONS, DETECT_OPTIONS, EMBED_OPTIONS
from infra.runtime.settings import Settings
from tests.web.conftest import Hand
from tests.web.pictures import picture
from web.app import create_app
from web.routes import description
from web.services import EXTENSION

PATHS = ["/v1/detections", "/v1/embeddings", "/v1/classifications"]
SCHEMAS = description()["components"]["schemas"]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With a classifier, as far as the settings say."""
    return replace(settings, worker=replace(settings.worker, classifier="some-classifier"))


def send(client: FlaskClient, path: str, options: Any = None, *, as_json: bool = False) -> Any:
    if as_json:
        image = {"base64": base64.b64encode(picture()).decode(), "name": "a.jpg"}
        return client.post(path, json={"image": image, **({} if options is None else {"options": options})})
    form = {"image": (io.BytesIO(picture()), "a.jpg"), **({} if options is None else {"options": json.dumps(options)})}
    return client.post(path, data=form)


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_a_job_walks_its_routes(client: FlaskClient, hand: Hand, path: str, as_json: bool) -> None:
    accepted = send(client, path, {}, as_json=as_json)
    assert accepted.status_code == 202
    job = accepted.get_json()
    link = job["links"]["self"]
    assert (accepted.headers["Location"], job["request"]["options"]) == (link, {})
    assert link.startswith(f"{path}/")
    assert client.get(link).get_json()["status"] == "queued"
    assert client.get(f"{link}/image").data == picture()
    assert client.get(f"{link}/preview?width=32").status_code == 200
    hand.fail(job["id"], "image_truncated")
    assert client.post(f"{link}/cancel").status_code == 409
    assert b"event: completed" in client.get(f"{link}/events").data
    assert client.post(f"{link}/webhook/replay").status_code == 404
    assert client.post(f"{link}/replay").status_code == 202
    assert client.post(f"{link}/cancel").get_json()["status"] == "canceled"
    others = [other for other in [*PATHS, "/v1/recognitions"] if other != path]
    for other in others:  # an id belongs to one kind
        assert client.get(link.replace(path, other)).status_code == 404


@pytest.mark.parametrize(
    ("path", "options", "pointer"),
    [
        ("/v1/detections", {"max_detections": 101}, "/options/max_detections"),
        ("/v1/detections", {"boxes": [[0, 0, 9, 9]]}, "/options/boxes"),
        ("/v1/embeddings", {"boxes": [[0, 0, 9, 9], [200, 0, 210, 9]]}, "/options/boxes/1"),
        ("/v1/embeddings", {"top_k": 3}, "/options/top_k"),
        ("/v1/classifications", {"top_k": 0}, "/options/top_k"),
        ("/v1/classifications", {"boxes": [[9, 0, 9, 9]]}, "/options/boxes/0"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_mistakes_are_named(client: FlaskClient, path: str, options: Any, pointer: str, as_json: bool) -> None:
    refused = send(client, path, options, as_json=as_json)
    assert (refused.status_code, refused.get_json()["code"]) == (422, "invalid_options")
    assert [error["pointer"] for error in refused.get_json()["errors"]] == [pointer]


@pytest.mark.parametrize("path", PATHS)
def test_other_fields_and_pictures_are_refused_too(client: FlaskClient, path: str) -> None:
    form = {"image": (io.BytesIO(picture()), "a.jpg"), "gallery": "drinks"}
    assert client.post(path, data=form).get_json()["errors"][0]["pointer"] == "/gallery"
    broken = client.post(path, data={"image": (io.BytesIO(b"nothing"), "a.jpg")})
    assert (broken.status_code, broken.get_json()["reason"]) == (422, "image_not_an_image")
    assert (
        client.post(path, json={"image": {"url": "http://127.0.0.1/a.jpg"}}).get_json()["code"] == "address_forbidden"
    )
    fetched = client.post(path, json={"image": {"url": "https://93.184.216.34/a.jpg"}})
    assert fetched.status_code == 202
    assert client.get(f"{fetched.get_json()['links']['self']}/image").get_json()["code"] == "photo_not_fetched"


def test_without_the_model_the_request_is_refused_with_the_setting_to_change(settings: Settings) -> None:
    bare = replace(settings, worker=replace(settings.worker, classifier="none", detector="none"))
    app = create_app(bare)
    for path, variable in ((PATHS[0], "SHITU_WORKER__DETECTOR"), (PATHS[2], "SHITU_WORKER__CLASSIFIER")):
        refused = send(app.test_client(), path)
        assert (refused.status_code, refused.get_json()["code"]) == (501, "model_not_configured")
        assert variable in refused.get_json()["detail"]
    assert send(app.test_client(), PATHS[1]).status_code == 202
    assert app.extensions[EXTENSION].ledger.stats().queued == 1


@pytest.mark.parametrize(
    ("schema", "options"),
    [("DetectOptions", DETECT_OPTIONS), ("EmbedOptions", EMBED_OPTIONS), ("ClassifyOptions", CLASSIFY_OPTIONS)],
)
def test_the_schemas_have_the_declared_options(schema: str, options: dict[str, Any]) -> None:
    found = SCHEMAS[schema]["properties"]
    assert found.keys() == options.keys()
    for name, one in options.items():
        assert (found[name]["default"], found[name]["description"]) == (one.default, one.description)
