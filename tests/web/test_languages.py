"""The tables of messages: the same keys and places for values in each language, none missing and none unused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest
from flask.testing import FlaskClient

from contracts.jobs import Status
from contracts.options import RECOGNIZE_OPTIONS
from web.pages import languages

WEB = Path(languages.__file__).parents[1]
SOURCES = [*sorted((WEB / "templates").glob("*.html")), *sorted((WEB / "static").glob("*.js"))]
CODE = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
TABLES = {code: languages.messages(code) for code in languages.NAMES}
# Families whose keys are made of a value: `problem.` and `stage.` may lack some, the service's own words stand in then.
FAMILIES = sorted(set(re.findall(r"""(?:\bt|\bknown)\((?:`([a-z_.]+\.)\$\{|'([a-z_.]+\.)' ~)""", CODE)))


def texts(message: str | dict[str, str]) -> list[str]:
    return [message] if isinstance(message, str) else list(message.values())


def test_all_languages_have_the_same_keys_and_the_same_places_for_values() -> None:
    english = TABLES["en"]
    for code, table in TABLES.items():
        assert list(table) == sorted(english), code
        for key, message in table.items():
            assert all(text.strip() for text in texts(message)), key
            places = {frozenset(re.findall(r"\{(\w+)\}", text)) for text in [*texts(message), *texts(english[key])]}
            assert len(places) == 1, key
            assert isinstance(message, dict) == isinstance(english[key], dict), key


def test_no_key_is_missing_and_none_unused() -> None:
    used = set(re.findall(r"""\bt\(["'`]([\w.]+)["'`][,)]""", CODE)) | set(re.findall(r"""\? t\("([\w.]+)"\)""", CODE))
    prefixes = tuple(first or second for first, second in FAMILIES)
    assert {key for key in used if key not in TABLES["en"]} == set()
    assert {key for key in TABLES["en"] if key not in used and not key.startswith(prefixes)} == set()


def test_every_status_and_option_has_its_words() -> None:
    english = TABLES["en"]
    assert {f"state.{status}" for status in get_args(Status)} <= set(english)
    numbers = {name for name, option in RECOGNIZE_OPTIONS.items() if f"option.{name}" in english}
    assert {"min_precision", "max_detections", "top_k"} <= numbers


@pytest.mark.parametrize(
    ("accepted", "cookie", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", None, "zh"),
        ("de,fr;q=0.5", None, "en"),
        ("", None, "en"),
        ("zh", "en", "en"),
        ("en-GB", "zh", "zh"),
        ("zh", "xx", "zh"),
    ],
)
def test_the_switch_decides_and_without_it_the_browser(
    client: FlaskClient, accepted: str, cookie: str | None, language: str
) -> None:
    if cookie:
        client.set_cookie(languages.COOKIE, cookie)
    answer = client.get("/", headers={"Accept-Language": accepted} if accepted else {})
    assert answer.headers["Content-Language"] == language
    assert f'<html lang="{language}"' in answer.text
    assert str(languages.messages(language)["photo.choose"]) in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/galleries",
        "/galleries/drinks",
        "/galleries/drinks/lint",
        "/galleries/drinks/versions",
        "/jobs",
        "/batches",
        "/batches/bat_0",
        "/webhooks",
        "/webhooks/whk_0",
        "/keys",
        "/offline",
        "/system",
        "/docs",
    ],
)
def test_every_page_has_its_words_in_every_language(client: FlaskClient, path: str) -> None:
    for code in languages.NAMES:
        client.set_cookie(languages.COOKIE, code)
        answer = client.get(path)
        assert answer.status_code == 200
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
