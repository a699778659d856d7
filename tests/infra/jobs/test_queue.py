"""Ids through a real broker to a real worker, and what happens when either is killed."""

from __future__ import annotations

import base64
import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from contracts.jobs import JobKind
from infra.jobs.queue import Queue, make_celery
from infra.redis.client import connect
from infra.redis.durability import wait_until_written
from infra.redis.server import RedisServer
from infra.runtime.settings import Settings, load_settings
from infra.runtime.telemetry import REGISTRY

ROOT = Path(__file__).parents[3]


def until(found: Callable[[], bool], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not found():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def failures() -> float:
    return REGISTRY.get_sample_value("shitu_publish_failures_total", {"queue": "recognize"}) or 0.0


@contextmanager
def celery_worker(settings: Settings, log: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "celery", "-A", "tests.infra.celery_worker", "worker", "-l", "info", *options]
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SHITU_", "REDIS_URL"))}
    env = own | settings.to_env()
    with log.open("wb") as output:
        worker = subprocess.Popen(command, env=env, cwd=ROOT, stdout=output, stderr=output)
        try:
            until(lambda: b" ready." in log.read_bytes())
            yield worker
        finally:
            worker.terminate()
            try:
                worker.wait(10)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()


def test_only_an_id_crosses_as_json(settings: Settings, redis_client: redis.Redis) -> None:
    queue = Queue(make_celery(settings))
    assert queue.publish(JobKind.RECOGNITION, "rec_1")
    assert queue.publish(JobKind.ENROLLMENT, "enr_1")
    assert queue.deliver("msg_1")
    assert queue.canary("enroll")
    assert [redis_client.llen(f"shitu:queue:{name}") for name in ("recognize", "enroll", "deliver")] == [1, 2, 1]
    message = json.loads(str(redis_client.lindex("shitu:queue:recognize", 0)))
    assert message["content-type"] == "application/json"
    assert message["headers"]["task"] == "shitu.recognize"
    arguments, keywords, _ = json.loads(base64.b64decode(message["body"]))
    assert (arguments, keywords) == (["rec_1"], {})


def test_the_settings_that_reliability_needs(settings: Settings) -> None:
    conf = make_celery(settings).conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert conf.task_ignore_result
    assert conf.broker_connection_retry_on_startup
    assert conf.broker_connection_max_retries is None
    assert not conf.worker_cancel_long_running_tasks_on_connection_loss
    assert conf.worker_soft_shutdown_timeout == settings.worker.shutdown_s
    assert conf.accept_content == ["json"]
    visibility = conf.visibility_timeout
    assert conf.broker_transport_options["visibility_timeout"] == visibility
    assert conf.result_backend_transport_options["visibility_timeout"] == visibility
    # A unix socket knows no keepalive; TCP needs it.
    assert "socket_keepalive" not in conf.broker_transport_options
    tcp = make_celery(load_settings({"REDIS_URL": "redis://127.0.0.1"})).conf
    assert tcp.broker_transport_options["socket_keepalive"]


def test_tls_certificates_are_checked() -> None:
    connection = make_celery(load_settings({"REDIS_URL": "rediss://:secret@host/1"})).connection_for_write()
    assert connection.ssl == {"ssl_cert_reqs": ssl.CERT_REQUIRED}
    assert (connection.hostname, connection.password, connection.virtual_host) == ("host", "secret", "1")


def test_without_a_redis_url_there_is_no_queue() -> None:
    with pytest.raises(ValueError, match="redis_url is not set"):
        make_celery(load_settings({}))


@pytest.mark.parametrize("kind", ["socket", "port"])
def test_a_publish_without_broker_fails_quickly_and_quietly(kind: str, tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/redis.sock" if kind == "socket" else "redis://127.0.0.1:1/0"
    queue = Queue(make_celery(load_settings({"REDIS_URL": url})))
    before = failures()
    began = time.monotonic()
    assert not queue.publish(JobKind.RECOGNITION, "rec_1")
    assert time.monotonic() - began < 1.0
    assert failures() == before + 1


def test_a_publisher_outlives_its_broker(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    queue = Queue(make_celery(load_settings({"REDIS_URL": server.url})))
    assert queue.publish(JobKind.RECOGNITION, "rec_1")
    client = connect(server.url)
    wait_until_written(client)
    server.kill()
    began = time.monotonic()
    assert not queue.publish(JobKind.RECOGNITION, "rec_2")
    assert time.monotonic() - began < 1.5
    server.start()
    assert queue.publish(JobKind.RECOGNITION, "rec_3")
    assert client.llen("shitu:queue:recognize") == 2  # the first one survived as well
    client.close()
    server.stop()


@pytest.mark.slow  # tests/e2e/test_kill_worker.py kills Redis under the real worker
def test_a_worker_outlives_its_broker(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    settings = load_settings({"REDIS_URL": server.url, "SHITU_DATA_DIR": str(tmp_path)})
    queue, client = Queue(make_celery(settings)), connect(server.url)
    with celery_worker(settings, tmp_path / "log", "-P", "threads", "-c", "2", "-Q", "recognize,deliver"):
        assert queue.publish(JobKind.RECOGNITION, "before")
        until(lambda: client.llen("ran:before") == 1)
        server.kill()
        server.start()
        assert queue.publish(JobKind.RECOGNITION, "after")
        assert queue.deliver("also")
        until(lambda: client.llen("ran:after") == client.llen("ran:also") == 1)
    client.close()
    server.stop()


def test_a_killed_childs_task_runs_again(settings: Settings, redis_client: redis.Redis, tmp_path: Path) -> None:
    queue = Queue(make_celery(settings))
    with celery_worker(settings, tmp_path / "log", "-P", "prefork", "-c", "1", "-Q", "recognize"):
        assert queue.publish(JobKind.RECOGNITION, "hang")
        until(lambda: redis_client.llen("ran:hang") == 1)
        os.kill(int(str(redis_client.lindex("ran:hang", 0))), signal.SIGKILL)
        until(lambda: redis_client.llen("ran:hang") == 2)
        until(lambda: redis_client.hlen("shitu:queue:unacked") == 0)


def test_no_queue_is_bound_to_what_is_sent_to_another(settings: Settings) -> None:
    app = make_celery(settings)
    with app.connection_for_write() as connection, connection.channel() as channel:
        for queue in app.amqp.queues.values():
            queue(channel).declare()
        for name, queue in app.amqp.queues.items():
            assert channel.typeof(queue.exchange.name).lookup(
                channel.get_table(queue.exchange.name), queue.exchange.name, queue.routing_key, None
            ) == {name}
