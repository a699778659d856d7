"""Behind a proxy, below a path, and used by other sites' pages: nothing is believed that the settings do not say."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request
from flask.testing import FlaskClient

from infra.errors.service import ConfigurationError
from infra.net.webhooks import message
from infra.runtime.settings import Settings, load_settings
from tests.web.keyed import bearer, with_keys
from tests.web.pictures import picture
from tests.web.serving import ask, serving
from web.app import create_app

SPOOFED = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Prefix": "/evil",
}


def made(settings: Settings, **web: Any) -> Flask:
    return create_app(replace(settings, web=replace(settings.web, **web)))


def seen(app: Flask, headers: dict[str, str], peer: str = "127.0.0.1") -> tuple[str | None, str, str]:
    """What a view sees of a request: its client, its scheme and host, and the path of the application."""
    found: list[tuple[str | None, str, str]] = []
    app.before_request_funcs.setdefault(None, []).insert(
        0, lambda: found.append((request.remote_addr, request.host_url, request.script_root))
    )
    app.test_client().get("/healthz", headers=headers, environ_base={"REMOTE_ADDR": peer})
    return found[-1]


def test_nothing_forwarded_is_believed_by_default(settings: Settings) -> None:
    assert seen(made(settings), SPOOFED) == ("127.0.0.1", "http://localhost/", "")


def test_a_trusted_proxy_is_believed_and_nobody_else(settings: Settings) -> None:
    trusting = {"trusted_proxies": ("127.0.0.1", "10.0.0.0/8")}
    proxied = ("203.0.113.7", "https://evil.example/", "/evil")
    assert seen(made(settings, **trusting), SPOOFED) == proxied
    assert seen(made(settings, **trusting), SPOOFED, "10.1.2.3") == proxied
    assert seen(made(settings, **trusting), SPOOFED, "192.0.2.1") == ("192.0.2.1", "http://localhost/", "")


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("6.6.6.6, 203.0.113.7", "203.0.113.7"),  # the client wrote the first one itself
        ("6.6.6.6, 203.0.113.7, 10.0.0.9", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8::1]:99", "2001:db8::1"),
        ("nonsense, 10.0.0.9", "10.0.0.9"),
        ("", "127.0.0.1"),
    ],
)
def test_the_client_is_the_last_that_is_no_trusted_proxy(settings: Settings, chain: str, client: str) -> None:
    app = made(settings, trusted_proxies=("127.0.0.1", "10.0.0.0/8"))
    assert seen(app, {"X-Forwarded-For": chain})[0] == client


def test_odd_words_of_a_trusted_proxy_are_ignored(settings: Settings) -> None:
    odd = {"X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "a b/<script>", "X-Forwarded-Prefix": "//evil"}
    assert seen(made(settings, trusted_proxies=("127.0.0.1",)), odd) == ("127.0.0.1", "http://localhost/", "")


def test_without_keys_a_client_behind_a_trusted_proxy_is_remote(settings: Settings) -> None:
    client = made(settings, trusted_proxies=("127.0.0.1",)).test_client()
    answer = client.get("/v1/galleries", headers={"X-Forwarded-For": "203.0.113.7"})
    assert answer.get_json()["code"] == "keys_required"
    assert client.get("/v1/galleries").status_code == 200


def test_a_proxy_does_not_make_a_remote_client_local(settings: Settings) -> None:
    """The refusal without keys looks at the connection, whatever is said of it."""
    client = made(settings, trusted_proxies=("192.0.2.1",)).test_client()
    for peer in ("192.0.2.1", "192.0.2.2"):
        answer = client.get(
            "/v1/galleries", headers={"X-Forwarded-For": "127.0.0.1"}, environ_base={"REMOTE_ADDR": peer}
        )
        assert answer.get_json()["code"] == "keys_required"


@pytest.mark.parametrize("before", ["", "/shop/shitu"], ids=["taken off", "left on"])
def test_links_have_the_path_whatever_the_proxy_does_with_it(settings: Settings, before: str) -> None:
    app = made(settings, root_path="/shop/shitu")
    client = app.test_client()
    gallery = client.post(f"{before}/v1/galleries", json={"name": "drinks"})
    assert gallery.headers["Location"] == "/shop/shitu/v1/galleries/drinks"
    assert gallery.get_json()["links"]["items"] == "/shop/shitu/v1/galleries/drinks/items"
    form = {"gallery": "drinks", "image": (io.BytesIO(picture()), "a.jpg")}
    answer = client.post(f"{before}/v1/recognitions", data=form)
    job = answer.get_json()
    assert answer.headers["Location"] == job["links"]["self"] == f"/shop/shitu/v1/recognitions/{job['id']}"
    assert client.get(job["links"]["self"]).get_json() == job
    listed = client.get(f"{before}/v1/recognitions").get_json()
    assert listed["recognitions"][0]["links"] == job["links"]
    page = client.get(f"{before}/").get_data(as_text=True)
    assert 'href="/shop/shitu/static/page.css"' in page
    assert "/shop/shitu/openapi.json" in page
    with client.get("/shop/shitu/static/page.css") as style:
        assert style.status_code == 200
    assert client.get("/shop/shitu").status_code == 200
    assert client.get(f"{before}/openapi.json").get_json()["servers"] == [{"url": "/shop/shitu"}]
    assert client.get("/healthz").status_code == 200


def test_event_streams_and_webhooks_have_the_path_too(settings: Settings, redis_url: str) -> None:
    app = made(settings, root_path="/shitu")
    client = app.test_client()
    client.post("/v1/galleries", json={"name": "drinks"})
    form = {"gallery": "drinks", "image": (io.BytesIO(picture()), "a.jpg")}
    job = client.post("/v1/recognitions", data=form).get_json()
    client.post(f"/v1/recognitions/{job['id']}/cancel")
    stream = client.get(f"/v1/recognitions/{job['id']}/events").get_data(as_text=True)
    assert f'"self": "/shitu/v1/recognitions/{job["id"]}"' in stream
    assert b'"self":"/shitu/v1/' in message(app.extensions["shitu"].ledger.get(job["id"]), "/shitu").replace(
        b": ", b":"
    )


def test_the_feed_answers_below_the_path_that_its_request_came_by(settings: Settings) -> None:
    client = made(settings, trusted_proxies=("127.0.0.1",)).test_client()
    client.post("/v1/galleries", json={"name": "drinks"})
    form = {"gallery": "drinks", "image": (io.BytesIO(picture()), "a.jpg")}
    job = client.post("/v1/recognitions", data=form).get_json()
    client.post(f"/v1/recognitions/{job['id']}/cancel")
    (event,) = client.get("/v1/events", headers={"X-Forwarded-Prefix": "/shop"}).get_json()["events"]
    assert event["data"]["links"]["self"] == f"/shop/v1/recognitions/{job['id']}"


def test_the_real_server_believes_no_header_either(settings: Settings, tmp_path: Path) -> None:
    with serving(settings, tmp_path / "web.log") as url:
        status, body = ask(
            url, "GET", "/v1/nothing", SCRIPT_NAME="/evil", **{"X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/e"}
        )
        assert status == 404
        assert b"/evil" not in body
        status, body = ask(
            url,
            "POST",
            "/v1/galleries",
            b'{"name": "a"}',
            **{"Content-Type": "application/json", "SCRIPT_NAME": "/evil"},
        )
        assert (status, b"/evil" in body) == (201, False)


@pytest.fixture
def shop(settings: Settings) -> Flask:
    changed = replace(settings.web, cors_origins=("https://shop.example", "http://localhost:3000"))
    return create_app(with_keys(replace(settings, web=changed)))


def preflight(client: FlaskClient, origin: str, path: str = "/v1/recognitions") -> Any:
    preflight = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    return client.options(path, headers=preflight)


def test_a_preflight_needs_no_key(shop: Flask) -> None:
    answer = preflight(shop.test_client(), "https://shop.example")
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert {"Authorization", "Content-Type", "Idempotency-Key"} <= set(
        answer.headers["Access-Control-Allow-Headers"].split(", ")
    )
    assert answer.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_answers_and_refusals_can_be_read_by_the_sites_that_are_named(shop: Flask) -> None:
    client = shop.test_client()
    origin = {"Origin": "http://localhost:3000"}
    for headers, status in (({**origin, **bearer(shop, "read")}, 200), (origin, 401)):
        answer = client.get("/v1/galleries", headers=headers)
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
        assert {"Location", "Retry-After", "RateLimit", "WWW-Authenticate"} <= set(
            answer.headers["Access-Control-Expose-Headers"].split(", ")
        )


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "https://shop.example.evil.example", "null", "http://shop.example"]
)
def test_others_get_nothing(shop: Flask, origin: str) -> None:
    client = shop.test_client()
    for answer in (
        preflight(client, origin),
        client.get("/v1/galleries", headers={"Origin": origin, **bearer(shop, "read")}),
    ):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
        assert "Origin" in answer.headers["Vary"]


def test_by_default_there_is_none_and_a_star_is_all(settings: Settings) -> None:
    silent = preflight(create_app(settings).test_client(), "https://shop.example")
    assert not [name for name, _ in silent.headers if name.startswith("Access-Control")]
    star = preflight(made(settings, cors_origins=("*",)).test_client(), "https://anybody.example")
    assert star.headers["Access-Control-Allow-Origin"] == "*"


def test_other_answers_to_options_stay(client: FlaskClient) -> None:
    assert client.options("/v1/galleries").headers["Allow"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHITU_WEB__ROOT_PATH", "shitu"), ("SHITU_WEB__ROOT_PATH", "/a b"), ("SHITU_WEB__ROOT_PATH", "/v1"),
        ("SHITU_WEB__ROOT_PATH", "//evil"), ("SHITU_WEB__TRUSTED_PROXIES", "proxy.example"),
        ("SHITU_WEB__TRUSTED_PROXIES", "10.0.0.0/99"), ("SHITU_WEB__CORS_ORIGINS", "https://shop.example/"),
        ("SHITU_WEB__CORS_ORIGINS", "shop.example"), ("SHITU_WEB__CORS_ORIGINS", "https://a.example,nonsense"),
    ],
)  # fmt: skip
def test_wrong_settings_are_reported(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        load_settings({name: value})


def test_settings_reach_child_processes(settings: Settings) -> None:
    env = {
        "SHITU_WEB__ROOT_PATH": "/a/",
        "SHITU_WEB__TRUSTED_PROXIES": "127.0.0.1, ::1",
        "SHITU_WEB__CORS_ORIGINS": "*",
    }
    found = load_settings({**settings.to_env(), **env})
    assert (found.web.root_path, found.web.trusted_proxies, found.web.cors_origins) == (
        "/a",
        ("127.0.0.1", "::1"),
        ("*",),
    )
    assert load_settings(found.to_env()) == found
