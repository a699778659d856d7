"""Liveness, readiness and metrics."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from contracts.errors import ServiceError
from infra.errors.service import BucketMissing, StorageRefused, StorageUnreachable
from infra.redis.client import connect
from infra.runtime.settings import Settings
from tests.web.conftest import Hand, recognition_result
from web.app import create_app
from web.services import EXTENSION, Services


def test_the_process_lives(client: FlaskClient) -> None:
    assert client.get("/healthz").get_json() == {"status": "ok"}


def test_ready_means_that_a_worker_with_models_takes_tasks(client: FlaskClient, service: Services) -> None:
    presence = service.ledger.presence
    response = client.get("/readyz")
    assert response.status_code == 503
    checks = response.get_json()["checks"]
    assert checks["redis"]["ok"]
    assert checks["objects"]["ok"]
    assert not checks["workers"]["ok"]
    presence.worker_ready("worker-1", {"engine": "openvino"}, ttl_s=30)
    assert client.get("/readyz").status_code == 503  # it lives, but has taken nothing
    presence.consumed("recognize")
    response = client.get("/readyz")
    assert response.status_code == 200
    assert response.get_json()["status"] == "ready"
    presence.worker_gone("worker-1")
    assert client.get("/readyz").status_code == 503


def test_a_broken_store_is_reported(client: FlaskClient, service: Services) -> None:
    blocked = service.settings.data_dir / "objects" / "health"
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("a file where the folder should be")
    response = client.get("/readyz")
    assert response.status_code == 503
    check = response.get_json()["checks"]["objects"]
    assert not check["ok"]
    assert str(service.settings.data_dir) not in check["detail"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StorageUnreachable, "storage_unreachable"),
        (StorageRefused, "storage_refused"),
        (BucketMissing, "bucket_missing"),
    ],
)
def test_readiness_says_the_code_of_what_is_wrong_with_the_store(
    client: FlaskClient, service: Services, monkeypatch: pytest.MonkeyPatch, error: type[ServiceError], code: str
) -> None:
    def fail(*_: object) -> None:
        raise error("Not now.")

    monkeypatch.setattr(service.objects, "put", fail)
    assert client.get("/readyz").get_json()["checks"]["objects"] == {"ok": False, "detail": "Not now.", "code": code}


def test_without_redis_the_process_lives_and_is_not_ready(client: FlaskClient, service: Services) -> None:
    gone = connect("unix:///nonexistent/redis.sock")
    lost = replace(service, redis=gone, ledger=type(service.ledger)(gone, service.settings.jobs))
    client.application.extensions["shitu"] = lost
    assert client.get("/healthz").status_code == 200
    response = client.get("/readyz")
    assert response.status_code == 503
    assert not response.get_json()["checks"]["redis"]["ok"]
    assert "nonexistent" not in response.text
    assert "shitu_redis_up 0.0" in client.get("/metrics").text


@pytest.fixture
def metrics(client: FlaskClient, service: Services, hand: Hand) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    request = {"gallery": "drinks", "image": {"key": "images/00/00"}, "options": {}}
    first, _ = (service.ledger.create("recognition", request) for _ in range(2))
    hand.finish(first.id, recognition_result())
    client.get("/v1/galleries/nothing")
    client.open("/nowhere", method="INVENTED")
    text = client.get("/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


def test_metrics_say_of_the_ledger_and_of_requests_by_route(
    metrics: dict[tuple[str, tuple[tuple[str, str], ...]], float],
) -> None:
    assert metrics["shitu_jobs", (("status", "queued"),)] == 1
    assert metrics["shitu_jobs_finished_total", (("kind", "recognition"), ("status", "succeeded"))] == 1
    name = "shitu_http_request_duration_seconds_count"
    assert metrics[name, (("method", "GET"), ("route", "/v1/galleries/<name>"), ("status", "404"))] >= 1
    assert metrics[name, (("method", "unknown"), ("route", "unknown"), ("status", "404"))] >= 1


def test_a_service_that_scales_to_zero_is_ready_without_a_worker(settings: Settings) -> None:
    app = create_app(replace(settings, scaling=replace(settings.scaling, least=0)))
    client, ledger = app.test_client(), app.extensions[EXTENSION].ledger
    assert client.get("/readyz").status_code == 200
    ledger.create("recognition", {"gallery": "drinks"})
    answer = client.get("/readyz")
    assert (answer.status_code, answer.get_json()["checks"]["workers"]["detail"]) == (200, "A worker is being started.")
    ledger._now = lambda: time.time() + 100
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "no worker was started" in answer.get_json()["checks"]["workers"]["detail"]
