"""The keeper's rounds on a real Redis, and the keeper as a process through an outage."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from infra.jobs.ledger import JobLedger
from infra.jobs.photos import Photos
from infra.jobs.queue import Queue
from infra.jobs.records import JobStatus
from infra.net.webhook_keys import new_secret, unsealed
from infra.objects.opening import open_store
from infra.redis.client import connect
from infra.redis.server import RedisServer
from infra.runtime.settings import JobSettings, Settings, load_settings
from tests.infra.jobs.hooks import registered
from worker.keeper import LEADER_KEY, LEADER_ROUNDS, Keeper
from worker.process import Process

REQUEST = {"gallery": "drinks", "image": {"key": "images/00/00"}, "options": {}}


@pytest.fixture
def keeper(process: Process, redis_client: redis.Redis) -> Keeper:
    return Keeper(process.settings, redis_client, process.ledger, process.queue)


def messages(client: redis.Redis, queue: str) -> list[str]:
    """The tasks waiting in `queue`, as `name[arguments]`."""
    headers = [json.loads(str(message))["headers"] for message in client.lrange(f"shitu:queue:{queue}", 0, -1)]
    return [header["task"] + header["argsrepr"] for header in headers]


def test_a_job_whose_message_was_lost_is_published_again(
    process: Process, keeper: Keeper, redis_client: redis.Redis
) -> None:
    job_id = process.ledger.create("recognition", REQUEST).id
    keeper.round()
    assert not [name for name in messages(redis_client, "recognize") if job_id in name]  # not overdue yet
    lease = process.ledger.start(job_id)
    assert lease is not None
    wait_for(lambda: job_id in process.ledger.sweeper.overdue())  # its worker died: the lease lapses
    keeper.round()
    assert f"shitu.recognize['{job_id}']" in messages(redis_client, "recognize")


def test_a_due_webhook_is_handed_over_once(process: Process, keeper: Keeper, redis_client: redis.Redis) -> None:
    job = process.ledger.create("recognition", REQUEST, "http://127.0.0.1:9/hook")
    lease = process.ledger.start(job.id)
    assert lease is not None
    process.ledger.succeed(lease, {})
    wait_for(lambda: keeper.round() and redis_client.llen("shitu:queue:deliver") > 0)
    keeper.round()
    webhook = process.ledger.get(job.id).webhook
    assert webhook is not None
    delivered = [name for name in messages(redis_client, "deliver") if "canary" not in name]
    assert delivered == [f"shitu.deliver['{webhook.delivery_id}']"]


def test_canaries_do_not_pile_up_without_workers(keeper: Keeper, redis_client: redis.Redis) -> None:
    for _ in range(3):
        keeper._canary_at = 0
        keeper.round()
    assert messages(redis_client, "recognize") == ["shitu.canary['recognize']"]
    assert messages(redis_client, "deliver") == ["shitu.canary['deliver']"]


def test_expired_jobs_are_retired(process: Process, redis_client: redis.Redis) -> None:
    jobs = dataclasses.replace(process.settings.jobs, retention_s=0.01)
    ledger = JobLedger(redis_client, jobs)
    keeper = Keeper(dataclasses.replace(process.settings, jobs=jobs), redis_client, ledger, process.queue)
    job_id = ledger.create("recognition", REQUEST).id
    lease = ledger.start(job_id)
    assert lease is not None
    ledger.succeed(lease, {})
    time.sleep(0.02)
    keeper.round()
    assert not redis_client.exists(f"shitu:job:{job_id}")


def test_one_keeper_leads_and_another_takes_over(process: Process, redis_client: redis.Redis) -> None:
    first = Keeper(process.settings, redis_client, process.ledger, process.queue)
    second = Keeper(process.settings, redis_client, process.ledger, process.queue)
    assert first.round()
    assert not second.round()
    stop = threading.Event()
    stop.set()
    first.run(stop)  # ends at once, and resigns
    assert second.round()
    assert not first.round()


def test_a_dead_leader_is_replaced_when_its_lock_lapses(process: Process, redis_client: redis.Redis) -> None:
    first = Keeper(process.settings, redis_client, process.ledger, process.queue)
    second = Keeper(process.settings, redis_client, process.ledger, process.queue)
    assert first.round()  # and then nothing more of it
    left_ms = redis_client.pttl(LEADER_KEY)
    assert 0 < left_ms <= 1000 * max(1.0, LEADER_ROUNDS * process.settings.jobs.sweep_interval_s)
    assert not second.round()
    redis_client.pexpire(LEADER_KEY, 50)
    wait_for(second.round)
    assert not first.round()  # it was only slow: it leads no more


def test_a_leader_that_lost_its_lock_in_mid_round_takes_no_further_step(
    process: Process, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = process.ledger.create("recognition", REQUEST, "http://127.0.0.1:9/hook")
    lease = process.ledger.start(job.id)
    assert lease is not None
    process.ledger.succeed(lease, {})
    wait_for(lambda: bool(process.ledger.deliveries.due()))
    keeper = Keeper(process.settings, redis_client, process.ledger, process.queue)
    sweep = process.ledger.sweeper.sweep

    def slow_sweep(queue: Queue) -> object:
        swept = sweep(queue)
        redis_client.set(LEADER_KEY, "another", px=60_000)  # it lapsed meanwhile
        return swept

    monkeypatch.setattr(process.ledger.sweeper, "sweep", slow_sweep)
    assert not keeper.round()
    assert messages(redis_client, "deliver") == []
    assert redis_client.get(LEADER_KEY) == "another"


def test_many_keepers_publish_a_lost_job_once(process: Process, redis_client: redis.Redis) -> None:
    job_id = process.ledger.create("recognition", REQUEST).id
    assert process.ledger.start(job_id) is not None
    wait_for(lambda: job_id in process.ledger.sweeper.overdue())
    keepers = [Keeper(process.settings, redis_client, process.ledger, process.queue) for _ in range(4)]
    threads = [threading.Thread(target=keeper.round) for keeper in keepers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len([name for name in messages(redis_client, "recognize") if job_id in name]) == 1


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test may kill."""
    with RedisServer(tmp_path / "redis") as server:
        yield server


def test_the_process_survives_an_outage_and_stops_on_sigterm(own_server: RedisServer, tmp_path: Path) -> None:
    jobs = JobSettings(lease_s=0.2, sweep_interval_s=0.1, retention_s=0.2)
    settings: Settings = dataclasses.replace(
        load_settings({"SHITU_DATA_DIR": str(tmp_path)}), redis_url=own_server.url, jobs=jobs
    )
    client = connect(own_server.url)
    ledger = JobLedger(client, jobs)
    log = tmp_path / "keeper.log"
    with log.open("w") as stderr:
        command = [sys.executable, "-m", "worker.keeper"]
        child = subprocess.Popen(command, env={**os.environ, **settings.to_env()}, stderr=stderr)
    try:
        wait_for(lambda: bool(client.exists(LEADER_KEY)), 60)  # a process starts slowly on a busy machine
        own_server.kill()
        wait_for(lambda: "round skipped" in log.read_text(), 20)
        own_server.start()
        job_id = ledger.create("recognition", REQUEST).id
        assert ledger.start(job_id) is not None
        wait_for(lambda: ledger.get(job_id).status is JobStatus.QUEUED, 20)  # swept after the outage
        store = open_store(settings.objects, settings.data_dir)
        photo = Photos(client, store).keep(b"photo")
        with_photo = ledger.create("recognition", {**REQUEST, "image": {"key": photo}}).id
        client.zadd("shitu:photos:idle", {photo: 0})  # uploaded long ago
        ledger.cancel(with_photo)  # that ends it; its retention passes
        wait_for(lambda: not store.exists(photo), 20)
        assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        assert child.wait(20) == 0
        assert not client.exists(LEADER_KEY)
    finally:
        child.kill()
        child.wait()
        client.close()


def wait_for(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Returns once `condition` holds; fails after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def test_due_webhooks_do_not_pile_up_without_couriers(
    process: Process, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.keeper.MOST_WAKING", 3)
    monkeypatch.setattr("infra.jobs.deliveries.HIDDEN_S", 0.0)
    for _ in range(5):
        process.ledger.cancel(process.ledger.create("recognition", REQUEST, "http://127.0.0.1:9/hook").id)
    keeper = Keeper(process.settings, redis_client, process.ledger, process.queue)
    keeper._canary_at = float("inf")
    for _ in range(3):
        keeper.round()
    assert len(messages(redis_client, "deliver")) == 5  # one claim, and no more while these wait


def test_keys_are_sealed_under_the_newest_secret(process: Process, redis_client: redis.Redis) -> None:
    endpoint = registered(process.ledger)
    new = new_secret()
    webhooks = dataclasses.replace(process.settings.webhooks, secret=f"{new} {process.settings.webhooks.secret}")
    settings = dataclasses.replace(process.settings, webhooks=webhooks)
    Keeper(settings, redis_client, process.ledger, process.queue).round()
    kept = process.ledger.endpoints.get(endpoint.id).sealed_keys
    assert unsealed(new, endpoint.id, kept).public_key == endpoint.public_key


def test_the_load_is_logged_where_an_autoscaler_reads_it(
    process: Process, redis_client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    scaling = dataclasses.replace(process.settings.scaling, log_s=3600)
    settings = dataclasses.replace(process.settings, scaling=scaling)
    process.ledger.create("recognition", REQUEST)
    keeper = Keeper(settings, redis_client, process.ledger, process.queue)
    with caplog.at_level("INFO", "worker.keeper"):
        keeper.round()
        keeper.round()
    lines = [record for record in caplog.records if record.message == "load"]
    assert [(line.workers_wanted, line.jobs_open) for line in lines] == [(1, 1)]  # type: ignore[attr-defined]
