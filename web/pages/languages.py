"""The languages of the page: one table of messages for each, and which of them a browser gets.

A message is a text, or one for each plural form of its language ("one", "other"), chosen by `count`. `{name}` stands
for a value. The page's scripts read the same table (web/static/words.js).
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from flask import Request

NAMES = {"en": "English", "zh": "中文"}  # each in its own words; the first is for those who want none of them
COOKIE = "shitu_language"  # set by the switch on the page
FOLDER = Path(__file__).parent / "messages"

Messages = dict[str, str | dict[str, str]]


@cache
def messages(language: str) -> Messages:
    """The table of one of NAMES."""
    table: Messages = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return table


def wanted(request: Request) -> str:
    """What the switch was set to, or else the browser's first wish that there is a table for."""
    chosen = request.cookies.get(COOKIE)
    if chosen in NAMES:
        return chosen
    return request.accept_languages.best_match(list(NAMES), default=next(iter(NAMES))) or next(iter(NAMES))


def said(language: str, key: str, **values: object) -> str:
    """The message of a template. Raises KeyError for one that is not in the table: a test opens every page."""
    found = messages(language)[key]
    text = found if isinstance(found, str) else found["one" if values.get("count") == 1 and "one" in found else "other"]
    return text.format_map({name: str(value) for name, value in values.items()})
