"""Galleries that are searched by a built index, by codes and by filters, with real processes."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.e2e.service import Service, encode, pattern

AT_ONCE, TIMES = 8, 17  # the files of sixteen additions are joined: one of 100 items or more gets the index
WITHIN_S = 90.0
OPTIONS = '{"boxes": [[0, 0, 160, 160]], "min_precision": 0.5, "verify": "never"}'


@pytest.mark.slow
def test_a_chosen_index_is_built_while_exact_search_serves_and_filters_hold(service: Service) -> None:
    url = f"{service.base_url}/v1/galleries"
    made = service.http.post(url, json={"name": "indexed", "index": {"index_method": "HNSW32"}}, timeout=10)
    assert made.status_code == 201, made.text
    for start in range(0, AT_ONCE * TIMES, AT_ONCE):
        enrolled(service, list(range(start, start + AT_ONCE)))
        if start == 0:
            check_filters(service)  # searched exactly
    assert built(service)["in_use"] == "HNSW32_SQ8,RFlat"
    check_filters(service)  # whether or not the worker has it yet
    enrolled(service, [1000])
    assert nearest(service, 1000) == "pattern 1000"
    gone = service.http.delete(f"{url}/indexed/items", params={"label": "pattern 4"}, timeout=10)
    assert gone.status_code == 200
    assert gone.json()["index"]["state"] == "built"
    assert nearest(service, 4) != "pattern 4"
    service.http.post(f"{url}/indexed/undo", timeout=10)
    changed = service.http.patch(f"{url}/indexed", json={"index": {"dist_type": "hamming"}}, timeout=10)
    assert changed.json()["index"]["in_use"] == "BFlat,R100"
    check_filters(service)
    fused = service.http.patch(f"{url}/indexed", json={"index": {"fuse": True}}, timeout=10)
    assert fused.json()["index"]["fuse"] is True
    check_filters(service)
    enrolled(service, [1001])
    assert nearest(service, 1001) == "pattern 1001"


def check_filters(service: Service) -> None:
    assert nearest(service, 4) == "pattern 4"
    assert nearest(service, 4, filter="brand:x") == "pattern 4"
    assert nearest(service, 4, filter="brand:y") not in {"pattern 4", None}
    assert nearest(service, 4, filter=["brand:x", "brand:y"]) is None


def enrolled(service: Service, seeds: list[int]) -> None:
    """Adds a picture for each seed, of two brands in turn."""
    fields = {
        "labels": [f"pattern {seed}" for seed in seeds],
        "item_metadata": json.dumps([{"brand": "xy"[seed % 2]} for seed in seeds]),
    }
    files = [("images", (f"{seed}.png", encode(pattern(seed)))) for seed in seeds]
    sent = service.http.post(f"{service.base_url}/v1/galleries/indexed/items", data=fields, files=files, timeout=60)
    assert service.finished(service.accepted(sent))["status"] == "succeeded"


def nearest(service: Service, seed: int, **fields: Any) -> str | None:
    """The label of the nearest item, whatever it is worth; None where nothing was searched."""
    sent = {"gallery": "indexed", "options": OPTIONS, **fields}
    photo = encode(pattern(seed), quality=80)
    answer = service.http.post(
        f"{service.base_url}/v1/recognitions", data=sent, files={"image": ("a.jpg", photo)}, timeout=30
    )
    job = service.finished(service.accepted(answer))
    assert job["status"] == "succeeded", job["error"]
    found = [*job["result"]["recognitions"], *job["result"]["dropped"]]
    matches = [match for one in found for match in one["matches"]]
    return str(matches[0]["label"]) if matches else None


def built(service: Service) -> dict[str, Any]:
    """How the gallery is searched once its index is built."""
    deadline = time.monotonic() + WITHIN_S
    while (index := service.get("/v1/galleries/indexed")["index"])["state"] != "built":
        assert time.monotonic() < deadline, index
        time.sleep(0.1)
    return dict(index)
