"""What a worker's connection to the broker survives: an acknowledgement that nobody hears, a peer that is silently gone."""

from __future__ import annotations

import logging
import os
import signal
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from contracts.jobs import JobKind
from infra.jobs.queue import Queue, make_celery
from infra.redis.server import RedisServer
from infra.runtime.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kombu.message import Message

log = logging.getLogger(__name__)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running
        if running.pid is not None:
            os.kill(running.pid, signal.SIGCONT)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("answer", ["ack_log_error", "reject_log_error"])
def test_a_lost_acknowledgement_does_not_hold_its_place_for_ever(server: RedisServer, answer: str) -> None:
    """As Celery does it: one message at a time, and an acknowledgement that fails is a line in the log."""
    app = make_celery(load_settings({"REDIS_URL": server.url}))
    app.conf.broker_transport_options["socket_timeout"] = 0.2
    queue, taken = Queue(app), list[Any]()

    def take(_body: object, message: Message) -> None:
        taken.append(message)

    with ExitStack() as opened:
        connection = opened.enter_context(app.connection_for_read())
        channel = opened.enter_context(connection.channel())
        consumer = app.amqp.TaskConsumer(channel, queues=[app.amqp.queues["recognize"]], callbacks=[take])
        opened.enter_context(consumer)
        consumer.qos(prefetch_count=1)
        assert queue.publish(JobKind.RECOGNITION, "rec_1")
        assert queue.publish(JobKind.RECOGNITION, "rec_2")
        connection.drain_events(timeout=5)
        assert len(taken) == 1
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        getattr(taken[0], answer)(log, connection.connection_errors)
        assert not taken[0].acknowledged
        os.kill(server.pid, signal.SIGCONT)
        connection.drain_events(timeout=5)
        assert len(taken) == 2


def test_a_connection_notices_that_its_server_is_gone_without_a_word(tmp_path: Path) -> None:
    """A consumer that waits sends nothing: unless the kernel asks, it waits for a server that has long forgotten it."""
    with ExitStack() as opened:
        server = opened.enter_context(RedisServer(tmp_path, port=free_port()))
        connection = opened.enter_context(make_celery(load_settings({"REDIS_URL": server.url})).connection_for_read())
        client = opened.enter_context(opened.enter_context(connection.channel()).conn_or_acquire())
        link = client.connection_pool.get_connection()
        assert link._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle_s, interval_s, probes = (
            link._sock.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle_s + interval_s * probes <= 60
        assert 0 < link._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 60_000
        client.connection_pool.release(link)
