"""Whatever fails is a problem document, and nothing of an unexpected exception reaches the client."""

from __future__ import annotations

import logging

import pytest
from flask import Flask
from flask.testing import FlaskClient

from infra.errors.galleries import GalleryBusy
from tests.web.refusals import refused


def test_unknown_paths_and_methods_are_problems(client: FlaskClient) -> None:
    refused(client.get("/v2/nothing"), 404, "route_not_found")
    response = client.put("/v1/galleries")
    refused(response, 405, "method_not_allowed")
    assert set(response.headers["Allow"].split(", ")) >= {"GET", "POST"}


def test_an_unexpected_exception_says_nothing_but_its_request_id(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    @app.get("/broken")
    def broken() -> str:
        raise ValueError("the password is 1234 in /etc/secret")

    with caplog.at_level(logging.ERROR):
        response = app.test_client().get("/broken", headers={"X-Request-Id": "abc-123"})
    problem = refused(response, 500, "internal_error")
    assert problem["request_id"] == "abc-123"
    assert "1234" not in response.text
    assert "secret" not in response.text
    assert any(record.exc_info and "1234" in str(record.exc_info[1]) for record in caplog.records)


def test_retry_after_is_rounded_up_and_extras_never_replace_the_standard_members(app: Flask) -> None:
    @app.get("/busy")
    def busy() -> str:
        raise GalleryBusy("Another writer is at it.", retry_after_s=1.2, status="locked", holder="a worker")

    response = app.test_client().get("/busy")
    problem = refused(response, 409, "gallery_busy")
    assert response.headers["Retry-After"] == "2"
    assert problem["holder"] == "a worker"
    assert problem["reported_status"] == "locked"


@pytest.mark.parametrize("sent", ["", "with space", "x" * 200, "line\tbreak"])
def test_request_ids_of_another_make_are_replaced(client: FlaskClient, sent: str) -> None:
    given = client.get("/healthz", headers={"X-Request-Id": sent}).headers["X-Request-Id"]
    assert given
    assert given != sent


def test_every_answer_has_its_request_id_and_is_not_sniffed(client: FlaskClient) -> None:
    for path in ("/healthz", "/", "/static/recognise.js", "/v1/galleries", "/nothing"):
        response = client.get(path)
        assert response.status_code == (404 if path == "/nothing" else 200)
        assert response.headers["X-Request-Id"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        response.close()


def test_the_page_forbids_inline_and_foreign_code(client: FlaskClient) -> None:
    response = client.get("/")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<script>" not in response.text
    assert "style=" not in response.text
    assert "http://" not in response.text
    assert "https://" not in response.text
