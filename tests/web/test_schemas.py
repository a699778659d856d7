"""What a client may send, and what it is told when it sends something else."""

from __future__ import annotations

from typing import Any

import pytest

from infra.errors.requests import InvalidOptions, InvalidRequest
from web.schemas import ItemsQuery, RecognitionFields, RecognitionRequest, parse, parse_json


def fields(**options: Any) -> dict[str, Any]:
    return {"gallery": "drinks", "options": options}


@pytest.mark.parametrize(
    "options",
    [
        {"detection_threshold": 0},
        {"detection_threshold": 1.0, "max_detections": 100, "top_k": 1},
        {"similarity_threshold": None},
        {"similarity_threshold": -1},
        {"min_precision": 0.5, "verify": "always", "verify_top": 20},
        {"min_precision": 0.999, "verify": "never", "verify_top": 1},
        {"whole_image": "always", "suppression_iou": 1, "compat": "paddleclas"},
    ],
)
def test_takes_the_whole_ranges_and_keeps_only_what_was_named(options: dict[str, Any]) -> None:
    assert parse(RecognitionFields, fields(**options)).options.model_dump(exclude_unset=True) == options


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("detection_threshold", 1.01),
        ("detection_threshold", "0.2"),
        ("detection_threshold", float("nan")),
        ("max_detections", 0),
        ("max_detections", 101),
        ("max_detections", 2.5),
        ("max_detections", True),
        ("similarity_threshold", -1.1),
        ("top_k", 0),
        ("whole_image", "sometimes"),
        ("suppression_iou", 2),
        ("compat", "paddlex"),
        ("min_precision", 0.49),
        ("min_precision", 1.0),
        ("min_precision", None),
        ("verify", True),
        ("verify_top", 0),
        ("verify_top", 21),
    ],
)
def test_refuses_what_is_out_of_range(name: str, value: object) -> None:
    with pytest.raises(InvalidOptions) as caught:
        parse(RecognitionFields, fields(**{name: value}))
    assert [error["pointer"] for error in caught.value.extra["errors"]] == [f"/options/{name}"]


def test_an_unknown_option_is_named_with_those_that_exist() -> None:
    with pytest.raises(InvalidOptions) as caught:
        parse(RecognitionFields, fields(topk=3))
    (error,) = caught.value.extra["errors"]
    assert error["pointer"] == "/options/topk"
    assert "'topk'" in error["detail"]
    assert "did you mean 'top_k'?" in error["detail"]
    assert "detection_threshold" in error["detail"]


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(RecognitionRequest, {"image": {}, "options": {"top_k": 0}, "colour": 1})
    assert type(caught.value) is InvalidRequest
    pointers = {error["pointer"] for error in caught.value.extra["errors"]}
    assert pointers == {"/gallery", "/options/top_k", "/colour"}


@pytest.mark.parametrize("text", ["", "{", "nul", '{"a": NaN}', "[" * 100_000, b"\xff\xfe"])
def test_broken_json_is_an_invalid_request(text: str | bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_json(text, "/options")
    assert caught.value.extra["errors"][0]["pointer"] == "/options"


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"limit": "many"}, {"lable": "x"}, {"version": "0"}]
)
def test_a_query_is_checked_too(query: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        parse(ItemsQuery, query)


@pytest.mark.parametrize("body", [[1], "text", 3, None])
def test_a_body_that_is_no_object_is_told_in_the_words_of_json(body: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(RecognitionRequest, body)
    assert caught.value.extra["errors"] == [{"pointer": "", "detail": "this must be a JSON object"}]
    with pytest.raises(InvalidRequest) as caught:
        parse(RecognitionRequest, {"gallery": "drinks", "image": {}, "webhook": body or 7})
    assert caught.value.extra["errors"] == [{"pointer": "/webhook", "detail": "this must be a JSON object"}]
