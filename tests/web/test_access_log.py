"""One line for each request and one for each change of a gallery."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from web.app import create_app

if TYPE_CHECKING:
    from infra.runtime.settings import Settings


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "shitu")
    return caplog


def report(caplog: pytest.LogCaptureFixture, logger: str) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.name == logger]


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/healthz", "/healthz", 200),
        ("GET", "/v1/galleries/none", "/v1/galleries/<name>", 404),
        ("GET", "/v1/galleries/none?token=secret", "/v1/galleries/<name>", 400),
        ("GET", "/nowhere/secret", "unknown", 404),
        ("PUT", "/healthz", "unknown", 405),
    ],
)
def test_each_request_has_one_line(
    settings: Settings, lines: pytest.LogCaptureFixture, method: str, path: str, route: str, status: int
) -> None:
    with create_app(settings).test_client() as client:
        answer = client.open(path, method=method, headers={"X-Request-Id": "r-1"})
        size = len(answer.get_data())
        answer.close()
    (line,) = report(lines, "shitu.access")
    assert (line["method"], line["route"], line["status"]) == (method, route, status)
    assert (line["bytes"], line["request_id"], line["client"]) == (size, "r-1", "127.0.0.1")
    assert line["ms"] >= 0
    assert "secret" not in str(line)


def test_each_change_of_a_gallery_has_one_line(settings: Settings, lines: pytest.LogCaptureFixture) -> None:
    with create_app(settings).test_client() as client:
        client.post("/v1/galleries", json={"name": "drinks"}, headers={"X-Request-Id": "r-2"}).close()
        client.post("/v1/galleries/drinks/versions/1/activate").close()  # is in force already: no change
        client.delete("/v1/galleries/drinks").close()
        client.delete("/v1/galleries/drinks").close()  # 404: no change
    created, deleted = report(lines, "shitu.audit")
    assert (created["change"], created["from_version"], created["to_version"]) == ("created", None, 1)
    assert (created["who"], created["request_id"], created["gallery"]) == ("client 127.0.0.1", "r-2", "drinks")
    assert (deleted["change"], deleted["from_version"], deleted["to_version"]) == ("deleted", 1, None)
