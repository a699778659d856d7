"""`shitu webhooks` against a running front end, with a courier's part done in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from contracts.webhook_signatures import verify_webhook
from infra.jobs.ledger import open_ledger
from infra.net.webhooks import deliver
from infra.runtime.settings import Settings
from shitu.cli.main import main
from tests.infra.local_servers import Server, serving
from web.app import create_app


@pytest.fixture
def near(settings: Settings) -> Settings:
    return replace(settings, webhooks=replace(settings.webhooks, allowed_hosts=("127.0.0.1",)))


@pytest.fixture
def url(near: Settings) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, create_app(near), threaded=True)
    ended = threading.Event()
    ledger = open_ledger(near)

    def courier() -> None:
        while not ended.wait(0.02):
            for delivery_id in ledger.deliveries.due():
                deliver(ledger, delivery_id, near)

    threads = [threading.Thread(target=server.serve_forever, args=(0.05,)), threading.Thread(target=courier)]
    for thread in threads:
        thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    ended.set()
    server.shutdown()
    for thread in threads:
        thread.join()
    server.server_close()


@pytest.fixture
def receiver() -> Iterator[Server]:
    with serving() as running:
        running.paths["/hook"] = (200, {}, b"thanks")
        yield running


def test_an_endpoint_is_made_tested_rotated_and_deleted(url: str, receiver: Server) -> None:
    def call(*words: str) -> Result:
        return CliRunner().invoke(main, ["webhooks", *words, "--server", url])

    assert "There are no webhooks" in call("list").stderr
    hook = receiver.url("/hook")
    made = call("create", hook, "--event", "recognition.failed", "--description", "the shop", "--json")
    assert made.exit_code == 0, made.output
    endpoint = json.loads(made.stdout)
    assert (endpoint["events"], endpoint["description"]) == (["recognition.failed"], "the shop")
    assert hook in call("list").stdout

    tested = call("test", endpoint["id"])
    assert tested.exit_code == 0, tested.output
    assert "thanks" in tested.stdout
    _, _, headers, body = receiver.requests[-1]
    for key in (endpoint["secret"], endpoint["public_key"]):
        assert verify_webhook(body, headers, key)["type"] == "webhook.test"

    rotated = call("rotate", endpoint["id"], "--overlap", "3600")
    assert "valid until" in rotated.stdout
    assert "not shown again" in rotated.stderr
    receiver.paths["/hook"] = (500, {}, b"broken")
    failed = call("test", endpoint["id"], "--json")
    assert failed.exit_code == 1
    found = json.loads(failed.stdout)
    assert (found["status"], found["log"][0]["answer"]) == ("failed", "broken")
    assert verify_webhook(receiver.requests[-1][3], receiver.requests[-1][2], endpoint["public_key"])

    assert "pass --yes" in call("delete", endpoint["id"]).output
    assert call("delete", endpoint["id"], "--yes").exit_code == 0
    assert json.loads(call("list", "--json").stdout) == []
    gone = call("test", endpoint["id"])
    assert (gone.exit_code, "webhook_not_found" in gone.output) == (1, True)
