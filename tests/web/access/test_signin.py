"""The page's sign-in: what the cookie is worth, how long, and that no other site's page can use it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from infra.runtime.settings import Settings
from tests.web.keyed import bearer, with_keys
from web.app import create_app
from web.services import EXTENSION

OWN = {"Origin": "http://localhost"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return with_keys(settings)


def sign_in(app: Flask, scope: str = "manage", path: str = "/signin", **more: str) -> tuple[FlaskClient, TestResponse]:
    token = bearer(app, scope, name="Mei")["Authorization"].removeprefix("Bearer ")
    client = app.test_client()
    return client, client.post(path, data={"key": f" {token}\n", **more}, headers=OWN)


def code(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


def test_a_person_is_led_to_the_form_and_back(app: Flask) -> None:
    client = app.test_client()
    sent_on = client.get("/?gallery=drinks")
    assert (sent_on.status_code, sent_on.headers["Location"]) == (303, "/signin?next=/?gallery%3Ddrinks")
    form = client.get(sent_on.headers["Location"])
    assert 'value="/?gallery=drinks"' in form.get_data(as_text=True)
    assert form.headers["Content-Security-Policy"].startswith("default-src 'none'")
    client, answer = sign_in(app, next="/?gallery=drinks")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/?gallery=drinks")
    page = client.get("/")
    assert page.status_code == 200
    assert "Key: Mei" in page.get_data(as_text=True)
    assert "Signed in" in client.get("/signin").get_data(as_text=True)


def test_the_form_speaks_the_readers_language(app: Flask) -> None:
    text = app.test_client().get("/signin", headers={"Accept-Language": "zh-CN"}).get_data(as_text=True)
    assert '<html lang="zh"' in text
    assert "使用密钥登录" in text


def test_the_cookie_is_kept_from_scripts_and_other_sites(app: Flask) -> None:
    _, answer = sign_in(app)
    kept = answer.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(kept.split("; "))
    assert "Secure" not in kept
    assert "shitu_session=" in kept
    assert "shitu_" not in kept.partition("=")[2].partition(";")[0]  # no key


def test_it_is_secure_behind_tls_and_bound_to_the_path(settings: Settings) -> None:
    web = replace(settings.web, trusted_proxies=("127.0.0.1",), root_path="/shitu")
    app = create_app(replace(settings, web=web))
    token = bearer(app, "read")["Authorization"].removeprefix("Bearer ")
    headers = {"Origin": "https://shop.example", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
    answer = app.test_client().post("/shitu/signin", data={"key": token}, headers=headers)
    assert answer.headers["Location"] == "/shitu/"
    assert {"Secure", "Path=/shitu"} <= set(answer.headers["Set-Cookie"].split("; "))


def test_a_session_does_what_its_key_may(app: Flask) -> None:
    client, _ = sign_in(app, "recognize")
    assert client.get("/v1/galleries").status_code == 200
    assert code(client.post("/v1/galleries", json={"name": "a"}, headers=OWN)) == (403, "scope_missing")
    client, _ = sign_in(app, "manage")
    assert client.post("/v1/galleries", json={"name": "a"}, headers=OWN).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:8080"},
        {"Origin": "http://sub.localhost", "Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_no_other_page_changes_anything_with_it(app: Flask, headers: dict[str, str]) -> None:
    client, _ = sign_in(app)
    assert code(client.post("/v1/galleries", json={"name": "a"}, headers=headers)) == (403, "cross_site_request")
    assert code(client.post("/signin", data={"key": "x"}, headers=headers)) == (403, "cross_site_request")
    assert code(client.post("/signout", headers=headers)) == (403, "cross_site_request")
    assert client.get("/v1/galleries").get_json() == {"galleries": []}
    # A program with a key of its own is no page, whatever it sends along.
    made = client.post("/v1/galleries", json={"name": "a"}, headers={**headers, **bearer(app, "manage")})
    assert made.status_code == 201


def test_browsers_that_say_same_origin_are_believed_behind_any_proxy(app: Flask) -> None:
    client, _ = sign_in(app)
    headers = {"Origin": "https://shop.example", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/v1/galleries", json={"name": "a"}, headers=headers).status_code == 201


def test_signing_out_ends_it_for_good(app: Flask) -> None:
    client, answer = sign_in(app)
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    assert client.post("/signout", headers=OWN).status_code == 303
    assert code(client.get("/v1/galleries")) == (401, "key_missing")
    assert code(app.test_client().get("/v1/galleries", headers={"Cookie": cookie})) == (401, "key_missing")


def test_a_revoked_key_ends_its_sessions(app: Flask) -> None:
    client, _ = sign_in(app)
    keys = app.extensions[EXTENSION].keys
    keys.revoke(keys.all()[-1].id)
    assert code(client.get("/v1/galleries")) == (401, "key_invalid")
    assert client.get("/").status_code == 303
    assert "Sign in with a key" in client.get("/signin").get_data(as_text=True)


def test_a_session_ends_by_itself_unless_it_is_used(app: Flask, redis_client: redis.Redis) -> None:
    client, _ = sign_in(app)
    (name,) = redis_client.scan_iter("shitu:keys:session:*")
    redis_client.pexpire(name, 20_000_000)
    client.get("/v1/galleries")
    assert redis_client.pttl(name) > 40_000_000
    redis_client.delete(name)
    assert code(client.get("/v1/galleries")) == (401, "key_missing")


@pytest.mark.parametrize("key", ["", "nonsense", f"shitu_{'0' * 12}_{'0' * 52}", "<script>"])
def test_a_wrong_key_gets_the_form_again(app: Flask, key: str) -> None:
    answer = app.test_client().post("/signin", data={"key": key, "next": "/"}, headers=OWN)
    text = answer.get_data(as_text=True)
    assert answer.status_code == 401
    assert 'role="alert"' in text
    assert "<script>" not in text
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/\n/evil"]
)
def test_the_way_back_leads_nowhere_else(app: Flask, target: str) -> None:
    _, answer = sign_in(app, next=target)
    assert answer.headers["Location"] == "/"


def test_without_keys_there_is_nothing_to_sign_in_to(settings: Settings) -> None:
    client = create_app(replace(settings, keys=replace(settings.keys, required=None))).test_client()
    assert "No key is needed" in client.get("/signin").get_data(as_text=True)
    assert client.get("/").status_code == 200


def test_without_keys_another_sites_page_changes_nothing(settings: Settings) -> None:
    off = replace(settings, keys=replace(settings.keys, required=None))
    other = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    client = create_app(off).test_client()
    assert code(client.post("/v1/galleries", json={"name": "a"}, headers=other)) == (403, "cross_site_request")
    assert client.post("/v1/galleries", json={"name": "a"}).status_code == 201
    named = replace(off, web=replace(off.web, cors_origins=("https://evil.example",)))
    assert create_app(named).test_client().post("/v1/galleries", json={"name": "b"}, headers=other).status_code == 201
