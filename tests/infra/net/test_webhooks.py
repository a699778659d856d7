"""Messages from a real ledger to a real receiver, verified with the reference library of Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from infra.errors.service import ConfigurationError
from infra.jobs.ledger import Job, JobLedger
from infra.net.fetch import retry_after_s
from infra.net.webhooks import deliver, kept_secret, new_secret, sign, signing_keys
from infra.runtime.settings import load_settings
from tests.infra.local_servers import Server, raw_server, serving

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    import redis

    from infra.runtime.settings import Settings

REQUEST = {"gallery": "drinks", "image": {"key": "images/ab/ab"}, "options": {}}
RESULT = {"recognitions": [{"box": [1, 2, 3, 4], "label": "ジュース", "similarity": 0.9}], "dropped": []}


class Clock:
    """The ledger's time, moved by hand."""

    def __init__(self) -> None:
        self.now = float(int(time.time()))  # the ledger keeps microseconds

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hooks(settings: Settings) -> Settings:
    """Settings that let messages go to the local receiver."""
    return replace(
        settings, webhooks=replace(settings.webhooks, allowed_hosts=("127.0.0.1",), timeout_s=5.0, max_attempts=3)
    )


@pytest.fixture
def ledger(redis_client: redis.Redis, hooks: Settings, clock: Clock) -> JobLedger:
    return JobLedger(redis_client, hooks.jobs, hooks.webhooks, now=clock)


@pytest.fixture
def receiver() -> Iterator[Server]:
    with serving() as running:
        running.paths["/hook"] = (204, {}, b"")
        yield running


def finished(ledger: JobLedger, url: str, kind: str = "recognition", how: str = "succeeded") -> tuple[Job, str]:
    """A finished job and the id of its due delivery."""
    job = ledger.create(kind, REQUEST, url)
    if how == "canceled":
        ledger.cancel(job.id)
    else:
        lease = ledger.start(job.id)
        assert lease is not None
        if how == "succeeded":
            assert ledger.succeed(lease, RESULT)
        else:
            assert ledger.fail(lease, {"code": "image_truncated", "message": "It ends early.", "retryable": False})
    [delivery_id] = ledger.deliveries.due()
    return ledger.get(job.id), delivery_id


def verified(request: tuple[str, str, dict[str, str], bytes], secret: str | None) -> Any:
    _, _, headers, body = request
    return Webhook(secret or "").verify(body, headers)


@pytest.mark.parametrize("kind", ["recognition", "enrollment"])
@pytest.mark.parametrize("how", ["succeeded", "failed", "canceled"])
def test_a_finished_job_is_reported_and_verified(
    ledger: JobLedger, hooks: Settings, receiver: Server, kind: str, how: str
) -> None:
    job, delivery_id = finished(ledger, receiver.url("/hook"), kind, how)
    outcome = deliver(ledger, delivery_id, hooks)
    assert (outcome.status, outcome.http_status) == ("delivered", 204)
    [request] = receiver.requests
    event = verified(request, hooks.webhooks.secret)
    assert event == {"type": f"{kind}.{how}", "timestamp": job.to_dict()["completed_at"], "data": job.to_dict()}
    method, _, headers, _ = request
    assert (method, headers["Content-Type"], headers["webhook-id"]) == ("POST", "application/json", delivery_id)
    assert ledger.get(job.id).to_dict()["webhook"]["status"] == "delivered"


def test_a_changed_body_or_another_secret_does_not_verify() -> None:
    secret, other = new_secret(), new_secret()
    headers = sign(secret, "msg_1", int(time.time()), b'{"a":1}')
    assert Webhook(secret).verify(b'{"a":1}', headers) == {"a": 1}
    for verifier, body in ((secret, b'{"a":2}'), (other, b'{"a":1}')):
        with pytest.raises(WebhookVerificationError):
            Webhook(verifier).verify(body, headers)


def test_a_secret_is_replaced_without_a_gap() -> None:
    new, old = new_secret(), new_secret()
    headers = sign(f"{new} {old}", "msg_1", int(time.time()), b"{}")
    assert headers["webhook-signature"].count("v1,") == 2
    assert Webhook(new).verify(b"{}", headers) == Webhook(old).verify(b"{}", headers) == {}


def by_hand(keys: str, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers as the specification spells them out."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = [
        base64.b64encode(hmac.new(base64.b64decode(key.removeprefix("whsec_")), signed, hashlib.sha256).digest())
        for key in keys.split()
    ]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature.decode()}" for signature in signatures),
    }


@pytest.mark.parametrize("keys", [1, 2, 3])
@pytest.mark.parametrize("timestamp", [0, 1_700_000_000, 4_102_444_799])
def test_the_headers_are_those_of_the_specification(keys: int, timestamp: int) -> None:
    secrets = " ".join(new_secret() for _ in range(keys))
    body = json.dumps(RESULT, ensure_ascii=False).encode()
    assert sign(secrets, "msg_1", timestamp, body) == by_hand(secrets, "msg_1", timestamp, body)


def test_the_setting_takes_several_secrets() -> None:
    new, old = new_secret(), new_secret()
    settings = load_settings({"SHITU_WEBHOOKS__SECRET": f"{new} {old}"})
    assert load_settings(settings.to_env()).webhooks.secret == f"{new} {old}"
    with pytest.raises(ConfigurationError, match="expected whsec_"):
        load_settings({"SHITU_WEBHOOKS__SECRET": f"{new} whsec_short"})


def test_a_delivered_message_is_not_sent_again(ledger: JobLedger, hooks: Settings, receiver: Server) -> None:
    _, delivery_id = finished(ledger, receiver.url("/hook"))
    assert [deliver(ledger, delivery_id, hooks).status for _ in range(2)] == ["delivered", "skipped"]
    assert deliver(ledger, "msg_" + "0" * 26, hooks).status == "skipped"
    assert len(receiver.requests) == 1


def test_couriers_that_race_send_once(ledger: JobLedger, hooks: Settings, receiver: Server) -> None:
    _, delivery_id = finished(ledger, receiver.url("/hook"))
    with ThreadPoolExecutor(8) as couriers:
        statuses = list(couriers.map(lambda _: deliver(ledger, delivery_id, hooks).status, range(8)))
    assert sorted(statuses) == ["delivered"] + ["skipped"] * 7
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("status", [301, 307, 400, 404, 500, 503])
def test_whatever_is_not_2xx_is_tried_again_under_the_same_id(
    ledger: JobLedger, hooks: Settings, receiver: Server, clock: Clock, status: int
) -> None:
    receiver.paths["/hook"] = (status, {"Location": "/elsewhere"}, b"go away")
    job, delivery_id = finished(ledger, receiver.url("/hook"))
    outcome = deliver(ledger, delivery_id, hooks)
    assert (outcome.status, outcome.http_status) == ("pending", status)
    assert str(status) in (outcome.error or "")
    assert deliver(ledger, delivery_id, hooks).status == "skipped", "not before its time"
    clock.now += 10
    receiver.paths["/hook"] = (200, {}, b"")
    assert deliver(ledger, delivery_id, hooks).status == "delivered"
    assert [(path, headers["webhook-id"]) for _, path, headers, _ in receiver.requests] == [("/hook", delivery_id)] * 2
    assert [attempt.status for attempt in ledger.deliveries.attempts(delivery_id)] == [status, 200]
    assert ledger.get(job.id).to_dict()["webhook"]["attempts"] == 2


def test_attempts_end(ledger: JobLedger, hooks: Settings, receiver: Server, clock: Clock) -> None:
    receiver.paths["/hook"] = (500, {}, b"")
    job, delivery_id = finished(ledger, receiver.url("/hook"))
    statuses = []
    for _ in range(4):
        statuses.append(deliver(ledger, delivery_id, hooks).status)
        clock.now += 10_000
    assert statuses == ["pending", "pending", "failed", "skipped"]
    assert ledger.get(job.id).to_dict()["webhook"]["status"] == "failed"


def test_gone_disables_the_delivery(ledger: JobLedger, hooks: Settings, receiver: Server, clock: Clock) -> None:
    receiver.paths["/hook"] = (410, {}, b"")
    _, delivery_id = finished(ledger, receiver.url("/hook"))
    assert deliver(ledger, delivery_id, hooks).status == "disabled"
    clock.now += 100_000
    assert deliver(ledger, delivery_id, hooks).status == "skipped"
    assert len(receiver.requests) == 1


def test_retry_after_is_honoured(ledger: JobLedger, hooks: Settings, receiver: Server, clock: Clock) -> None:
    receiver.paths["/hook"] = (429, {"Retry-After": "600"}, b"")
    _, delivery_id = finished(ledger, receiver.url("/hook"))
    deliver(ledger, delivery_id, hooks)
    clock.now += 590
    assert deliver(ledger, delivery_id, hooks).status == "skipped"
    clock.now += 20
    assert deliver(ledger, delivery_id, hooks).status == "pending"


@pytest.mark.parametrize(
    ("status", "value", "expected"),
    [(503, "120", 120), (429, " 5 ", 5), (500, "120", None), (503, "", None), (503, "soon", None), (503, "-5", None),
     (503, "1e9", None), (503, "Mon, 01 Jan 2001 00:00:00 GMT", 0)],
)  # fmt: skip
def test_readings_of_retry_after(status: int, value: str, expected: float | None) -> None:
    assert retry_after_s(status, value) == expected


def test_retry_after_may_be_a_date() -> None:
    assert retry_after_s(503, formatdate(time.time() + 100, usegmt=True)) == pytest.approx(100, abs=3)


def test_receivers_that_misbehave_never_raise(ledger: JobLedger, hooks: Settings) -> None:
    quick = replace(hooks, webhooks=replace(hooks.webhooks, timeout_s=0.3))

    def silent(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass

    def garbage(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"\x00\xff\r\n\r\n")

    for talk, code in ((silent, "fetch_timeout"), (garbage, "fetch_failed")):
        with raw_server(talk) as port:
            _, delivery_id = finished(ledger, f"http://127.0.0.1:{port}/hook")
            outcome = deliver(ledger, delivery_id, quick)
        assert (outcome.status, outcome.http_status) == ("pending", None)
        assert (outcome.error or "").startswith(code)


def test_private_receivers_are_refused_by_default(ledger: JobLedger, settings: Settings, receiver: Server) -> None:
    _, delivery_id = finished(ledger, receiver.url("/hook"))
    outcome = deliver(ledger, delivery_id, settings)
    assert outcome.status == "pending"
    assert (outcome.error or "").startswith("address_forbidden")
    assert (outcome.error or "").endswith("the setting SHITU_WEBHOOKS__ALLOWED_HOSTS can allow it.")
    assert receiver.requests == []


def test_of_a_long_answer_only_the_beginning_is_kept(ledger: JobLedger, hooks: Settings, receiver: Server) -> None:
    receiver.paths["/hook"] = (500, {}, b"x" * 100_000)
    _, delivery_id = finished(ledger, receiver.url("/hook"))
    deliver(ledger, delivery_id, hooks)
    [attempt] = ledger.deliveries.attempts(delivery_id)
    assert len(attempt.error or "") < 1024


def test_without_a_setting_a_secret_is_made_once_and_kept(settings: Settings, tmp_path: Path) -> None:
    assert signing_keys(settings) == settings.webhooks.secret
    bare = replace(settings, data_dir=tmp_path / "fresh", webhooks=replace(settings.webhooks, secret=None))
    with ThreadPoolExecutor(8) as processes:
        secrets = set(processes.map(lambda _: signing_keys(bare), range(8)))
    assert secrets == {kept_secret(bare.data_dir)}
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secrets.pop())
    [kept] = bare.data_dir.iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_the_body_is_compact_utf8(ledger: JobLedger, hooks: Settings, receiver: Server) -> None:
    _, delivery_id = finished(ledger, receiver.url("/hook"))
    deliver(ledger, delivery_id, hooks)
    body = receiver.requests[0][3]
    assert "ジュース".encode() in body
    assert body == json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":")).encode()


def test_a_message_that_cannot_be_made_uses_its_attempts_up(
    ledger: JobLedger, hooks: Settings, receiver: Server, clock: Clock, redis_client: redis.Redis
) -> None:
    """A record that something else wrote: no courier gets further than the last."""
    job, delivery_id = finished(ledger, receiver.url("/hook"))
    redis_client.hset(f"shitu:job:{job.id}", "result", "no JSON")
    statuses = []
    for _ in range(4):
        statuses.append(deliver(ledger, delivery_id, hooks).status)
        clock.now += 10_000
    assert statuses == ["pending", "pending", "failed", "skipped"]
    assert (ledger.deliveries.get(delivery_id).last_error or "").startswith("internal_error")
    assert receiver.requests == []


def test_a_name_that_is_not_utf_8_is_reported_nevertheless(
    ledger: JobLedger, hooks: Settings, receiver: Server, redis_client: redis.Redis
) -> None:
    """Of a result from before there was a rule for names."""
    receiver.paths["/hook"] = (204, {}, b"")
    job, delivery_id = finished(ledger, receiver.url("/hook"))
    redis_client.hset(f"shitu:job:{job.id}", "result", '{"label": "\\udcff"}')
    assert deliver(ledger, delivery_id, hooks).status == "delivered"
    assert json.loads(receiver.requests[0][3])["data"]["result"] == {"label": "\ufffd"}


@pytest.mark.parametrize("content", [b"garbage\n", b"\xff\xfe", b"", b"whsec_c2hvcnQ=\n"])
def test_a_kept_secret_that_is_none_is_a_wrong_setting(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "webhook_secret").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"webhook_secret: expected .*; delete the file for a new secret"):
        kept_secret(tmp_path)
