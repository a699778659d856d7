"""Keys over HTTP: who is let in, with which words the others are refused, and how keys are made and revoked there."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from infra.runtime.settings import Settings
from tests.openapi_checks import check
from tests.web.conftest import Hand, recognition_result
from tests.web.keyed import bearer, with_keys
from tests.web.pictures import picture
from web.access.scopes import is_declared, scope_of
from web.app import create_app
from web.openapi.operations import operation_of
from web.routes import bare, description


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return with_keys(settings)


def code(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def test_every_view_says_its_scope() -> None:
    app = bare()
    views = {
        rule.rule: app.view_functions[rule.endpoint] for rule in app.url_map.iter_rules() if rule.endpoint != "static"
    }
    assert [rule for rule, view in views.items() if not is_declared(view)] == []
    open_ones = {rule for rule, view in views.items() if scope_of(view) is None}
    by_link = {"/v1/uploads/<upload_id>/content", "/v1/links/<token>"}  # their links prove themselves
    assert open_ones == {
        "/healthz", "/readyz", "/docs", "/openapi.json", "/signin", "/signout",
        "/manifest.webmanifest", "/service-worker.js", "/offline", *by_link,
    }  # fmt: skip


def test_a_view_that_says_nothing_asks_for_the_widest_scope() -> None:
    assert scope_of(lambda: None) == "admin"


def test_without_a_key_nothing_but_the_probes_answers(app: Flask, client: FlaskClient, drinks: str) -> None:
    for rule in app.url_map.iter_rules():
        if rule.endpoint == "static" or scope_of(app.view_functions[rule.endpoint]) is None:
            continue
        path = rule.rule.replace("<int:version>", "1").replace("<name>", drinks)
        path = re.sub("<[a-z_]+>", "x", path)
        for method in (rule.methods or set()) - {"OPTIONS", "HEAD"}:
            answer = client.open(path, method=method)
            if "text/html" in getattr(operation_of(app.view_functions[rule.endpoint]), "answer", {}).values():
                assert (answer.status_code, answer.headers["Location"]) == (303, f"/signin?next={path}")
                continue
            assert code(answer) == (401, "key_missing"), (method, path)
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="shitu"'
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503  # no worker, but no key either
    assert client.get("/openapi.json").status_code == 200


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("Basic dXNlcjpwYXNz", "key_missing"),
        ("Bearer", "key_missing"),
        ("Bearer ", "key_missing"),
        ("Bearer shitu_nonsense", "key_invalid"),
        ("Bearer \u00e4\u00f6", "key_invalid"),
        (f"Bearer shitu_{'0' * 12}_{'0' * 52}", "key_invalid"),
    ],
)
def test_what_is_no_key_is_refused(client: FlaskClient, sent: str, expected: str) -> None:
    answer = client.get("/v1/galleries", headers={"Authorization": sent})
    assert code(answer) == (401, expected)
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="shitu"')
    assert ('error="invalid_token"' in answer.headers["WWW-Authenticate"]) is (expected == "key_invalid")


def test_the_scheme_is_read_as_http_says(app: Flask, client: FlaskClient) -> None:
    token = bearer(app, "read")["Authorization"].removeprefix("Bearer ")
    assert client.get("/v1/galleries", headers={"Authorization": f"bearer  {token}"}).status_code == 200


def test_each_scope_does_what_it_should_and_no_more(app: Flask, client: FlaskClient, drinks: str, hand: Hand) -> None:
    def recognise(headers: dict[str, str]) -> TestResponse:
        form = {"gallery": drinks, "image": (io.BytesIO(picture()), "a.jpg")}
        return client.post("/v1/recognitions", data=form, headers=headers)

    calls = {
        "read": lambda headers: client.get("/v1/galleries", headers=headers),
        "recognize": recognise,
        "manage": lambda headers: client.post(
            "/v1/galleries", json={"name": f"g{len(headers['X-Name'])}"}, headers=headers
        ),
        "admin": lambda headers: client.get("/v1/keys", headers=headers),
    }
    for place, scope in enumerate(calls):
        headers = {**bearer(app, scope), "X-Name": "x" * (place + 1)}
        for wanted, (name, call) in enumerate(calls.items()):
            answer = call(headers)
            if wanted <= place:
                assert answer.status_code < 300, (scope, name, answer.get_json())
            else:
                assert code(answer) == (403, "scope_missing"), (scope, name)
                assert answer.get_json()["scope"] == name
                assert f'error="insufficient_scope", scope="{name}"' in answer.headers["WWW-Authenticate"]
    # A key's answers are its installation's: another key may read them.
    job = recognise(bearer(app, "recognize")).get_json()
    hand.finish(job["id"], recognition_result())
    assert client.get(job["links"]["self"], headers=bearer(app, "read")).get_json()["status"] == "succeeded"


def test_a_refused_request_changes_nothing(app: Flask, client: FlaskClient, drinks: str) -> None:
    for headers in ({}, bearer(app, "recognize")):
        assert client.delete(f"/v1/galleries/{drinks}", headers=headers).status_code in {401, 403}
    assert client.get(f"/v1/galleries/{drinks}", headers=bearer(app, "read")).get_json()["item_count"] == 4


def test_keys_are_made_shown_once_and_revoked(app: Flask, client: FlaskClient) -> None:
    admin = bearer(app, "admin", name="boss")
    made = client.post(
        "/v1/keys",
        json={"name": "till", "scopes": ["recognize"], "expires_in_s": 3600, "limits": {"open_jobs": 5}},
        headers=admin,
    )
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    key = made.get_json()
    check(key, "KeyMade", description())
    theirs = {"Authorization": f"Bearer {key['token']}"}
    assert client.get("/v1/galleries", headers=theirs).status_code == 200
    listed = client.get("/v1/keys", headers=admin).get_json()
    check(listed, "KeyList", description())
    assert [one["name"] for one in listed["keys"]] == ["boss", "till"]
    assert key["token"] not in str(listed)
    assert listed["keys"][1]["last_used_at"] is not None
    assert listed["keys"][1]["limits"] == {"requests_per_minute": None, "open_jobs": 5, "bytes_per_day": None}
    assert client.delete(f"/v1/keys/{key['id']}", headers=admin).status_code == 204
    assert code(client.get("/v1/galleries", headers=theirs)) == (401, "key_invalid")
    assert code(client.delete(f"/v1/keys/{key['id']}", headers=admin)) == (404, "key_not_found")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/name", "/scopes"}),
        ({"name": " ", "scopes": []}, {"/name", "/scopes"}),
        ({"name": "a", "scopes": ["write"]}, {"/scopes/0"}),
        (
            {"name": "a", "scopes": ["read"], "limits": {"open_jobs": -1, "bytes": 3}},
            {"/limits/open_jobs", "/limits/bytes"},
        ),
        ({"name": "a", "scopes": ["read"], "expires_in_s": 0}, {"/expires_in_s"}),
        ({"name": "a", "scope": ["read"]}, {"/scope", "/scopes"}),
    ],
)
def test_a_wrong_request_for_a_key_names_every_mistake(
    app: Flask, client: FlaskClient, body: dict[str, object], pointers: set[str]
) -> None:
    answer = client.post("/v1/keys", json=body, headers=bearer(app, "admin"))
    assert code(answer) == (400, "invalid_request")
    assert {one["pointer"] for one in answer.get_json()["errors"]} == pointers


def test_metrics_are_open_by_setting_alone(settings: Settings, client: FlaskClient, app: Flask) -> None:
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers=bearer(app, "read")).status_code == 200
    opened = create_app(with_keys(settings, open_metrics=True)).test_client()
    assert opened.get("/metrics").status_code == 200
    assert opened.get("/v1/galleries").status_code == 401


def test_without_keys_nobody_else_is_let_in_until_it_was_said(settings: Settings) -> None:
    elsewhere = {"REMOTE_ADDR": "192.0.2.9"}
    silent = create_app(replace(settings, keys=replace(settings.keys, required=None))).test_client()
    assert silent.get("/v1/galleries", headers={"Authorization": "Basic eA=="}).status_code == 200
    assert code(silent.get("/v1/galleries", environ_base=elsewhere)) == (403, "keys_required")
    assert silent.get("/healthz", environ_base=elsewhere).status_code == 200
    report = create_app(replace(settings, keys=replace(settings.keys, required=False))).test_client()
    assert report.get("/v1/galleries", environ_base=elsewhere).status_code == 200


def test_a_redis_that_is_away_lets_nobody_in(settings: Settings) -> None:
    away = create_app(replace(settings, redis_url="redis://127.0.0.1:1/0")).test_client()
    answer = away.get("/v1/galleries", headers={"Authorization": f"Bearer shitu_{'0' * 12}_{'0' * 52}"})
    assert code(answer) == (503, "redis_unavailable")
    assert away.get("/healthz").status_code == 200


def test_the_log_names_the_key_of_a_request(
    app: Flask, client: FlaskClient, drinks: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        client.delete(f"/v1/galleries/{drinks}", headers=bearer(app, "manage", name="Mei")).close()
    (audited,) = [record for record in caplog.records if record.name == "shitu.audit"]
    (access,) = [record for record in caplog.records if record.name == "shitu.access"]
    assert audited.key == access.key  # type: ignore[attr-defined]
    assert audited.key_name == "Mei"  # type: ignore[attr-defined]
    assert "shitu_" not in str([record.__dict__ for record in caplog.records])
