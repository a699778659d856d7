"""Several galleries in one request, in a form and in JSON."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from infra.galleries.store import Item, item_id
from tests.web.conftest import fill_gallery
from tests.web.pictures import picture
from web.services import Services


@pytest.fixture
def snacks(service: Services) -> str:
    fill_gallery(service, "snacks", ["crisps"])
    return "snacks"


def ask(client: FlaskClient, names: list[str], *, as_json: bool) -> Any:
    if as_json:
        image = {"base64": base64.b64encode(picture()).decode()}
        return client.post("/v1/recognitions", json={"galleries": names, "image": image})
    return client.post("/v1/recognitions", data={"gallery": names, "image": (io.BytesIO(picture()), "a.jpg")})


@pytest.mark.parametrize("as_json", [False, True])
def test_all_are_in_the_job_and_the_first_stands_for_them(
    client: FlaskClient, drinks: str, snacks: str, as_json: bool
) -> None:
    taken = ask(client, [snacks, drinks], as_json=as_json)
    assert taken.status_code == 202
    request = taken.get_json()["request"]
    assert (request["gallery"], request["galleries"]) == (snacks, [snacks, drinks])
    alone = ask(client, [drinks], as_json=as_json).get_json()["request"]
    assert alone["gallery"] == drinks
    assert "galleries" not in alone


@pytest.mark.parametrize("as_json", [False, True])
def test_what_is_wrong_with_them_is_reported(client: FlaskClient, drinks: str, as_json: bool) -> None:
    unknown = ask(client, [drinks, "nothing"], as_json=as_json)
    assert (unknown.status_code, unknown.get_json()["code"]) == (404, "gallery_not_found")
    twice = ask(client, [drinks, drinks], as_json=as_json)
    assert (twice.status_code, twice.get_json()["code"]) == (400, "invalid_request")
    assert "drinks is named twice" in twice.get_json()["detail"]
    assert ask(client, [f"g{n}" for n in range(11)], as_json=as_json).status_code == 400


def test_one_of_both_names_is_needed(client: FlaskClient, drinks: str) -> None:
    image = {"base64": base64.b64encode(picture()).decode()}
    for body in ({}, {"gallery": drinks, "galleries": [drinks]}, {"galleries": []}):
        refused = client.post("/v1/recognitions", json={"image": image, **body})
        assert refused.status_code == 400
        assert len(refused.get_json()["errors"]) == 1, refused.get_json()


@pytest.mark.parametrize("as_json", [False, True])
def test_galleries_of_different_embedders_are_refused_by_name_unless_a_worker_has_all(
    client: FlaskClient, service: Services, drinks: str, as_json: bool
) -> None:
    service.galleries.create("foreign")
    key = service.objects.put_image(picture(seed=7))
    sha256 = key.rpartition("/")[2]
    item = Item(item_id(sha256, "x"), "x", key, sha256, box=None, added_at="2026-01-01T00:00:00Z")
    service.galleries.add("foreign", [item], np.eye(1, 8, dtype=np.float32), "b" * 64)
    both = {"models": {"embedder": {"name": "a", "digest": "a" * 64}}, "embedders": [{"name": "b", "digest": "b" * 64}]}
    service.ledger.presence.worker_ready("one", {**both, "embedders": []}, ttl_s=60)
    refused = ask(client, [drinks, "foreign"], as_json=as_json)
    assert (refused.status_code, refused.get_json()["code"]) == (409, "embedder_mismatch")
    assert "drinks by aaaaaaaaaaaa; foreign by bbbbbbbbbbbb" in refused.get_json()["detail"]
    service.ledger.presence.worker_ready("two", both, ttl_s=60)
    assert ask(client, [drinks, "foreign"], as_json=as_json).status_code == 202
    for name in ("one", "two"):  # who knows what comes
        service.ledger.presence.worker_gone(name)
    assert ask(client, [drinks, "foreign"], as_json=as_json).status_code == 202
