"""What a client may send, and what is answered when it sends something else."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from infra.errors.requests import InvalidOptions, InvalidRequest
from web.access.keys import KeyRequest
from web.galleries.erasures import EraseQuery
from web.jobs.lists import JobsQuery
from web.openapi.operations import Form, Raw, operation_of
from web.requests.gallery_schemas import FeedbackRequest, GalleryRequest, ItemsQuery, MoveRequest
from web.requests.parsing import parse, parse_json
from web.requests.photo_schemas import DetectionRequest, EmbeddingRequest
from web.requests.schemas import EnrollmentRequest, PhotoQuery, RecognitionFields, RecognitionRequest
from web.requests.wording import TIME
from web.routes import bare
from web.webhooks.records import ReplayRequest, RotateRequest, WebhookRequest


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


def test_all_mistakes_are_reported_at_once() -> None:
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
def test_a_body_that_is_no_object_is_reported_in_the_words_of_json(body: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(RecognitionRequest, body)
    assert caught.value.extra["errors"] == [{"pointer": "", "detail": "this must be a JSON object"}]
    with pytest.raises(InvalidRequest) as caught:
        parse(RecognitionRequest, {"gallery": "drinks", "image": {}, "webhook": body or 7})
    assert caught.value.extra["errors"] == [{"pointer": "/webhook", "detail": "this must be a JSON object"}]


BOX = "a box is [x1, y1, x2, y2], four whole numbers of pixels; "


@pytest.mark.parametrize(
    ("model", "sent", "pointer", "words"),
    [
        (RecognitionFields, fields(boxes=[[1, 2, 3]]), "/options/boxes/0", BOX + "this list has 3"),
        (RecognitionFields, fields(boxes=[1]), "/options/boxes/0", BOX + "this is not a list"),
        (RecognitionFields, fields(boxes=[]), "/options/boxes", "this list must have at least 1 entry, not 0"),
        (RecognitionFields, fields(boxes=[[1, 2, 3.5, 4]]), "/options/boxes/0/2", "this must be a whole number"),
        (EmbeddingRequest, {"image": {}, "options": {"boxes": [{}]}}, "/options/boxes/0", BOX + "this is not a list"),
        (FeedbackRequest, {"verdict": "right", "box": [1] * 5}, "/box", BOX + "this list has 5"),
        (FeedbackRequest, {"verdict": "good"}, "/verdict", "this must be 'right', 'wrong' or 'ignore'"),
        (EnrollmentRequest, {"from": {"job": "x", "box": "1"}, "label": "x"}, "/from/box", BOX + "this is not a list"),
        (DetectionRequest, {"image": {}, "options": {"max_detections": 0}}, "/options/max_detections", "this must be at least 1"),
        (RecognitionFields, fields(top_k="3"), "/options/top_k", "this must be a whole number"),
        (RecognitionFields, fields(detection_threshold=2), "/options/detection_threshold", "this must be at most 1.0"),
        (RecognitionFields, fields(detection_threshold="x"), "/options/detection_threshold", "this must be a number"),
        (RecognitionFields, fields() | {"gallery": [1]}, "/gallery/0", "this must be a text (a JSON string)"),
        (KeyRequest, {"name": "x", "scopes": []}, "/scopes", "this list must have at least 1 entry, not 0"),
        (KeyRequest, {"name": "x", "scopes": ["read"], "expires_in_s": 0}, "/expires_in_s", "this must be more than 0.0"),
        (MoveRequest, {"to": "x", "item_ids": "a"}, "/item_ids", "this must be a list (a JSON array)"),
        (GalleryRequest, {"name": 1}, "/name", "this must be a text (a JSON string)"),
        (WebhookRequest, {"url": ""}, "/url", "this must not be empty"),
        (WebhookRequest, {"url": "x", "enabled": "yes"}, "/enabled", "this must be true or false"),
        (WebhookRequest, {"url": "x", "description": "x" * 201}, "/description", "this may have at most 200 characters"),
        (WebhookRequest, {"url": "x", "events": ["*"] * 51}, "/events", "this list must have at most 50 entries, not 51"),
        (RotateRequest, {"overlap_s": float("nan")}, "/overlap_s", "this must be a number"),
        (ReplayRequest, {"since": "now"}, "/since", TIME),
        (ReplayRequest, {"since": "2026-01-31T12:00:00"}, "/since", TIME),
        (ReplayRequest, {"since": "2026-13-31T12:00:00Z"}, "/since", TIME),
        (ReplayRequest, {"since": "2026-01-31T12:00:00Z", "until": []}, "/until", TIME),
        (EraseQuery, {"erase": "maybe"}, "/erase", "this must be true or false"),
        (PhotoQuery, {"annotated": "2"}, "/annotated", "this must be true or false"),
        (PhotoQuery, {"width": "wide"}, "/width", "this must be a whole number"),
        (JobsQuery, {"limit": "9" * 5000}, "/limit", "this must be a whole number"),
    ],
)  # fmt: skip
def test_what_is_expected_is_reported_in_plain_words(
    model: type[BaseModel], sent: Any, pointer: str, words: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(model, sent)
    assert caught.value.extra["errors"] == [{"pointer": pointer, "detail": words}]


def test_no_model_of_a_request_has_a_union_whose_branches_would_be_reported() -> None:
    """Of a union pydantic names the branch within the place of the mistake: `/gallery/str`."""
    operations = [found for view in bare().view_functions.values() if (found := operation_of(view)) is not None]
    sent = {
        one.fields if isinstance(one, Form) else one
        for found in operations
        for body in (found.body or {}).values()
        for one in (body if isinstance(body, tuple) else (body,))
        if not isinstance(one, Raw)
    }
    models = [one for one in {*sent, *(found.query for found in operations)} if one is not None]
    assert len(models) > 20
    assert [one.__name__ for one in models if _has_union(one.__pydantic_core_schema__)] == []


def _has_union(schema: Any) -> bool:
    if isinstance(schema, dict):
        if schema.get("type") == "union":
            return True
        inner = [
            value for name, value in schema.items() if name != "json_schema_input_schema"
        ]  # describes, checks nothing
        return any(_has_union(value) for value in inner)
    return isinstance(schema, list | tuple) and any(_has_union(one) for one in schema)


@pytest.mark.parametrize(("text", "value"), [("3.0", 3), ("-2.0e1", -20), ("2.5", 2.5), ("1e300", 1e300)])
def test_a_whole_number_with_a_fraction_part_is_an_integer(text: str, value: float) -> None:
    found = parse_json(text)
    assert (found, type(found)) == (value, type(value))
