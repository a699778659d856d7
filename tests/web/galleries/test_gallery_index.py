"""How a gallery is searched, chosen over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from contracts.indexes import IndexChoice
from tests.web.refusals import refused
from web.services import Services

URL = "/v1/galleries"


def test_without_a_choice_it_follows_from_the_size(client: FlaskClient, drinks: str) -> None:
    index = client.get(f"{URL}/{drinks}").get_json()["index"]
    assert index == {
        "index_method": "auto",
        "dist_type": "IP",
        "in_use": "Flat",
        "state": "exact",
        "indexed_items": 0,
        "recall_at_1": 1.0,
        "build_s": 0.0,
        "size_bytes": 0,
    }


def test_it_is_chosen_when_the_gallery_is_made(client: FlaskClient, service: Services) -> None:
    made = client.post(URL, json={"name": "drinks", "index": {"dist_type": "hamming", "rerank": 50}})
    assert made.status_code == 201
    assert made.get_json()["index"]["in_use"] == "BFlat,R50"
    assert client.get(URL).get_json()["galleries"] == [made.get_json()]
    assert service.galleries.manifest("drinks").index == {"index_method": "auto", "dist_type": "hamming", "rerank": 50}


def test_it_is_changed_by_a_version_and_undone(client: FlaskClient, drinks: str) -> None:
    changed = client.patch(f"{URL}/{drinks}", json={"index": {"index_method": "HNSW32", "dist_type": "L2"}})
    assert changed.status_code == 200
    report = changed.get_json()
    assert (report["version"], report["item_count"]) == (3, 4)
    assert (report["index"]["index_method"], report["index"]["dist_type"]) == ("HNSW32", "L2")
    assert "rerank" not in report["index"]
    same = client.patch(f"{URL}/{drinks}", json={"index": {"index_method": "HNSW32", "dist_type": "L2"}})
    assert same.get_json()["version"] == 3
    hamming = client.patch(f"{URL}/{drinks}", json={"index": {"dist_type": "hamming", "rerank": 0}}).get_json()
    assert (hamming["version"], hamming["index"]["in_use"], hamming["index"]["recall_at_1"]) == (4, "BFlat", None)
    assert client.post(f"{URL}/{drinks}/undo").get_json()["index"]["index_method"] == "HNSW32"


def test_milvus_is_refused_where_there_is_no_server(client: FlaskClient, drinks: str, service: Services) -> None:
    made = client.post(URL, json={"name": "snacks", "index": {"index_method": "Milvus"}})
    assert (made.status_code, made.get_json()["code"]) == (409, "milvus_not_configured")
    changed = client.patch(f"{URL}/{drinks}", json={"index": {"index_method": "Milvus"}})
    assert (changed.status_code, changed.get_json()["code"]) == (409, "milvus_not_configured")
    assert service.galleries.names() == (drinks,)
    assert service.galleries.manifest(drinks).version == 2


@pytest.mark.parametrize("other", [{"dist_type": "hamming"}, {"fuse": True}])
def test_milvus_goes_with_floats_of_single_pictures(client: FlaskClient, drinks: str, other: dict[str, object]) -> None:
    answer = client.patch(f"{URL}/{drinks}", json={"index": {"index_method": "Milvus", **other}})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_request")
    with pytest.raises(ValueError, match="hamming"):
        IndexChoice(**{"index_method": "Milvus", **other})  # type: ignore[arg-type]


def test_pictures_are_fused_by_choice_and_stay(client: FlaskClient, drinks: str, service: Services) -> None:
    items = client.get(f"{URL}/{drinks}/items").get_json()["items"]
    report = client.patch(f"{URL}/{drinks}", json={"index": {"fuse": True, "fuse_by": "sku"}}).get_json()
    assert (report["version"], report["item_count"]) == (3, 4)
    assert (report["index"]["fuse"], report["index"]["fuse_by"], report["index"]["in_use"]) == (True, "sku", "Flat")
    assert client.get(f"{URL}/{drinks}/items").get_json()["items"] == items
    coded = client.patch(f"{URL}/{drinks}", json={"index": {"dist_type": "hamming", "fuse": True}}).get_json()["index"]
    assert (coded["fuse"], coded["in_use"], "fuse_by" in coded) == (True, "BFlat,R100", False)
    made = client.post(URL, json={"name": "snacks", "index": {"fuse": True}}).get_json()
    assert made["index"]["fuse"] is True
    assert service.galleries.manifest("snacks").index == IndexChoice(fuse=True).to_dict()
    client.post(f"{URL}/{drinks}/versions/2/activate")
    assert "fuse" not in client.get(f"{URL}/{drinks}").get_json()["index"]


@pytest.mark.parametrize(
    ("index", "pointer"),
    [
        ({"index_method": "hnsw"}, "/index/index_method"),
        ({"dist_type": "cosine"}, "/index/dist_type"),
        ({"rerank": 5}, "/index/rerank"),
        ({"dist_type": "hamming", "rerank": 1001}, "/index/rerank"),
        ({"dist_type": "hamming", "rerank": "5"}, "/index/rerank"),
        ({"method": "Flat"}, "/index/method"),
        ({"fuse": 1}, "/index/fuse"),
        ({"fuse": True, "index_method": "HNSW32"}, "/index/fuse"),
        ({"fuse_by": "sku"}, "/index/fuse_by"),
        ({"fuse": True, "fuse_by": "a b"}, "/index/fuse_by"),
    ],
)
def test_what_there_is_not_is_refused_at_creation_and_later(
    client: FlaskClient, drinks: str, index: dict[str, Any], pointer: str
) -> None:
    for answer in (
        client.post(URL, json={"name": "snacks", "index": index}),
        client.patch(f"{URL}/{drinks}", json={"index": index}),
    ):
        problem = refused(answer, 400, "invalid_request")
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert client.get(f"{URL}/{drinks}").get_json()["version"] == 2
    refused(client.get(f"{URL}/snacks"), 404, "gallery_not_found")


def test_every_mistake_is_named(client: FlaskClient, drinks: str) -> None:
    sent = {"index": {"index_method": "x", "dist_type": "y", "rerank": -1}, "name": "z"}
    problem = refused(client.patch(f"{URL}/{drinks}", json=sent), 400, "invalid_request")
    pointers = {error["pointer"] for error in problem["errors"]}
    assert pointers == {"/index/index_method", "/index/dist_type", "/index/rerank", "/name"}


def test_nothing_to_change_and_no_gallery(client: FlaskClient, drinks: str) -> None:
    refused(client.patch(f"{URL}/{drinks}", json={}), 400, "invalid_request")
    refused(client.patch(f"{URL}/nothing", json={"index": {}}), 404, "gallery_not_found")
