"""Feedback over HTTP: kept with its photo, counted, paged, and made lists that training and evaluation read."""

from __future__ import annotations

import io
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from infra.jobs.photos import Photos
from infra.runtime.settings import Settings
from models.training.data import query_photos
from models.training.data.lint import Layout, lint
from models.training.data.readers.labelled import read_photos
from tests.openapi_checks import check
from tests.web.conftest import Hand, recognition_result
from tests.web.pictures import picture
from tests.web.refusals import refused
from web.routes import description
from web.services import Services

SIZE = {"width": 640, "height": 480}
TEA, DROPPED, DRAWN = [60, 90, 260, 420], [400, 120, 560, 400], [5, 5, 25, 25]


def recognized(client: FlaskClient, hand: Hand, seed: int = 77, **result: Any) -> str:
    """The id of a recognition that has succeeded."""
    job = client.post(
        "/v1/recognitions", data={"gallery": "drinks", "image": (io.BytesIO(picture(seed=seed)), "a.jpg")}
    )
    hand.finish(job.get_json()["id"], recognition_result(**result))
    return str(job.get_json()["id"])


@pytest.fixture
def job(client: FlaskClient, hand: Hand, drinks: str) -> str:
    return recognized(client, hand)


def say(client: FlaskClient, job: str, **body: Any) -> Any:
    return client.post(f"/v1/recognitions/{job}/feedback", json=body)


def kept(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    reported: dict[str, Any] = answer.get_json()
    check(reported, "Feedback", description())
    return reported


@pytest.mark.parametrize(
    ("body", "answer", "label"),
    [
        ({"box": TEA, "verdict": "right"}, "tea", "tea"),
        ({"box": TEA, "verdict": "right", "label": "tea"}, "tea", "tea"),
        ({"box": TEA, "verdict": "wrong"}, "tea", None),
        ({"box": TEA, "verdict": "wrong", "label": " Cafe\u0301 "}, "tea", "Café"),
        ({"box": TEA, "verdict": "ignore"}, "tea", None),
        ({"box": DROPPED, "verdict": "right", "label": "cola"}, None, "cola"),  # a candidate confirmed
        ({"box": DROPPED, "verdict": "wrong", "label": "milk"}, None, "milk"),
        ({"box": DRAWN, "verdict": "wrong", "label": "milk"}, None, "milk"),
        ({"box": None, "verdict": "ignore"}, None, None),
        ({"verdict": "wrong", "label": "milk"}, None, "milk"),
    ],
)
def test_feedback_is_kept(
    client: FlaskClient, drinks: str, job: str, body: dict[str, Any], answer: str | None, label: str | None
) -> None:
    made = kept(say(client, job, **body))
    assert (made["answer"], made["label"], made["verdict"]) == (answer, label, body["verdict"])
    assert (made["job_id"], made["gallery"], made["version"], made["box"]) == (job, drinks, 2, body.get("box"))
    assert client.get(f"/v1/recognitions/{job}/feedback").get_json() == {"feedback": [made]}
    page = client.get(f"/v1/galleries/{drinks}/feedback").get_json()
    check(page, "FeedbackPage", description())
    assert (page["feedback"], page["next_after"]) == ([made], None)
    assert page["counts"] == {"right": 0, "wrong": 0, "ignore": 0, body["verdict"]: 1}


def test_feedback_without_a_box_is_about_the_whole_photo(client: FlaskClient, hand: Hand, drinks: str) -> None:
    whole = {**recognition_result()["recognitions"][0], "box": [0, 0, 640, 480], "source": "whole_image"}
    job = recognized(client, hand, recognitions=[whole])
    assert kept(say(client, job, verdict="right"))["answer"] == "tea"
    assert kept(say(client, job, verdict="right", box=[0, 0, 640, 480]))["answer"] == "tea"


def test_it_outlives_the_job_and_its_photo(client: FlaskClient, service: Services, drinks: str, job: str) -> None:
    made = kept(say(client, job, box=TEA, verdict="right"))
    photo_key = service.ledger.get(job).request["image"]["key"]
    later = time.time() + 1e8
    assert service.ledger.sweeper.retire(now=later) == (job,)
    assert Photos(service.redis, service.objects, now=lambda: later).remove_due() == 1
    assert not service.objects.exists(photo_key)
    assert client.get(f"/v1/galleries/{drinks}/feedback").get_json()["feedback"] == [made]
    photo = client.get(made["links"]["image"])
    assert (photo.status_code, photo.data, photo.mimetype) == (200, picture(seed=77), "image/jpeg")
    refused(client.get(f"/v1/recognitions/{job}/feedback"), 410, "job_expired")
    refused(say(client, job, box=TEA, verdict="right"), 410, "job_expired")
    refused(client.get(f"/v1/galleries/{drinks}/feedback/fbk_0/image"), 404, "feedback_not_found")


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({"box": TEA}, 400, "invalid_request", "/verdict"),
        ({"box": TEA, "verdict": "good"}, 400, "invalid_request", "/verdict"),
        ({"box": TEA, "verdict": "right", "lable": "x"}, 400, "invalid_request", "/lable"),
        ({"box": TEA, "verdict": "wrong", "label": "  "}, 400, "invalid_request", "/label"),
        ({"box": TEA, "verdict": "wrong", "label": "a\u202eb"}, 400, "invalid_request", "/label"),
        ({"box": TEA[:3], "verdict": "right"}, 400, "invalid_request", "/box"),
        ({"box": [1.5, 2, 3, 4], "verdict": "right"}, 400, "invalid_request", "/box/0"),
        ({"box": [60, 90, 60, 420], "verdict": "right"}, 422, "box_invalid", "/box"),
        ({"box": [60, 90, 641, 420], "verdict": "right"}, 422, "box_invalid", "/box"),
        ({"box": [-1, 90, 64, 420], "verdict": "right"}, 422, "box_invalid", "/box"),
        ({"box": DROPPED, "verdict": "right"}, 422, "feedback_invalid", "/label"),
        ({"box": DRAWN, "verdict": "right"}, 422, "feedback_invalid", "/label"),
        ({"verdict": "right"}, 422, "feedback_invalid", "/label"),
        ({"box": TEA, "verdict": "right", "label": "cola"}, 422, "feedback_invalid", "/label"),
        ({"box": TEA, "verdict": "wrong", "label": "tea"}, 422, "feedback_invalid", "/label"),
        ({"box": TEA, "verdict": "ignore", "label": "tea"}, 422, "feedback_invalid", "/label"),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_kept(
    client: FlaskClient, service: Services, job: str, body: dict[str, Any], status: int, code: str, pointer: str
) -> None:
    before = sorted(service.objects.list())
    problem = refused(say(client, job, **body), status, code)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert sorted(service.objects.list()) == before


def test_only_an_answer_can_have_feedback(
    client: FlaskClient, hand: Hand, service: Services, drinks: str, job: str
) -> None:
    refused(say(client, "rec_0" + "0" * 25, verdict="ignore"), 404, "job_not_found")
    refused(client.get("/v1/recognitions/rec_0" + "0" * 25 + "/feedback"), 404, "job_not_found")
    form = {"gallery": drinks, "image": (io.BytesIO(picture()), "a.jpg")}
    waiting = client.post("/v1/recognitions", data=form).get_json()["id"]
    refused(say(client, waiting, verdict="ignore"), 409, "job_unfinished")
    hand.fail(waiting, "image_truncated")
    refused(say(client, waiting, verdict="ignore"), 409, "job_without_answer")
    answer = client.post(f"/v1/recognitions/{job}/feedback", data=b"x", content_type="text/plain")
    refused(answer, 415, "unsupported_media_type")
    client.delete(f"/v1/galleries/{drinks}")
    refused(say(client, job, box=TEA, verdict="right"), 404, "gallery_not_found")
    refused(client.get(f"/v1/recognitions/{job}/feedback"), 404, "gallery_not_found")
    refused(client.get(f"/v1/galleries/{drinks}/feedback"), 404, "gallery_not_found")


def test_pages_are_filtered_by_verdict(client: FlaskClient, drinks: str, job: str) -> None:
    for verdict in ("right", "wrong", "wrong", "ignore", "wrong"):
        kept(say(client, job, box=TEA, verdict=verdict))
    url = f"/v1/galleries/{drinks}/feedback"
    first = client.get(f"{url}?verdict=wrong&limit=2").get_json()
    rest = client.get(f"{url}?verdict=wrong&limit=2&after={first['next_after']}").get_json()
    assert [len(page["feedback"]) for page in (first, rest)] == [2, 1]
    assert rest["next_after"] is None
    assert first["counts"] == rest["counts"] == {"right": 1, "wrong": 3, "ignore": 1}
    assert {one["verdict"] for page in (first, rest) for one in page["feedback"]} == {"wrong"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "invalid_request"),
        ("verdict=good", "invalid_request"),
        ("format=csv", "invalid_request"),
        ("after=x", "invalid_cursor"),
        ("holdout=true", "invalid_request"),
        ("format=coco&holdout=true", "invalid_request"),
        ("format=train&limit=5", "invalid_request"),
        ("format=train&verdict=right", "invalid_request"),
        ("format=train&holdout=perhaps", "invalid_request"),
    ],
)
def test_a_bad_query_is_refused(client: FlaskClient, drinks: str, query: str, code: str) -> None:
    refused(client.get(f"/v1/galleries/{drinks}/feedback?{query}"), 400, code)


def test_many_at_once_are_all_kept(app: Flask, client: FlaskClient, drinks: str, job: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: say(app.test_client(), job, box=TEA, verdict="right"), range(24)))
    assert [one.status_code for one in answers] == [201] * 24
    page = client.get(f"/v1/galleries/{drinks}/feedback").get_json()
    assert page["counts"]["right"] == 24
    assert {one["id"] for one in page["feedback"]} == {one.get_json()["id"] for one in answers}


def test_the_lists_are_read_by_training_and_evaluation(
    client: FlaskClient, hand: Hand, settings: Settings, drinks: str, tmp_path: Path
) -> None:
    for seed in range(6):
        job = recognized(client, hand, seed, image={"width": 96, "height": 64}, recognitions=[], dropped=[])
        kept(say(client, job, box=[10, 8, 60, 50], verdict="wrong", label=f"可乐 {seed % 2}"))
        if seed == 5:
            kept(say(client, job, box=[70, 8, 90, 50], verdict="ignore"))
    objects = settings.data_dir / "objects"
    for name in ("train", "eval", "coco"):
        answer = client.get(f"/v1/galleries/{drinks}/feedback?format={name}")
        assert answer.mimetype == ("application/json" if name == "coco" else "text/tab-separated-values")
        (tmp_path / name).write_bytes(answer.data)
    (tmp_path / "coco").rename(tmp_path / "coco.json")
    read = read_photos(objects, str(tmp_path / "train"))
    assert [photo.label for photo in read] == ["可乐 0", "可乐 1"] * 3
    assert [photo.path.read_bytes() for photo in read] == [picture(seed=seed) for seed in range(6)]
    photos = query_photos.listed_photos(tmp_path / "eval", objects, with_id=True)
    assert [photo.label for photo in photos] == ["可乐 0", "可乐 1"] * 3
    assert len({photo.id for photo in photos}) == 6  # the jobs
    report = lint([tmp_path / "train"], Layout(root=objects))
    assert (report.pictures, report.labels, report.errors) == (6, 2, 0), report.findings
    boxed = query_photos.read_photos(tmp_path / "coco.json", objects)
    assert len(boxed) == 6
    assert [photo.boxes.tolist() for photo in boxed if photo.boxes is not None] == [[[10, 8, 60, 50]]] * 6
    held = client.get(f"/v1/galleries/{drinks}/feedback?format=eval&holdout=true").text.splitlines()
    rest = client.get(f"/v1/galleries/{drinks}/feedback?format=train&holdout=true").text.splitlines()
    assert (len(held), len(rest)) == (1, 5)
    assert sorted(held + rest) == sorted((tmp_path / "train").read_text("utf-8").splitlines())


def test_a_repetition_by_its_key_is_one_entry(client: FlaskClient, drinks: str, job: str) -> None:
    url, headers = f"/v1/recognitions/{job}/feedback", {"Idempotency-Key": "one"}
    first, again = (client.post(url, json={"box": TEA, "verdict": "right"}, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code, again.get_json()) == (201, 201, first.get_json())
    refused(client.post(url, json={"box": TEA, "verdict": "wrong"}, headers=headers), 422, "idempotency_key_reused")
    page = client.get(f"/v1/galleries/{drinks}/feedback").get_json()
    assert page["counts"] == {"right": 1, "wrong": 0, "ignore": 0}
    assert page["feedback"] == [kept(first)]
