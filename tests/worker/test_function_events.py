"""Events of SQS and S3, well formed and not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts.jobs import JobKind
from infra.jobs.records import JOB_ID, fixed_id, new_id
from worker.function_events import EventRefused, Request, Waiting, place, read_event, result_key


def notified(key: str, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    s3 = {"bucket": {"name": "photos"}, "object": {"key": key}}
    return {"eventSource": "aws:s3", "eventName": name, "s3": s3}


def queued(body: Any, message_id: str = "m-1") -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    return {"eventSource": "aws:sqs", "messageId": message_id, "body": text}


def read_one(record: dict[str, Any]) -> tuple[tuple[Request | Waiting, ...], str | None]:
    [message] = read_event({"Records": [record]})
    return message.requests, message.refused


REQUEST = {"bucket": "photos", "key": "in/1.jpg", "gallery": "drinks"}


def test_a_message_of_ours_is_a_request() -> None:
    requests, refused = read_one(queued({**REQUEST, "options": {"top_k": 3}}))
    assert (requests, refused) == ((Request("photos", "in/1.jpg", "drinks", {"top_k": 3}, event="m-1"),), None)
    assert isinstance(requests[0], Request)
    assert place(requests[0].origin) == ("photos", "in/1.jpg")
    assert result_key("in/1.jpg") == "results/in/1.jpg.json"


@pytest.mark.parametrize(
    "kind", [JobKind.RECOGNITION, JobKind.DETECTION, JobKind.EMBEDDING, JobKind.CLASSIFICATION], ids=str
)
def test_a_job_of_the_ledger_is_named_by_its_id(kind: JobKind) -> None:
    job_id = new_id(kind.prefix, 1_800_000_000)
    assert read_one(queued({"job": job_id})) == ((Waiting(kind, job_id),), None)


def test_an_upload_names_its_gallery_and_its_key_is_decoded() -> None:
    assert read_one(notified("uploads/drinks/a+shelf%21.jpg"))[0][0].subject == "uploads/drinks/a shelf!.jpg"
    through_a_queue = queued({"Records": [notified("uploads/drinks/1.jpg"), notified("uploads/tea/2.jpg")]})
    assert [request.gallery for request in read_one(through_a_queue)[0] if isinstance(request, Request)] == [
        "drinks",
        "tea",
    ]


@pytest.mark.parametrize(
    "record",
    [
        notified("results/uploads/drinks/1.jpg.json"),
        notified("other/1.jpg"),
        notified("uploads/drinks/"),
        notified("uploads/drinks/1.jpg", "ObjectRemoved:Delete"),
        queued({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
    ],
)
def test_what_is_of_no_concern_is_passed_by(record: dict[str, Any]) -> None:
    assert read_one(record) == ((), None)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{", "Expecting"),
        ({"job": 3}, "the id of a job"),
        ({"job": "rec_1"}, "the id of a job"),
        ({"job": new_id("imp", 1_800_000_000)}, "does no import"),
        ({**REQUEST, "job": new_id("rec", 1_800_000_000)}, "unknown: job"),
        ([], "missing or of another kind"),
        ({"bucket": "photos", "key": "1.jpg"}, "gallery"),
        ({**REQUEST, "galery": "x"}, "unknown: galery"),
        ({**REQUEST, "key": ""}, "key: expected a text"),
        ({**REQUEST, "gallery": 3}, "gallery: expected a text"),
        ({**REQUEST, "key": "results/1.jpg.json"}, "is an answer"),
        ({**REQUEST, "options": []}, "options: expected an object"),
        ({**REQUEST, "options": {"top": 3}}, "top"),
        ({"Records": [notified("uploads/1.jpg")]}, "expected uploads/GALLERY/NAME"),
    ],
)
def test_a_message_that_is_no_request_says_why(body: Any, why: str) -> None:
    requests, refused = read_one(queued(body))
    assert requests == ()
    assert why in (refused or "")


@pytest.mark.parametrize(
    "event", [None, [], {}, {"Records": 3}, {"Records": [{"eventSource": "aws:sns"}]}, {"Records": [3]}]
)
def test_what_is_no_event_is_refused(event: Any) -> None:
    with pytest.raises(EventRefused):
        read_event(event)


def test_a_request_that_comes_again_is_the_same_and_a_later_one_about_the_place_another() -> None:
    def upload(**about: str) -> Request:
        record = {**notified("uploads/drinks/1.jpg"), "eventTime": "2026-11-28T08:00:00.500Z"}
        record["s3"]["object"].update(about)
        (request,) = read_one(record)[0]
        assert isinstance(request, Request)
        return request

    first = upload(eTag="a", sequencer="1")
    assert first.identity == upload(eTag="a", sequencer="1").identity
    assert first.identity != upload(eTag="b", sequencer="2").identity
    assert first.at == 1_795_852_800.5
    job_id = fixed_id("rec", first.at, first.identity)
    assert JOB_ID.fullmatch(job_id)
    assert job_id[:14] == new_id("rec", first.at)[:14]
    assert job_id == fixed_id("rec", first.at, first.identity) != fixed_id("rec", first.at, first.identity + " ")


def test_a_message_may_name_a_webhook() -> None:
    sent = {**queued({**REQUEST, "webhook_url": "https://shop.example/hook"}), "attributes": {"SentTimestamp": "1500"}}
    (request,) = read_one(sent)[0]
    assert isinstance(request, Request)
    assert (request.webhook_url, request.event, request.at) == ("https://shop.example/hook", "m-1", 1.5)
    assert read_one(queued({**REQUEST, "webhook_url": 5}))[1] == "webhook_url: expected a text"
