"""Items by their looks over HTTP: like an item, at once; near a picture, as a job."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from infra.galleries.store import Item, item_id
from tests.openapi_checks import check
from tests.web.conftest import EMBEDDER
from tests.web.pictures import picture
from tests.web.refusals import open_jobs, refused
from web.routes import description
from web.services import Services

ITEMS = "/v1/galleries/g/items"
SEARCH = "/v1/galleries/g/search"


@pytest.fixture
def turned(service: Services) -> list[Item]:
    """Eight items, each 10 degrees away from the one before."""
    service.galleries.create("g")
    items = []
    for place in range(8):
        key = service.objects.put_image(picture(seed=place))
        sha256, label = key.rpartition("/")[2], ("tea", "cola")[place % 2]
        one = Item(item_id(sha256, label), label, key, sha256, None, "2026-01-01T00:00:00Z")
        items.append(replace(one, metadata={"third": str(place % 3)}))
    angles = np.radians(10 * np.arange(8))
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    service.galleries.add("g", items, rows, EMBEDDER)
    return items


def ids(page: dict[str, Any]) -> list[str]:
    return [one["id"] for one in page["items"]]


def test_items_like_one_come_by_pages_the_nearest_first(client: FlaskClient, turned: list[Item]) -> None:
    first = client.get(f"{ITEMS}?like={turned[2].id}&limit=3").get_json()
    check(first, "ItemPage", description())
    assert first["total"] == 7
    assert set(ids(first)[:2]) == {turned[1].id, turned[3].id}
    similarities = [one["similarity"] for one in first["items"]]
    assert similarities == pytest.approx(np.cos(np.radians([10, 10, 20])), abs=1e-5)
    rest, pages = [], first
    while pages["next_after"]:
        pages = client.get(f"{ITEMS}?like={turned[2].id}&limit=3&after={pages['next_after']}").get_json()
        rest += ids(pages)
    assert set(ids(first) + rest) == {one.id for one in turned} - {turned[2].id}
    assert rest[-1] == turned[7].id


def test_of_a_label_or_with_metadata_alone(client: FlaskClient, service: Services, turned: list[Item]) -> None:
    of_label = client.get(f"{ITEMS}?like={turned[0].id}&label=cola").get_json()
    assert ids(of_label) == [turned[place].id for place in (1, 3, 5, 7)]
    met = client.get(f"{ITEMS}?like={turned[0].id}&filter=third:1").get_json()
    assert ids(met) == [turned[place].id for place in (1, 4, 7)]
    service.galleries.remove("g", [turned[1].id])
    assert turned[1].id not in ids(client.get(f"{ITEMS}?like={turned[0].id}").get_json())
    assert ids(client.get(f"{ITEMS}?like={turned[0].id}&version=2").get_json())[0] == turned[1].id
    assert ids(client.get(f"{ITEMS}?like={turned[1].id}&version=2").get_json())
    refused(client.get(f"{ITEMS}?like={turned[1].id}"), 404, "item_not_found")
    refused(client.get(f"{ITEMS}?like=nothing"), 404, "item_not_found")
    assert "similarity" not in client.get(ITEMS).get_json()["items"][0]


def test_a_picture_becomes_an_embedding_job_on_the_gallery(
    client: FlaskClient, service: Services, turned: list[Item]
) -> None:
    fields = {"image": (io.BytesIO(picture(seed=9)), "a.jpg"), "filter": "third:1", "options": '{"limit": 5}'}
    answer = client.post(SEARCH, data=fields)
    job = answer.get_json()
    assert answer.status_code == 202, job
    check(job, "EmbeddingJob", description())
    assert answer.headers["Location"] == f"/v1/embeddings/{job['id']}"
    request = job["request"]
    assert (request["gallery"], request["filter"], request["options"]) == ("g", ["third:1"], {"limit": 5})
    assert service.objects.get(request["image"]["key"]) == picture(seed=9)
    assert service.redis.llen("shitu:queue:embed") == 1
    body = {"image": {"url": "https://shop.example/a.jpg"}, "options": {"version": 1}, "metadata": {"visit": "7"}}
    linked = client.post(SEARCH, json=body).get_json()
    check(linked, "EmbeddingJob", description())
    assert service.ledger.get(linked["id"]).source_url == "https://shop.example/a.jpg"
    assert service.redis.llen("shitu:queue:fetch") == 1


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"options": {"limit": 0}}, 422, "invalid_options"),
        ({"options": {"limit": 1001}}, 422, "invalid_options"),
        ({"options": {"version": 9}}, 404, "gallery_version_not_found"),
        ({"options": {"boxes": [[0, 0, 9, 9]]}}, 422, "invalid_options"),
        ({"filter": ["no colon"]}, 400, "filter_invalid"),
        ({"image": {"url": "http://127.0.0.1/a.jpg"}}, 422, "address_forbidden"),
        ({"image": {"base64": "bm8gcGhvdG8="}}, 422, "image_rejected"),
        ({"image": {}}, 400, "invalid_request"),
    ],
)
def test_what_is_wrong_is_refused(
    client: FlaskClient, service: Services, turned: list[Item], changes: dict[str, Any], status: int, code: str
) -> None:
    refused(client.post(SEARCH, json={"image": {"url": "https://shop.example/a.jpg"}, **changes}), status, code)
    refused(client.post("/v1/galleries/none/search", json={"image": {"url": "https://a.example/a.jpg"}}), 404, "gallery_not_found")  # fmt: skip
    assert open_jobs(service) == 0
