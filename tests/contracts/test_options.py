"""One declaration of the options: the web, the models, the command line, the page and docs/api.md have its ranges."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest

from contracts.errors import OptionsError
from contracts.options import ENROLL_OPTIONS, RECOGNIZE_OPTIONS, Option, RecognizeOptions
from shitu.cli.main import main
from web.routes import description

API_PAGE = Path(__file__).parents[2] / "docs" / "api.md"
NUMBERS = [one for one in RECOGNIZE_OPTIONS.values() if not (one.choices or one.boxes or one.flag)]


def named(one: Option) -> str:
    return one.name


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = description()["components"]["schemas"][name]
    return found


def json_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else f"`{value}`" if isinstance(value, str) else f"{value:g}"


@pytest.mark.parametrize("one", RECOGNIZE_OPTIONS.values(), ids=named)
def test_the_page_has_the_range_and_default(one: Option) -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", API_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    (row,) = [(allowed, default) for name, allowed, default in rows if name == one.name]
    report = [*["null"] * one.nullable, *[f"`{choice}`" for choice in one.choices]]
    if one.flag:
        report = ["true, false"]
    elif one.boxes:
        report = ["1 to 100 boxes, or null"]
    elif not one.choices:
        report = [f"{one.lowest:g} to {one.highest:g}" + ", or null" * one.nullable]
    assert row == (", ".join(report), json_text(one.default))


@pytest.mark.parametrize("one", RECOGNIZE_OPTIONS.values(), ids=named)
def test_the_openapi_schema_has_it(one: Option) -> None:
    found = schema("RecognizeOptions")["properties"][one.name]
    assert found["default"] == one.default
    assert found["description"] == one.description
    kinds = found.get("anyOf", [found])
    assert (len(kinds) == 2) == one.nullable
    if one.choices:
        assert tuple(kinds[0].get("enum", [kinds[0].get("const")])) == one.choices
    elif one.flag:
        assert kinds[0]["type"] == "boolean"
    elif one.boxes:
        box = kinds[0]["items"]
        assert (kinds[0]["minItems"], kinds[0]["maxItems"], box["minItems"], box["maxItems"]) == (1, 100, 4, 4)
    else:
        assert (kinds[0]["minimum"], kinds[0]["maximum"]) == (one.lowest, one.highest)
        assert kinds[0]["type"] == ("integer" if one.whole else "number")


def test_an_enrolment_s_choices_are_the_schema_s() -> None:
    assert schema("EnrollmentFields")["properties"]["crop"]["enum"] == list(ENROLL_OPTIONS["crop"].choices)


@pytest.mark.parametrize("one", NUMBERS, ids=named)
def test_both_ends_are_allowed_and_nothing_beyond(one: Option) -> None:
    kind = int if one.whole else float
    for end in (one.lowest, one.highest):
        RecognizeOptions(**{one.name: kind(end)})
    for beyond in (kind(one.lowest) - 1, kind(one.highest) + 1):
        with pytest.raises(OptionsError):
            RecognizeOptions(**{one.name: beyond})


@pytest.mark.parametrize("flag", ["min-precision", "threshold", "verify", "top-k", "whole-image"])
def test_the_command_line_has_the_range_and_default(flag: str) -> None:
    command = main.get_command(click.Context(main), "recognize")
    assert command is not None
    (option,) = [one for one in command.params if f"--{flag}" in one.opts]
    one = RECOGNIZE_OPTIONS["similarity_threshold" if flag == "threshold" else flag.replace("-", "_")]
    kind: Any = option.type
    assert option.default == one.default
    assert (tuple(kind.choices) == one.choices) if one.choices else ((kind.min, kind.max) == (one.lowest, one.highest))


@pytest.mark.parametrize(
    ("boxes", "report"),
    [
        ([], "1 to 100"),
        ([[0, 0, 9, 9]] * 101, "1 to 100"),
        ("0,0,9,9", "1 to 100"),
        ([[0, 0, 9]], "0: must be the four numbers"),
        ([[0, 0, 9, 9], [0, 0, 9.5, 9]], "1: must be of whole numbers"),
        ([[0, 0, True, 9]], "0: must be of whole numbers"),
        ([[9, 0, 9, 9], [0, 0, 1, 1], [0, 5, 3, 4]], "0: is empty.*; 2: is empty"),
        ([[0, 0, 10**7, 9]], "0: has a corner"),
    ],
)
def test_boxes_are_boxes(boxes: Any, report: str) -> None:
    with pytest.raises(OptionsError, match=report):
        RecognizeOptions(boxes=boxes)


@pytest.mark.parametrize(
    "other", [{"whole_image": "always"}, {"max_detections": 3}, {"compat": "paddleclas"}, {"suppression_iou": 0.5}]
)
def test_what_means_nothing_next_to_boxes_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match="no effect with boxes"):
        RecognizeOptions(boxes=[[0, 0, 9, 9]], **other)
