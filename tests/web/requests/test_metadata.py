"""What users attach to jobs and items comes back where they look, and stays within its limits."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from infra.galleries.files import Segment, decode_items, encode_items
from infra.galleries.store import Item, item_id
from models.galleries.gallery import Match
from tests.web.conftest import EMBEDDER, Hand, recognition_result
from tests.web.pictures import picture
from tests.web.refusals import refused
from web.services import Services

URL = "/v1/recognitions"


def form(**fields: Any) -> dict[str, Any]:
    return {"gallery": "drinks", "image": (io.BytesIO(picture()), "a.jpg"), **fields}


def test_a_jobs_metadata_comes_back_in_every_answer(client: FlaskClient, drinks: str, hand: Hand) -> None:
    report = {"order": "4711", "shop.name": "Übersee 茶"}
    job = client.post(URL, data=form(metadata=json.dumps(report))).get_json()
    assert job["metadata"] == report
    hand.finish(job["id"], recognition_result())
    assert client.get(job["links"]["self"]).get_json()["metadata"] == report
    assert '"order": "4711"' in client.get(job["links"]["events"]).text
    body = {"gallery": "drinks", "image": {"url": "https://93.184.216.34/a.jpg"}, "metadata": report}
    assert client.post(URL, json=body).get_json()["metadata"] == report
    assert client.post(URL, data=form()).get_json()["metadata"] == {}


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"a b": "x"}, "a b: a name has"),
        ({"": "x"}, "a name has"),
        ({"a": 1, "b": None}, "a: a value must be a string; b: a value"),
        ({"a": "x" * 501}, "at most 500"),
        ({f"k{number}": "" for number in range(33)}, "at most 32 entries"),
        (["a"], "JSON object"),
    ],
)
def test_what_breaks_the_limits_is_refused(client: FlaskClient, drinks: str, metadata: Any, said: str) -> None:
    problem = refused(client.post(URL, data=form(metadata=json.dumps(metadata))), 400, "invalid_request")
    assert said in problem["detail"]
    assert problem["errors"][0]["pointer"] == "/metadata"
    body = {"gallery": "drinks", "image": {"url": "https://93.184.216.34/a.jpg"}, "metadata": metadata}
    assert said in refused(client.post(URL, json=body), 400, "invalid_request")["detail"]


def test_items_carry_their_own(client: FlaskClient, drinks: str) -> None:
    def send(**fields: Any) -> Any:
        images = [(io.BytesIO(picture(seed=seed)), f"{seed}.jpg") for seed in (5, 6)]
        return client.post(f"/v1/galleries/{drinks}/items", data={"images": images, "labels": "tea", **fields})

    one = send(item_metadata='{"brand": "x"}', metadata='{"by": "me"}').get_json()
    assert [item["metadata"] for item in one["request"]["items"]] == [{"brand": "x"}] * 2
    assert one["metadata"] == {"by": "me"}
    each = send(item_metadata='[{"brand": "x"}, {}]').get_json()
    assert [item.get("metadata") for item in each["request"]["items"]] == [{"brand": "x"}, None]
    problem = refused(send(item_metadata="[{}]"), 400, "invalid_request")
    assert problem["errors"][0]["pointer"] == "/item_metadata"
    refused(send(item_metadata='[{"a": 1}, {}]'), 400, "invalid_request")


def test_it_is_kept_in_the_gallery_and_reported_in_matches(client: FlaskClient, service: Services, drinks: str) -> None:
    sha256 = "e" * 64
    item = Item(item_id(sha256, "tea"), "tea", "images/ee/e", sha256, None, "2026-01-01T00:00:00Z", {"brand": "x"})
    service.galleries.add(drinks, [item], np.eye(8, dtype=np.float32)[7:], EMBEDDER)
    listed = client.get(f"/v1/galleries/{drinks}/items").get_json()["items"]
    assert [one["metadata"] for one in listed] == [{}, {}, {}, {}, {"brand": "x"}]
    assert Match(item, 0.5).to_dict()["metadata"] == {"brand": "x"}
    assert "metadata" not in Match(service.galleries.items(drinks)[0], 0.5).to_dict()


def test_rows_from_before_there_was_metadata_still_read() -> None:
    sha256 = "e" * 64
    plain = Item(item_id(sha256, "tea"), "tea", "images/ee/e", sha256, None, "2026-01-01T00:00:00Z")
    data = encode_items([plain])
    assert b"metadata" not in data  # the rows of most galleries are as they were
    segment = Segment("1-1", 1, hashlib.sha256(data).hexdigest(), "")
    assert decode_items("drinks", segment, data) == (plain,)
