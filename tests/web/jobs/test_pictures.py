"""Pictures as answers: smaller ones, ETags, and answers drawn over the photo."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image

from tests.web.conftest import Hand, recognition_result
from tests.web.pictures import picture
from web import pictures
from web.services import Services


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


@pytest.fixture
def routes(client: FlaskClient, drinks: str) -> list[str]:
    """Every route of a picture."""
    form = {"gallery": drinks, "image": (io.BytesIO(picture(width=640, height=480, seed=9)), "a.jpg")}
    job = client.post("/v1/recognitions", data=form).get_json()
    item = client.get(f"/v1/galleries/{drinks}/items").get_json()["items"][0]["links"]["image"]
    photo = f"{job['links']['self']}/image"
    return [photo, photo.replace("/image", "/preview"), item, item.replace("/image", "/preview")]


def test_every_picture_comes_smaller_and_is_known_by_its_etag(client: FlaskClient, routes: list[str]) -> None:
    for route in routes:
        whole, small, smaller = (client.get(route + query) for query in ("", "?width=64", "?width=32"))
        assert opened(smaller.data).size[0] == 32
        assert opened(small.data).size[0] == 64
        assert len({answer.headers["ETag"] for answer in (whole, small, smaller)}) == 3
        for answer, query in ((whole, ""), (small, "?width=64")):
            assert "private" in answer.headers["Cache-Control"]
            again = client.get(route + query, headers={"If-None-Match": answer.headers["ETag"]})
            assert (again.status_code, again.data) == (304, b"")
            assert again.headers["ETag"] == answer.headers["ETag"]
            assert again.headers["Cache-Control"] == answer.headers["Cache-Control"]
        assert client.get(route + "?width=4096").status_code == 200


@pytest.mark.parametrize("query", ["width=15", "width=4097", "width=many", "width=64&width=65", "wdth=64", "width="])
def test_a_query_that_makes_no_sense_is_refused(client: FlaskClient, routes: list[str], query: str) -> None:
    for route in routes:
        refused = client.get(f"{route}?{query}")
        assert (refused.status_code, refused.get_json()["code"]) == (400, "invalid_request")


def test_a_picture_that_is_gone_is_not_unchanged(client: FlaskClient, routes: list[str], service: Services) -> None:
    etag = client.get(routes[0] + "?width=64").headers["ETag"]
    (key,) = list(service.objects.list("photos/"))
    service.objects.delete(key)
    assert client.get(routes[0] + "?width=64", headers={"If-None-Match": etag}).status_code == 404


def test_what_a_worker_is_still_to_render_is_reported(client: FlaskClient, drinks: str) -> None:
    form = {"gallery": drinks, "image": (io.BytesIO(picture("TIFF")), "a.tiff")}
    job = client.post("/v1/recognitions", data=form).get_json()
    refused = client.get(f"{job['links']['self']}/preview?width=64")
    assert (refused.status_code, refused.get_json()["code"]) == (404, "picture_not_renderable")
    assert refused.get_json()["retryable"] is True


def test_answers_are_drawn_over_the_photo_once_there_are_any(client: FlaskClient, hand: Hand, drinks: str) -> None:
    photo = io.BytesIO()
    Image.new("RGB", (640, 480), (200, 200, 200)).save(photo, "PNG")
    form = {"gallery": drinks, "image": (io.BytesIO(photo.getvalue()), "a.png")}
    job = client.post("/v1/recognitions", data=form).get_json()
    link = f"{job['links']['self']}/image"
    early = client.get(f"{link}?annotated=1")
    assert (early.status_code, early.get_json()["code"], early.get_json()["retryable"]) == (
        409,
        "result_not_ready",
        True,
    )
    result = recognition_result()
    result["recognitions"][0]["label"] = "可乐 Кола"
    hand.finish(job["id"], result)
    answer = client.get(f"{link}?annotated=1")
    pixels = np.asarray(opened(answer.data))
    assert (answer.mimetype, pixels.shape) == ("image/jpeg", (480, 640, 3))
    assert np.abs(pixels[250, 60:62].astype(int) - (31, 98, 186)).max() < 60  # the box' left edge
    assert np.abs(pixels[250, 160].astype(int) - 200).max() < 8  # and nothing within
    plain = client.get(link)
    assert plain.headers["ETag"] != answer.headers["ETag"]
    assert client.get(f"{link}?annotated=1", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert opened(client.get(f"{link}?annotated=1&width=320").data).size == (320, 240)
    assert client.get(f"{link}?annotated=0").data == plain.data


def test_a_job_that_failed_has_nothing_to_draw(client: FlaskClient, hand: Hand, drinks: str) -> None:
    form = {"gallery": drinks, "image": (io.BytesIO(picture()), "a.jpg")}
    job = client.post("/v1/recognitions", data=form).get_json()
    hand.fail(job["id"], "image_truncated")
    refused = client.get(f"{job['links']['self']}/image?annotated=1")
    assert (refused.status_code, refused.get_json()["retryable"]) == (409, False)


def test_few_pictures_are_decoded_at_a_time(
    client: FlaskClient, routes: list[str], service: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "WAITS_S", 0.05)
    assert isinstance(service.renderings, threading.BoundedSemaphore)
    while service.renderings.acquire(blocking=False):
        pass
    busy = client.get(routes[0] + "?width=64")
    assert (busy.status_code, busy.get_json()["code"], busy.headers["Retry-After"]) == (503, "rendering_busy", "1")
    assert client.get(routes[0]).status_code == 200  # what is not decoded waits for nobody
    service.renderings.release()
    assert client.get(routes[0] + "?width=64").status_code == 200
