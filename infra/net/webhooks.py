"""Sends an event to the receivers that are named for it: signed, once per attempt, never on a redirect.

A job's own webhook is signed with the installation's secret, an endpoint with its own keys: infra.net.webhook_keys.

The format is Standard Webhooks 1.0.0: the headers `webhook-id` (the same for every attempt), `webhook-timestamp` (of the
attempt) and `webhook-signature` over `id.timestamp.body`. Success is 2xx alone. When to try again is the ledger's to
know; a receiver's fault never reaches the caller.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import redis
from standardwebhooks import Webhook

from contracts.errors import ServiceError
from contracts.names import without_surrogates
from infra.errors.jobs import JobExpired, JobNotFound
from infra.errors.photos import AddressForbidden
from infra.errors.service import ConfigurationError
from infra.jobs.deliveries import Seen
from infra.jobs.feed import Event, report
from infra.net.fetch import Reply, post, retry_after_s
from infra.net.webhook_keys import new_secret, sign_with, unsealed
from infra.runtime import tracing
from infra.runtime.setting_types import checked_secret

if TYPE_CHECKING:
    from pathlib import Path

    from infra.jobs.deliveries import Delivery
    from infra.jobs.ledger import JobLedger
    from infra.runtime.settings import Settings

KEPT_IN = "webhook_secret"
REPLY_BYTES = 1024
log = logging.getLogger(__name__)

__all__ = ["Outcome", "deliver", "kept_secret", "message", "new_secret", "sign", "signing_keys"]


@dataclass(frozen=True)
class Outcome:
    """What one call of `deliver` came to; `status` is delivered, pending (tried again later), failed, disabled, skipped."""

    delivery_id: str
    status: str
    http_status: int | None = None
    error: str | None = None
    trace_id: str | None = None  # None: nothing was tried


def deliver(ledger: JobLedger, delivery_id: str, settings: Settings) -> Outcome:
    """Takes the delivery's lease, posts the message once, records what came of it.

    `skipped`: the delivery is not due, finished, or another courier's. Whatever else goes wrong on this side counts as
    an attempt too. Raises redis.RedisError alone: the lease then lapses, and the attempt is repeated until all are used.
    """
    delivery = ledger.deliveries.take(delivery_id)
    if delivery is None:
        return Outcome(delivery_id, "skipped")
    sent_from = tracing.current()
    parent = delivery.trace or sent_from
    links = [sent_from] if sent_from and sent_from is not parent else []
    attributes: tracing.Attributes = {
        "http.request.method": "POST",
        "shitu.delivery": delivery.id,
        "shitu.attempt": delivery.attempts,
    }
    with tracing.span("POST webhook", "client", parent, attributes, links) as span:
        outcome = _attempt(ledger, delivery, settings)
        if outcome.http_status is not None:
            span.set({"http.response.status_code": outcome.http_status})
        if outcome.status != "delivered":
            span.fail(outcome.status)
    return replace(outcome, trace_id=span.context.trace_id)


def _attempt(ledger: JobLedger, delivery: Delivery, settings: Settings) -> Outcome:
    began = time.monotonic()
    try:
        event = _event(ledger, delivery)
        if event is None:
            return _failed(ledger, delivery, "The job's record has expired.", Seen())
        body = message(event, settings.web.root_path)
        headers = _signed(ledger, delivery, settings, body)
        began = time.monotonic()
        reply = post(
            delivery.url,
            body,
            {"Content-Type": "application/json", **headers, **tracing.headers()},
            timeout_s=settings.webhooks.timeout_s,
            allowed=settings.webhooks.allowed_hosts,
            max_reply_bytes=REPLY_BYTES,
        )
    except ServiceError as error:
        if isinstance(error, AddressForbidden):
            error = error.with_remedy("SHITU_WEBHOOKS__ALLOWED_HOSTS")
        return _failed(ledger, delivery, f"{error.code}: {error.detail}", Seen("", time.monotonic() - began))
    except redis.RedisError:
        raise
    except Exception:  # a message that cannot be made must not be tried for ever
        log.exception("a webhook could not be sent", extra={"delivery_id": delivery.id})
        return _failed(
            ledger, delivery, f"{ServiceError.code}: The message could not be made; the log says why.", Seen()
        )
    seen = Seen(reply.body.decode("utf-8", errors="replace"), time.monotonic() - began)
    if 200 <= reply.status < 300:
        ledger.deliveries.delivered(delivery, reply.status, seen)
        return Outcome(delivery.id, "delivered", reply.status)
    return _failed(ledger, delivery, _refusal(reply), seen, reply)


def message(event: Event, root: str = "") -> bytes:
    """The body, the same at every attempt, for every receiver and in the feed: `Event.to_dict`."""
    return without_surrogates(json.dumps(event.to_dict(root), ensure_ascii=False, separators=(",", ":"))).encode()


def sign(keys: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a message; `timestamp` in Unix seconds, `body` UTF-8.

    `keys` is one `whsec_…` secret, or several separated by spaces: a receiver that knows any of them accepts the message,
    so that a secret can be replaced without a gap.
    """
    moment, text = datetime.fromtimestamp(timestamp, UTC), body.decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, moment, text) for secret in keys.split()),
    }


def signing_keys(settings: Settings) -> str:
    """The setting's secret, or else the one kept in the data folder, made at the first need."""
    return settings.webhooks.secret or kept_secret(settings.data_dir)


def kept_secret(data_dir: Path) -> str:
    """The secret in `data_dir`/webhook_secret, readable to its owner alone; made when there is none.

    Raises OSError, ConfigurationError for a file that holds none.
    """
    path = data_dir / KEPT_IN
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f"{KEPT_IN}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(new_secret() + "\n")
        with suppress(FileExistsError):  # of several processes that start together, the first one's counts
            os.link(fresh, path)
        fresh.unlink()
    try:
        return checked_secret(path.read_text(encoding="ascii").strip())
    except ValueError as error:
        problem = "expected text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise ConfigurationError([f"{path}: {problem}; delete the file for a new secret"]) from None


def _event(ledger: JobLedger, delivery: Delivery) -> Event | None:
    """What the message reports. One that was written before there were events reports its job."""
    if delivery.event_id is not None:
        return ledger.feed.event(delivery.event_id)
    try:
        job = ledger.get(delivery.job_id)
    except (JobNotFound, JobExpired):
        return None
    at = job.completed_at or job.created_at
    return Event(delivery.id, f"{job.kind}.{job.status}", at, report(job, delivery.id, job.expires_at), job_id=job.id)


def _signed(ledger: JobLedger, delivery: Delivery, settings: Settings, body: bytes) -> dict[str, str]:
    now, installation = int(time.time()), signing_keys(settings)
    if delivery.endpoint_id is None:
        return sign(installation, delivery.webhook_id, now, body)
    endpoint = ledger.endpoints.get(delivery.endpoint_id)
    keys = [unsealed(installation, endpoint.id, sealed) for sealed in endpoint.keys_at(ledger.time())]
    return sign_with(keys, delivery.webhook_id, now, body)


def _failed(ledger: JobLedger, delivery: Delivery, error: str, seen: Seen, reply: Reply | None = None) -> Outcome:
    http_status = reply.status if reply else None
    wait_s = retry_after_s(reply.status, reply.headers.get("retry-after")) if reply else None
    status = ledger.deliveries.failed(delivery, error, status=http_status, retry_after_s=wait_s, seen=seen)
    return Outcome(delivery.id, status, http_status, error)


def _refusal(reply: Reply) -> str:
    if 300 <= reply.status < 400:
        return f"The receiver redirects ({reply.status}); redirects are not followed."
    said = reply.body.decode("utf-8", errors="replace").strip()
    return f"The receiver answered {reply.status}" + (f": {said[:200]}" if said else ".")
