"""Pictures by link and by address, through both clients, on a front end that keeps pictures in a folder."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from shitu.client import uploads
from shitu.client.connection import Connection
from shitu.client.exchange import Request
from shitu.client.pictures import url_of
from tests.web.pictures import picture
from web.services import EXTENSION

if TYPE_CHECKING:
    from pathlib import Path

    from infra.runtime.settings import Settings
    from tests.shitu.client.conftest import Call, Served

PHOTO = picture(width=64, height=48)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    objects = dataclasses.replace(settings.objects, input_buckets=("photos",))
    return dataclasses.replace(settings, objects=objects)


def test_an_upload_is_the_photo_of_several_jobs(call: Call, tmp_path: Path) -> None:
    (tmp_path / "shelf.jpg").write_bytes(PHOTO)
    sent = call("uploads.create", tmp_path / "shelf.jpg")
    assert (sent["status"], sent["size"], sent["name"]) == ("received", len(PHOTO), "shelf.jpg")
    assert "send" not in sent
    for name in (None, "other.jpg"):
        call("galleries.create", "drinks" if name is None else "snacks")
        job = call("recognitions.create", sent, "drinks", name=name)
        assert job["request"]["image"]["name"] == (name or "shelf.jpg")
        assert job["request"]["image"]["width"] == 64
    assert call("detections.create", sent)["request"]["image"]["key"] == job["request"]["image"]["key"]
    assert call("uploads.get", sent)["status"] == "received"


def test_a_big_file_goes_by_a_link_or_with_its_request(
    call: Call, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = served.app.extensions[EXTENSION].redis
    monkeypatch.setattr(uploads, "BIG_BYTES", len(PHOTO))
    job = call("detections.create", PHOTO)
    assert redis.zcard("shitu:uploads") == 1
    assert job["request"]["image"]["format"] == "JPEG"
    served.app.view_functions["uploads.create"] = lambda: ("", 500)
    again = call("detections.create", PHOTO)
    assert again["request"]["image"] == {**job["request"]["image"], "name": again["request"]["image"]["name"]}
    assert redis.zcard("shitu:uploads") == 1


def test_an_object_s_address_is_fetched_by_the_service(call: Call, served: Served) -> None:
    job = call("detections.create", "s3://photos/deep/shelf 1.jpg")
    assert job["request"]["image"]["name"] == "shelf 1.jpg"
    ledger = served.app.extensions[EXTENSION].ledger
    assert ledger.get(job["id"]).source_url == "s3://photos/deep/shelf 1.jpg"
    assert url_of("s3://photos/a.jpg")


def test_a_link_is_requested_without_the_key() -> None:
    sent = Connection.to("http://127.0.0.1:1", "shitu_secret").request(
        Request("PUT", "", headers={"Content-Type": "image/jpeg"}, content=b"x", link="http://127.0.0.1:2/a?b=c")
    )
    assert sent["url"] == "http://127.0.0.1:2/a?b=c"
    assert "Authorization" not in sent["headers"]
    assert sent["content"] == b"x"
