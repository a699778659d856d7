"""`filter=brand:x`: taken and kept wherever a photo is searched, and by the list of items; refused alike."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from infra.galleries.store import Item, item_id
from tests.web.conftest import EMBEDDER, Hand, recognition_result
from tests.web.pictures import picture
from tests.web.refusals import refused
from web.services import Services

FILTERS = ["brand:x", "url:http://a:80"]


def as_form(client: FlaskClient, filters: Any) -> Any:
    form = {"gallery": "drinks", "filter": filters, "image": (io.BytesIO(picture()), "a.jpg")}
    return client.post("/v1/recognitions", data=form)


def as_json(client: FlaskClient, filters: Any) -> Any:
    body = {"gallery": "drinks", "filter": filters, "image": {"url": "https://93.184.216.34/a.jpg"}}
    return client.post("/v1/recognitions", json=body)


def as_batch(client: FlaskClient, filters: Any) -> Any:
    images = [(io.BytesIO(picture(seed=seed)), f"{seed}.jpg") for seed in range(2)]
    return client.post("/v1/batches", data={"gallery": "drinks", "filter": filters, "images": images})


WAYS = [as_form, as_json, as_batch]


@pytest.mark.parametrize("ask", WAYS)
def test_they_are_kept_with_the_job(client: FlaskClient, drinks: str, service: Services, ask: Any) -> None:
    taken = ask(client, FILTERS)
    assert taken.status_code == 202, taken.text
    report = taken.get_json()
    assert report["request"]["filter"] == FILTERS
    ids = [one["id"] for one in report["jobs"]] if "jobs" in report else [report["id"]]
    assert [service.ledger.get(one).request["filter"] for one in ids] == [FILTERS] * len(ids)
    assert ask(client, "brand:x").get_json()["request"]["filter"] == ["brand:x"]  # one alone
    assert "filter" not in ask(client, []).get_json()["request"]


@pytest.mark.parametrize("ask", WAYS)
def test_what_is_no_filter_is_refused_and_each_is_named(client: FlaskClient, drinks: str, ask: Any) -> None:
    problem = refused(ask(client, ["brand", "brand:x", "a b:x"]), 400, "filter_invalid")
    assert [error["pointer"] for error in problem["errors"]] == ["/filter/0", "/filter/2"]
    assert "no colon" in problem["detail"]
    refused(ask(client, [f"a:{number}" for number in range(33)]), 400, "invalid_request")


def test_json_takes_texts_alone(client: FlaskClient, drinks: str) -> None:
    for sent in ({"brand": "x"}, [1], 5):
        refused(as_json(client, sent), 400, "invalid_request")


def test_a_comparison_takes_over_the_old_jobs_or_its_own(client: FlaskClient, drinks: str, hand: Hand) -> None:
    old = as_form(client, FILTERS).get_json()
    hand.finish(old["id"], recognition_result())
    url = f"{old['links']['self']}/compare"
    assert client.post(url, json={}).get_json()["request"]["filter"] == FILTERS
    assert client.post(url, json={"filter": ["brand:y"]}).get_json()["request"]["filter"] == ["brand:y"]
    assert "filter" not in client.post(url, json={"filter": []}).get_json()["request"]
    refused(client.post(url, json={"filter": ["brand"]}), 400, "filter_invalid")


@pytest.fixture
def tagged(service: Services) -> list[Item]:
    """The gallery "tagged" of six items of two brands."""
    service.galleries.create("tagged")
    items = []
    for number in range(6):
        key = service.objects.put_image(picture(seed=number))
        sha256, label = key.rpartition("/")[2], f"label {number % 2}"
        metadata = {"brand": "xy"[number % 2], "size": str(number)} if number < 5 else {}
        items.append(Item(item_id(sha256, label), label, key, sha256, None, "2026-01-01T00:00:00Z", metadata))
    service.galleries.add("tagged", items, np.eye(6, 8, dtype=np.float32), EMBEDDER)
    return items


def test_items_are_listed_by_them(client: FlaskClient, tagged: list[Item]) -> None:
    url = "/v1/galleries/tagged/items"

    def listed(query: str) -> list[str]:
        return [one["id"] for one in client.get(f"{url}?{query}").get_json()["items"]]

    assert listed("filter=brand:x") == [tagged[at].id for at in (0, 2, 4)]
    assert listed("filter=brand:x&filter=size:2") == [tagged[2].id]
    assert listed("filter=brand:x&label=label 1") == []
    assert listed("filter=nothing:x") == []
    first = client.get(f"{url}?filter=brand:x&limit=2").get_json()
    assert (first["total"], len(first["items"])) == (3, 2)
    assert listed(f"filter=brand:x&limit=2&after={first['next_after']}") == [tagged[4].id]
    problem = refused(client.get(f"{url}?filter=brand&filter=:x"), 400, "filter_invalid")
    assert len(problem["errors"]) == 2
