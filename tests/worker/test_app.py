"""Worker processes as the launcher starts them: the courier without networks, and one whose models are not there."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from infra.jobs.ledger import JobLedger, open_ledger
from infra.jobs.queue import Queue, make_celery
from infra.runtime.settings import Settings, WebhookSettings
from infra.stack.commands import courier_command, worker_command
from tests.infra.local_servers import serving

REQUEST = {"gallery": "drinks", "image": {"key": "images/00/00"}, "options": {}}
NETWORKS = ("openvino", "libpaddle", "onnxruntime", "faiss", "cv2")


@contextmanager
def running(command: tuple[str, ...], settings: Settings, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process, as a child of this one; killed at the end if it still runs."""
    with log.open("wb") as output:
        child = subprocess.Popen(command, env={**os.environ, **settings.to_env()}, stdout=output, stderr=output)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@pytest.fixture
def ledger(settings: Settings) -> JobLedger:
    return open_ledger(settings)


def test_a_courier_delivers_and_loads_no_network(settings: Settings, ledger: JobLedger, tmp_path: Path) -> None:
    settings = dataclasses.replace(
        settings, webhooks=WebhookSettings(settings.webhooks.secret, allowed_hosts=("127.0.0.1",))
    )
    log = tmp_path / "courier.log"
    with serving() as receiver, running(courier_command(settings), settings, log) as courier:
        receiver.paths["/hook"] = (204, {}, b"")
        job = ledger.create("recognition", REQUEST, receiver.url("/hook"))
        lease = ledger.start(job.id)
        assert lease is not None
        ledger.succeed(lease, {})
        webhook = ledger.get(job.id).webhook
        assert webhook is not None
        assert webhook.delivery_id is not None
        queue = Queue(make_celery(settings))
        queue.deliver(webhook.delivery_id)
        queue.deliver(webhook.delivery_id)  # messages may come twice
        queue.canary("deliver")
        wait_for(lambda: status(ledger, job.id) == "delivered", log)
        assert len(receiver.requests) == 1
        assert receiver.requests[0][2]["webhook-id"] == webhook.delivery_id
        wait_for(lambda: "deliver" in ledger.presence.consumed_age_s(), log)
        loaded = Path(f"/proc/{courier.pid}/maps").read_text()
        assert not [name for name in NETWORKS if name in loaded]
        assert ledger.presence.workers() == ()  # a process that wants models is not sent to a courier
        courier.send_signal(signal.SIGTERM)
        assert courier.wait(15) == 0
    assert "shitu.deliver[" in log.read_text()
    assert "shitu.canary[" not in log.read_text()  # one every few seconds is no news


def test_a_courier_fetches_pictures_and_silent_hosts_hold_no_webhook_up(
    settings: Settings, ledger: JobLedger, redis_client: redis.Redis, tmp_path: Path
) -> None:
    settings = dataclasses.replace(
        settings,
        webhooks=WebhookSettings(settings.webhooks.secret, allowed_hosts=("127.0.0.1",), concurrency=2),
        web=dataclasses.replace(settings.web, allowed_hosts=("127.0.0.1",), url_timeout_s=60, url_concurrency=5),
    )
    log = tmp_path / "courier.log"
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        serving() as server,
        running(courier_command(settings), settings, log),
    ):
        server.paths["/hook"] = (204, {}, b"")
        server.paths["/a.jpg?key=s3cret"] = (200, {}, b"picture")
        queue = Queue(make_celery(settings))
        silence = f"http://127.0.0.1:{silent.getsockname()[1]}/a.jpg"
        for url in [silence] * 4 + [server.url("/a.jpg?key=s3cret")]:
            job = ledger.create("recognition", REQUEST, server.url("/hook"), url)
            queue.fetch(job.id)
        wait_for(lambda: ledger.get(job.id).source_url is None, log)
        wait_for(lambda: redis_client.llen("shitu:queue:recognize") == 1, log)
        lease = ledger.start(job.id)
        assert lease is not None
        ledger.succeed(lease, {})
        webhook = ledger.get(job.id).webhook
        assert webhook is not None
        queue.deliver(str(webhook.delivery_id))
        wait_for(lambda: status(ledger, job.id) == "delivered", log)
        assert ledger.stats().processing == 4  # the silent ones still have their time
    assert b"s3cret" not in server.requests[-1][3]  # nor does the webhook's receiver get the URL
    assert "s3cret" not in log.read_text()


def test_a_worker_without_its_models_ends_instead_of_taking_jobs(settings: Settings, tmp_path: Path) -> None:
    nowhere = dataclasses.replace(settings.worker, embedder=str(tmp_path / "nowhere"), detector="none")
    settings = dataclasses.replace(settings, worker=nowhere)
    log = tmp_path / "worker.log"
    with running(worker_command(settings), settings, log) as worker:
        assert worker.wait(60) != 0, log.read_text()
    assert "this worker cannot be opened" in log.read_text()


def test_settings_choose_the_pool(settings: Settings) -> None:
    chosen = [
        {"ENGINE": "openvino", "CONCURRENCY": "3", "POOL": "auto"},
        {"ENGINE": "paddle", "CONCURRENCY": "2", "POOL": "auto"},
        {"ENGINE": "paddle", "CONCURRENCY": "1", "POOL": "solo"},
    ]
    code = """
import importlib, json, os, sys
for chosen in json.loads(sys.argv[1]):
    os.environ |= {f"SHITU_WORKER__{name}": value for name, value in chosen.items()}
    app = importlib.reload(importlib.import_module("worker.app"))
    print(app.app.conf.worker_pool, app.app.conf.worker_concurrency)
"""
    printed = subprocess.run(
        [sys.executable, "-c", code, json.dumps(chosen)],
        env={**os.environ, **settings.to_env()}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert printed.splitlines() == ["threads 3", "prefork 2", "solo 1"]


def status(ledger: JobLedger, job_id: str) -> str | None:
    """How far the job's webhook has come."""
    webhook = ledger.get(job_id).webhook
    return webhook.status if webhook else None


def wait_for(condition: Callable[[], bool], log: Path, timeout_s: float = 30) -> None:
    """Returns once `condition` holds; fails after `timeout_s` seconds with what the process wrote."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
