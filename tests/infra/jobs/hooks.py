"""What the tests of events and endpoints share: endpoints with sealed keys, jobs that end."""

from __future__ import annotations

import time

from infra.jobs.deliveries import Delivery, to_endpoint
from infra.jobs.endpoints import Endpoint
from infra.jobs.ledger import Job, JobLedger
from infra.jobs.records import new_id
from infra.net.webhook_keys import new_keys, sealed
from tests.conftest import WEBHOOK_SECRET


def registered(
    ledger: JobLedger, url: str = "https://example.com/hook", events: tuple[str, ...] = ("*",), *, enabled: bool = True
) -> Endpoint:
    """A new endpoint."""
    endpoint_id, keys = new_id("whk", time.time()), new_keys()
    kept = sealed(WEBHOOK_SECRET, endpoint_id, keys)
    return ledger.endpoints.create(
        endpoint_id, url, events, "", enabled=enabled, sealed_keys=kept, public_key=keys.public_key
    )


def ended(ledger: JobLedger, how: str = "succeeded", kind: str = "recognition", url: str | None = None) -> Job:
    """A job that has ended."""
    job = ledger.create(kind, {"gallery": "drinks", "image": {"key": "images/ab/abc"}, "options": {}}, url)
    if how == "canceled":
        ledger.cancel(job.id)
    else:
        lease = ledger.start(job.id)
        assert lease is not None
        if how == "succeeded":
            assert ledger.succeed(lease, {"recognitions": [{"label": "ジュース"}]})
        else:
            assert ledger.fail(lease, {"code": "image_truncated", "message": "It ends early.", "retryable": False})
    return ledger.get(job.id)


def latest(ledger: JobLedger, endpoint: Endpoint) -> Delivery:
    """The message about the latest event to the endpoint."""
    return ledger.deliveries.get(to_endpoint(ledger.feed.read(limit=500).events[-1].id, endpoint.id))


def taken(ledger: JobLedger, delivery_id: str) -> Delivery:
    """The message, leased."""
    delivery = ledger.deliveries.take(delivery_id)
    assert delivery is not None
    return delivery
