"""Without keys: under which names the service answers, and that no other site's page, by whatever name, changes anything."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from infra.errors.service import ConfigurationError
from infra.runtime.settings import Settings, load_settings
from tests.web.keyed import bearer, with_keys
from tests.web.pictures import picture
from tests.web.serving import ask, serving
from web.app import create_app


def made(settings: Settings, **web: Any) -> Flask:
    return create_app(replace(settings, web=replace(settings.web, **web)))


def code(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["code"]


REFUSED = (421, "host_unknown")
EVIL = ["evil.com", "evil.com:8137", "localhost.evil.com", "127.0.0.1.evil.com", "evil-localhost", "local", "2130706433",
        "localhost,evil.com", "evil.com#localhost", "user@localhost", "[::1", "::1", "[evil.com]", "localhost:80:80", "",
        "127.0.0.1evil.com:8000", "localhost:http", "\xff"]  # fmt: skip
OWN = ["localhost", "LocalHost:8137", "localhost.", "localhost:", "shitu.localhost:80", "127.0.0.1", "127.0.0.1:8137",
       "192.168.1.20:8000", "[::1]", "[::1]:8000", "[FE80::1]:80"]  # fmt: skip


@pytest.mark.parametrize("host", EVIL)
def test_a_strange_name_is_not_answered(client: FlaskClient, drinks: str, host: str) -> None:
    own_page = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    for headers in ({"Host": host}, own_page):
        assert code(client.get("/v1/galleries", headers=headers)) == REFUSED
        assert code(client.delete(f"/v1/galleries/{drinks}", headers=headers)) == REFUSED
    assert client.get(f"/v1/galleries/{drinks}").status_code == 200


@pytest.mark.parametrize("host", OWN)
def test_its_own_names_are(client: FlaskClient, host: str) -> None:
    headers = {"Host": host, "Origin": f"http://{host.lower()}", "Sec-Fetch-Site": "same-origin"}
    assert client.get("/v1/galleries", headers={"Host": host}).status_code == 200
    assert client.post("/v1/galleries", json={"name": "a"}, headers=headers).status_code == 201


def test_a_strange_name_gets_nothing_but_the_probes(app: Flask, client: FlaskClient, drinks: str) -> None:
    headers = {"Host": "evil.com"}
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<int:version>", "1").replace("<name>", drinks).replace("<path:filename>", "page.css")
        for method in (rule.methods or set()) - {"HEAD"}:
            answer = client.open(path, method=method, headers=headers)
            if path in {"/healthz", "/readyz"}:
                assert answer.status_code in {200, 503}, (method, path)
                assert "code" not in (answer.get_json(silent=True) or {})
            else:
                assert code(answer) == REFUSED, (method, path)
    assert code(client.get("/nothing", headers=headers)) == REFUSED


def test_the_refusal_says_what_to_set(client: FlaskClient) -> None:
    report = client.get("/", headers={"Host": "shop.example:8000"}).get_json()
    assert "SHITU_WEB__HOSTS=shop.example " in report["detail"]
    assert "SHITU_KEYS__REQUIRED=true" in report["detail"]
    assert not report["retryable"]


def test_who_sends_no_host_is_no_browser(client: FlaskClient) -> None:
    """HTTP/1.0 needs none; every browser sends one."""
    environ = {"HTTP_HOST": None}
    assert client.get("/v1/galleries", environ_overrides=environ).status_code == 200


def test_names_can_be_given(settings: Settings) -> None:
    client = made(settings, host="localhost", hosts=("web", "*.shops.example")).test_client()
    for host in ("web:8000", "WEB", "web.", "north.shops.example", "a.b.shops.example:80"):
        assert client.get("/v1/galleries", headers={"Host": host}).status_code == 200, host
    for host in ("web.evil.com", "shops.example", "evilshops.example", "webb"):
        assert code(client.get("/v1/galleries", headers={"Host": host})) == REFUSED, host


def test_the_name_that_it_was_reported_to_listen_on_is_its_own(settings: Settings) -> None:
    open_to_all = replace(settings, keys=replace(settings.keys, required=False))
    client = made(open_to_all, host="Till-3.Lan").test_client()
    assert client.get("/v1/galleries", headers={"Host": "till-3.lan:8000"}).status_code == 200
    assert code(client.get("/v1/galleries", headers={"Host": "till-4.lan:8000"})) == REFUSED


@pytest.mark.parametrize("required", [None, False])
def test_it_holds_however_keys_are_off(settings: Settings, required: bool | None) -> None:
    off = replace(settings, keys=replace(settings.keys, required=required, open_metrics=True))
    client = create_app(off).test_client()
    for path in ("/v1/galleries", "/metrics"):
        assert code(client.get(path, headers={"Host": "evil.com"})) == REFUSED
        assert client.get(path).status_code == 200
    assert code(client.post("/v1/galleries", json={"name": "a"}, headers={"Origin": "http://evil"}))[0] == 403


def test_what_a_trusted_proxy_says_counts_and_nobody_elses(settings: Settings) -> None:
    report = {"X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "https", "Origin": "https://shop.example"}
    body = {"name": "a"}
    trusting = made(settings, trusted_proxies=("127.0.0.1",), hosts=("shop.example",)).test_client()
    assert trusting.post("/v1/galleries", json=body, headers=report).status_code == 201
    plain = {**report, "Origin": "http://shop.example"}
    assert code(trusting.post("/v1/galleries", json=body, headers=plain)) == (403, "cross_site_request")
    unnamed = made(settings, trusted_proxies=("127.0.0.1",)).test_client()
    assert code(unnamed.post("/v1/galleries", json=body, headers=report)) == REFUSED
    distrusting = made(settings, hosts=("shop.example",)).test_client()
    assert code(distrusting.post("/v1/galleries", json=body, headers=report)) == (403, "cross_site_request")
    hiding = {"Host": "evil.com", "X-Forwarded-Host": "localhost"}
    assert code(distrusting.get("/v1/galleries", headers=hiding)) == REFUSED


FOREIGN = [
    {"Origin": "http://evil"},
    {"Origin": "http://evil", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "null"},
    {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    {"Origin": ""},
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
    {"Origin": "https://localhost"},
    {"Origin": "http://localhost.evil.com"},
    {"Origin": "http://localhost/"},
    {"Origin": "localhost"},
    {"Origin": "http://localhost, http://evil"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=[str(sent) for sent in FOREIGN])
def test_another_sites_page_changes_nothing(client: FlaskClient, drinks: str, headers: dict[str, str]) -> None:
    form = {"images": (io.BytesIO(picture()), "a.jpg"), "labels": "evil"}
    linked = {"items": [{"image": {"url": "http://pictures.example/a.jpg"}, "label": "evil"}]}
    refused = (403, "cross_site_request")
    assert code(client.post(f"/v1/galleries/{drinks}/items", data=form, headers=headers)) == refused
    assert code(client.post(f"/v1/galleries/{drinks}/items", json=linked, headers=headers)) == refused
    assert (
        code(client.post("/v1/galleries", data='{"name": "a"}', content_type="text/plain", headers=headers)) == refused
    )
    assert code(client.patch(f"/v1/galleries/{drinks}", json={}, headers=headers)) == refused
    assert code(client.delete(f"/v1/galleries/{drinks}", headers=headers)) == refused
    assert client.get("/v1/galleries", headers=headers).status_code == 200  # which that page cannot read
    assert client.get(f"/v1/galleries/{drinks}").get_json()["item_count"] == 4


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("localhost", "http://localhost:80"),
        ("localhost:8137", "http://localhost:8137"),
        ("[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_its_own_page_does(client: FlaskClient, host: str, origin: str) -> None:
    for name, headers in (("a", {}), ("b", {"Sec-Fetch-Site": "same-origin"})):
        sent = {"Host": host, "Origin": origin, **headers}
        assert client.post("/v1/galleries", json={"name": name}, headers=sent).status_code == 201


def test_pages_of_sites_that_are_named_do(settings: Settings) -> None:
    client = made(settings, cors_origins=("https://shop.example",)).test_client()
    for name, headers in (("a", {}), ("b", {"Sec-Fetch-Site": "cross-site"})):
        sent = {"Origin": "https://shop.example", **headers}
        assert client.post("/v1/galleries", json={"name": name}, headers=sent).status_code == 201
        for other in ("http://shop.example", "https://evil.example", "null"):
            answer = client.post("/v1/galleries", json={"name": name}, headers={**sent, "Origin": other})
            assert code(answer) == (403, "cross_site_request")
    # Whose pages may ask is one thing, by which names they may is another.
    assert code(client.get("/v1/galleries", headers={"Host": "shop.example"})) == REFUSED


def test_with_keys_a_key_is_what_counts(settings: Settings) -> None:
    app = create_app(with_keys(settings))
    headers = {"Host": "shop.example", "Origin": "http://evil", **bearer(app, "manage")}
    assert app.test_client().post("/v1/galleries", json={"name": "a"}, headers=headers).status_code == 201


def test_the_real_server_refuses_them_too(settings: Settings, tmp_path: Path) -> None:
    def report(method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
        status, answer = ask(url, method, path, body, **headers)
        return status, json.loads(answer or b"{}").get("code", "")

    words = {"Content-Type": "application/json"}
    with serving(settings, tmp_path / "web.log") as url:
        assert report("POST", "/v1/galleries", b'{"name": "zz"}', Origin=url, **words) == (201, "")
        rebound = {"Host": "evil.com:8137", "Origin": "http://evil.com:8137", "Sec-Fetch-Site": "same-origin"}
        assert report("DELETE", "/v1/galleries/zz", **rebound) == REFUSED
        assert report("GET", "/v1/galleries/zz", **rebound) == REFUSED
        assert (
            report("POST", "/v1/galleries", b'{"name": "a"}', Origin="http://evil", **words)[1] == "cross_site_request"
        )
        assert report("GET", "/v1/galleries/zz") == (200, "")
        assert report("GET", "/healthz", Host="evil.com") == (200, "")


def test_the_setting_is_read_and_handed_on(settings: Settings) -> None:
    found = load_settings({**settings.to_env(), "SHITU_WEB__HOSTS": "Web, *.shops.example"})
    assert found.web.hosts == ("web", "*.shops.example")
    assert load_settings(found.to_env()) == found
    for wrong in ("web:8000", "http://web", "*"):
        with pytest.raises(ConfigurationError, match="SHITU_WEB__HOSTS"):
            load_settings({"SHITU_WEB__HOSTS": wrong})
