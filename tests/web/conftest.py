"""An application on the tests' real Redis, and a hand that does the worker's part through the ledger's own API."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask, Response, request
from flask.testing import FlaskClient

from infra.galleries.store import Item, item_id
from infra.jobs.ledger import JobLedger, open_ledger
from infra.redis.client import connect
from infra.redis.server import RedisServer
from infra.runtime.settings import Settings, load_settings
from tests.web.pictures import picture
from tests.web.serving import UPLOAD_S, serving
from web.app import create_app
from web.routes import description
from web.services import EXTENSION, Services

EMBEDDER = "a" * 64
SMALL: dict[str, Any] = {"max_body_bytes": 200_000, "threads": 8}


@pytest.fixture
def app(settings: Settings) -> Iterator[Flask]:
    """The application; every answer that it gives during a test must be described in /openapi.json, errors by their code."""
    made = create_app(settings)
    undescribed: list[str] = []

    @made.after_request
    def compare(response: Response) -> Response:
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", request.url_rule.rule) if request.url_rule else ""
        operation = description()["paths"].get(path, {}).get(request.method.lower())
        if operation is not None:
            described = operation["responses"].get(str(response.status_code), {"description": ""})
            code = response.get_json()["code"] if response.mimetype == "application/problem+json" else ""
            if not described["description"] or (code and f"`{code}`" not in described["description"]):
                undescribed.append(f"{request.method} {path}: {response.status_code} {code}")
        return response

    yield made
    assert undescribed == []


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def service(app: Flask) -> Services:
    found = app.extensions[EXTENSION]
    assert isinstance(found, Services)
    return found


@pytest.fixture
def drinks(service: Services) -> str:
    """A gallery of four pictures: two labels, two of each."""
    fill_gallery(service, "drinks", ["tea", "tea", "cola", "cola"])
    return "drinks"


def fill_gallery(service: Services, name: str, labels: list[str]) -> tuple[Item, ...]:
    """A gallery with a noisy picture for each label, written as the worker writes it."""
    service.galleries.create(name)
    items = []
    for position, label in enumerate(labels):
        key = service.objects.put_image(picture(seed=position))
        sha256 = key.rpartition("/")[2]
        items.append(Item(item_id(sha256, label), label, key, sha256, box=None, added_at="2026-01-01T00:00:00Z"))
    embeddings = np.eye(len(items), 8, dtype=np.float32)
    service.galleries.add(name, items, embeddings, EMBEDDER)
    return tuple(items)


@dataclass(frozen=True)
class Hand:
    """Does what a worker would do with the ledger."""

    ledger: JobLedger

    def finish(self, job_id: str, result: dict[str, Any]) -> None:
        lease = self.ledger.start(job_id)
        assert lease is not None
        assert self.ledger.succeed(lease, result)

    def fail(self, job_id: str, code: str) -> None:
        lease = self.ledger.start(job_id)
        assert lease is not None
        assert self.ledger.fail(lease, {"code": code, "message": "It could not be done.", "retryable": False})


@pytest.fixture
def hand(service: Services) -> Hand:
    return Hand(service.ledger)


def recognition_result(gallery: str = "drinks", **changes: Any) -> dict[str, Any]:
    """A result as the worker writes it: one object recognised, two dropped."""
    match = {"label": "tea", "similarity": 0.91, "item_id": "itm_0", "image_key": "images/00/00"}
    other = {"label": "cola", "similarity": 0.42, "item_id": "itm_2", "image_key": "images/00/01"}
    guesses = [{**match, "probability": 0.97}, {**other, "probability": 0.31}]
    return {
        "image": {"width": 640, "height": 480},
        "gallery": {"name": gallery, "version": 2, "items": 4},
        "models": {
            "detector": {"name": "shitu-detector", "digest": "d" * 64, "engine": "openvino", "precision": "fp32"},
            "embedder": {"name": "shitu-embedder", "digest": EMBEDDER, "engine": "openvino", "precision": "fp32"},
        },
        "recognitions": [
            {
                "box": [60, 90, 260, 420],
                "confidence": 0.93,
                "source": "detection",
                "label": "tea",
                "similarity": 0.91,
                "probability": 0.97,
                "matches": [match, other],
                "candidates": guesses,
                "verification": {
                    "inliers": 23,
                    "points": [[0.15, 0.3, 0.4, 0.2], [0.3, 0.7, 0.7, 0.8]],
                    "item_id": "itm_0",
                    "item_box": None,
                },
            }
        ],
        "dropped": [
            {
                "box": [400, 120, 560, 400],
                "confidence": 0.51,
                "source": "detection",
                "reason": "below_min_precision",
                "matches": [other],
                "candidates": guesses[1:],
                "verification": {"inliers": 0, "points": [], "item_id": None, "item_box": None},
            },
            {
                "box": [62, 95, 255, 400],
                "confidence": 0.62,
                "source": "detection",
                "reason": "suppressed",
                "matches": [match],
                "candidates": guesses[:1],
                "verification": None,
                "suppressed_by": [60, 90, 260, 420],
            },
        ],
        "reason": None,
        "decision": {
            "min_precision": 0.9,
            "probability_threshold": 0.62,
            "similarity_threshold": None,
            "calibration": "gallery",
            "calibration_queries": 40,
            "verify": "auto",
            "verified": 1,
        },
        "timings_ms": {
            "fetch": 1.2,
            "decode": 6.0,
            "detect": 21.5,
            "crop": 0.3,
            "embed": 17.8,
            "search": 0.1,
            "total": 47.1,
        },
        **changes,
    }


@pytest.fixture
def small(settings: Settings) -> Settings:
    return replace(settings, web=replace(settings.web, **SMALL))


@dataclass(frozen=True)
class Served:
    """A web process for all tests of a file: starting one takes longer than most of them."""

    url: str
    log: Path


@contextlib.contextmanager
def served_to_all(server: RedisServer, folder: Path, **web: Any) -> Iterator[Served]:
    """A web process with the limits of `small` and a data folder of its own, on the tests' Redis."""
    client = connect(server.url)
    client.flushall()  # a Redis belongs to one installation
    client.close()
    settings = load_settings({"REDIS_URL": server.url, "SHITU_DATA_DIR": str(folder / "data")})
    changed = replace(settings, web=replace(settings.web, **SMALL, **web))
    with serving(changed, folder / "web.log") as url:
        yield Served(url, folder / "web.log")


@pytest.fixture(scope="module")
def shared(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_to_all(redis_server, tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture(scope="module")
def hasty(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that gives an upload little time."""
    folder = tmp_path_factory.mktemp("hasty")
    with served_to_all(redis_server, folder, upload_timeout_s=UPLOAD_S) as served:
        yield served


@pytest.fixture
def base_url(shared: Served, redis_url: str) -> str:
    """The file's server, its Redis emptied."""
    assert redis_url
    return shared.url


@pytest.fixture
def hasty_url(hasty: Served, redis_url: str) -> str:
    """The file's hasty server, its Redis emptied."""
    assert redis_url
    return hasty.url


@pytest.fixture
def own_url(small: Settings, tmp_path: Path) -> Iterator[str]:
    """A server of the test's own, for one that counts its threads."""
    with serving(small, tmp_path / "web.log") as url:
        yield url


@pytest.fixture
def ledger(small: Settings) -> JobLedger:
    return open_ledger(small)
