"""A real courier process: receivers that hang delay no other, and a killed courier's messages are sent by the next."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from infra.jobs.ledger import JobLedger, open_ledger
from infra.jobs.queue import Queue, make_celery
from infra.net.webhooks import deliver
from infra.stack.commands import courier_command
from tests.infra.jobs.hooks import ended, registered
from tests.infra.local_servers import serving
from tests.worker.test_app import running, wait_for
from worker.attempt import notify

if TYPE_CHECKING:
    from pathlib import Path

    import redis

    from infra.runtime.settings import Settings

PLACES = 8


def test_receivers_that_hang_delay_nobody_else(settings: Settings, tmp_path: Path) -> None:
    """Three receivers that accept and stay silent have dozens of messages each; a fourth gets all of its own meanwhile."""
    settings = replace(
        settings,
        webhooks=replace(settings.webhooks, allowed_hosts=("127.0.0.1",), concurrency=PLACES, timeout_s=60.0),
    )
    ledger, queue = open_ledger(settings), Queue(make_celery(settings))
    log = tmp_path / "courier.log"
    with ExitStack() as stack:
        receiver = stack.enter_context(serving())
        receiver.paths["/hook"] = (204, {}, b"")
        for _ in range(3):
            silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            registered(ledger, f"http://127.0.0.1:{silent.getsockname()[1]}/hook")
        own = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.enter_context(running(courier_command(settings), settings, log))
        for _ in range(20):
            job = ended(ledger, url=f"http://127.0.0.1:{own.getsockname()[1]}/hook")
            notify(job.id, ledger, queue)
        wait_for(lambda: ledger.stats().messages["deliver"] == 0, log)
        healthy = registered(ledger, receiver.url("/hook"))
        began = time.monotonic()
        for _ in range(20):
            notify(ended(ledger).id, ledger, queue)
        wait_for(lambda: len(receiver.requests) == 20, log)
        assert time.monotonic() - began < 10  # one answer of a silent receiver takes 60 s
        assert ledger.deliveries.of_endpoint(healthy.id, {"pending"}, 1, None) == []
        assert ledger.stats().deliveries_pending == 140


def test_a_killed_couriers_messages_are_sent_by_the_next(
    settings: Settings, redis_client: redis.Redis, tmp_path: Path
) -> None:
    settings = replace(settings, webhooks=replace(settings.webhooks, allowed_hosts=("127.0.0.1",)))
    ledger, queue = open_ledger(settings), Queue(make_celery(settings))
    log = tmp_path / "courier.log"
    with serving() as receiver, socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        endpoint = registered(ledger, f"http://127.0.0.1:{silent.getsockname()[1]}/hook")
        with running(courier_command(settings), settings, log) as courier:
            for _ in range(3):
                notify(ended(ledger).id, ledger, queue)
            connection, _ = silent.accept()  # one is under way, two wait for it
            with connection:
                courier.kill()
                courier.wait()
        receiver.paths["/hook"] = (204, {}, b"")
        ledger.endpoints.update(endpoint.id, url=receiver.url("/hook"))
        # The next courier, when the lease of the one that died has lapsed.
        later = JobLedger(redis_client, settings.jobs, settings.webhooks, now=lambda: time.time() + 100)
        due = later.deliveries.due()
        assert len(due) == 3
        later.deliveries.call = due.append
        for delivery_id in due:
            deliver(later, delivery_id, settings)
        assert len(ledger.deliveries.of_endpoint(endpoint.id, {"delivered"}, 9, None)) == 3
    assert sorted(headers["webhook-id"] for _, _, headers, _ in receiver.requests) == sorted(
        event.id for event in ledger.feed.read().events
    )
