"""Webhook endpoints, the feed of events and the keys of a service, through the client."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import shitu
from infra.jobs.ledger import open_ledger
from infra.runtime.settings import Settings
from shitu import Client
from shitu.client.errors import (
    KeyRefused,
    NotFound,
)
from tests.shitu.client.conftest import QUICK, Call, Served
from tests.shitu.front_end import listening
from tests.web.conftest import recognition_result
from tests.web.keyed import bearer, with_keys
from tests.web.pictures import picture
from web.app import create_app


def test_webhook_endpoints_are_managed_and_their_messages_seen(call: Call) -> None:
    made = call("webhooks.create", "https://shop.example/hook", ["recognition.*"], description="till")
    assert made["secret"].startswith("whsec_")
    assert call("webhooks.change", made, enabled=False)["enabled"] is False
    assert [one["id"] for one in call("webhooks.list")] == [made["id"]]
    assert call("webhooks.rotate", made, overlap_s=0)["secret"] != made["secret"]
    delivery = call("webhooks.test", made, wait_s=0)
    assert [one["id"] for one in call("webhooks.deliveries", made)] == [delivery["id"]]
    assert call("webhooks.delivery", delivery)["body"]
    call("webhooks.change", made, enabled=True)
    assert call("webhooks.replay", made, "2026-01-01T00:00:00Z")["replayed"] == 0
    call("webhooks.delete", made)
    with pytest.raises(NotFound):
        call("webhooks.get", made)


def test_the_feed_is_read_to_its_end_and_followed(call: Call, served: Served, settings: Settings) -> None:
    ledger = open_ledger(settings)
    call("galleries.create", "drinks")
    ids = [call("recognitions.create", picture(seed=n), "drinks")["id"] for n in range(3)]

    def end(job_id: str) -> None:
        lease = ledger.start(job_id)
        assert lease is not None
        ledger.succeed(lease, recognition_result())

    for job_id in ids[:2]:
        end(job_id)
    events = call("events.list", page_size=1)
    assert [one["data"]["id"] for one in events] == ids[:2]
    with Client(served.url, retries=QUICK) as client:
        feed = client.events.follow(after=events[0]["cursor"])
        assert next(feed)["data"]["id"] == ids[1]
        timer = threading.Timer(0.1, end, [ids[2]])
        timer.start()
        assert next(feed)["data"]["id"] == ids[2]
        timer.join()


@pytest.fixture
def keyed(settings: Settings) -> Iterator[tuple[str, str]]:
    """A front end that requires keys, and one with the scope admin."""
    app = create_app(with_keys(settings))
    token = bearer(app, "admin")["Authorization"].removeprefix("Bearer ")
    with listening(app) as url:
        yield url, token


def test_a_key_opens_what_its_scope_allows(keyed: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    url, admin = keyed
    monkeypatch.delenv("SHITU_KEY", raising=False)
    with Client(url, retries=QUICK) as client, pytest.raises(KeyRefused, match="key_missing"):
        client.galleries.list()
    with Client(url, admin, retries=QUICK) as client:
        made = client.keys.create("till", ["read"], requests_per_minute=600)
        assert made["limits"]["requests_per_minute"] == 600
        monkeypatch.setenv("SHITU_KEY", made["token"])
        with shitu.Client(url, retries=QUICK) as reader:
            assert list(reader.galleries.list()) == []
            with pytest.raises(KeyRefused) as refused:
                reader.galleries.create("drinks")
            assert (refused.value.code, refused.value.problem["scope"]) == ("scope_missing", "manage")
            client.keys.revoke(made)
            with pytest.raises(KeyRefused, match="key_invalid"):
                reader.galleries.list()
        assert made["id"] not in {one["id"] for one in client.keys.list()}
