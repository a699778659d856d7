"""Lists of jobs: every job once, whatever comes and goes between the pages, and only those that match the query."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from infra.jobs import listing
from infra.jobs.ledger import JobLedger
from infra.jobs.records import isoformat
from infra.jobs.terms import Terms
from tests.openapi_checks import check
from tests.web.conftest import Hand, recognition_result
from tests.web.refusals import refused
from web.routes import description
from web.services import Services

URL = "/v1/recognitions"


@pytest.fixture
def ledger(service: Services) -> JobLedger:
    return service.ledger


def made(ledger: JobLedger, gallery: str = "drinks", **metadata: str) -> str:
    image = {"key": "images/00/00", "name": "a.jpg", "width": 640, "height": 480, "format": "JPEG"}
    request = {"gallery": gallery, "image": image, "options": {}}
    return ledger.create("recognition", request, terms=Terms(metadata=metadata)).id


def listed(client: FlaskClient, **query: Any) -> list[str]:
    response = client.get(URL, query_string=query)
    assert response.status_code == 200, response.text
    return [job["id"] for job in response.get_json()["recognitions"]]


def test_pages_show_every_job_once_while_others_come_and_go(client: FlaskClient, ledger: JobLedger, hand: Hand) -> None:
    ids = [made(ledger) for _ in range(7)]
    seen, after = [], None
    while True:
        query = {"limit": 3} | ({"after": after} if after else {})
        page = client.get(URL, query_string=query).get_json()
        check(page, "RecognitionPage", description())
        seen += [job["id"] for job in page["recognitions"]]
        after = page["next_after"]
        if after is None:
            break
        made(ledger)  # newer than what is left to see
        if ledger.get(ids[0]).status == "queued":
            hand.finish(ids[0], recognition_result())
    assert seen == ids[::-1]


def test_jobs_of_one_moment_are_all_listed(client: FlaskClient, redis_client: redis.Redis) -> None:
    """As many are made in one transaction, whose clock stands still."""
    still = JobLedger(redis_client, now=lambda: 1_800_000_000.0)
    ids = {made(still) for _ in range(5)}
    first = client.get(URL, query_string={"limit": 2}).get_json()
    rest = client.get(URL, query_string={"limit": 9, "after": first["next_after"]}).get_json()
    assert {job["id"] for page in (first, rest) for job in page["recognitions"]} == ids
    assert rest["next_after"] is None


def test_the_filters_and_their_combinations(client: FlaskClient, ledger: JobLedger, hand: Hand) -> None:
    tea, other, failed, waiting = (
        made(ledger, order="1", shop="a"),
        made(ledger, "food", order="2", shop="a"),
        made(ledger, order="3"),
        made(ledger, order="1"),
    )
    hand.finish(tea, recognition_result())
    hand.finish(other, recognition_result(recognitions=[]))
    hand.fail(failed, "image_truncated")
    assert listed(client) == [waiting, failed, other, tea]
    assert listed(client, status="queued") == [waiting]
    assert listed(client, status="succeeded") == [other, tea]
    assert listed(client, gallery="drinks") == [waiting, failed, tea]
    assert listed(client, label="tea") == [tea]
    assert listed(client, label="cola") == []  # only dropped there
    assert listed(client, **{"metadata.order": "1"}) == [waiting, tea]
    assert listed(client, **{"metadata.order": "1", "metadata.shop": "a"}) == [tea]
    assert listed(client, **{"metadata.shop": "a", "gallery": "food", "status": "succeeded"}) == [other]
    assert listed(client, **{"metadata.shop": "a", "status": "failed"}) == []
    assert listed(client, gallery="nothing") == []


def test_a_job_moves_between_the_lists_of_statuses(client: FlaskClient, ledger: JobLedger, hand: Hand) -> None:
    job_id = made(ledger)
    lease = ledger.start(job_id)
    assert lease is not None
    assert (listed(client, status="processing"), listed(client, status="queued")) == ([job_id], [])
    ledger.fail(lease, {"code": "x", "message": "y", "retryable": True})
    assert (listed(client, status="failed"), listed(client, status="processing")) == ([job_id], [])
    ledger.replay(job_id)
    assert (listed(client, status="queued"), listed(client, status="failed")) == ([job_id], [])
    ledger.cancel(job_id)
    assert (listed(client, status="canceled"), listed(client, status="queued")) == ([job_id], [])


def test_times_are_half_open_and_in_any_zone(client: FlaskClient, redis_client: redis.Redis) -> None:
    at = [1_800_000_000.0]
    ledger = JobLedger(redis_client, now=lambda: at[0])
    ids = []
    for _ in range(3):
        ids.append(made(ledger))
        at[0] += 10
    second = isoformat(1_800_000_010.0)
    assert listed(client, created_after=second) == [ids[2], ids[1]]
    assert listed(client, created_before=second) == [ids[0]]
    assert listed(client, created_after=second, created_before=isoformat(1_800_000_020.0)) == [ids[1]]
    assert listed(client, created_after="2027-01-15T09:00:10+01:00") == [ids[2], ids[1]]
    raw = client.get(f"{URL}?created_after=2027-01-15T09:00:10+01:00")  # a plus that nobody escaped
    assert len(raw.get_json()["recognitions"]) == 2
    assert listed(client, created_after="2027-01-15") == ids[::-1]


def test_retention_takes_a_job_out_of_every_list(
    client: FlaskClient, ledger: JobLedger, hand: Hand, redis_client: redis.Redis
) -> None:
    job_id = made(ledger, order="1")
    hand.finish(job_id, recognition_result())
    assert listed(client, label="tea") == [job_id]
    ledger.sweeper.retire(now=time.time() + 1e6)
    assert listed(client) == []
    assert list(redis_client.scan_iter("shitu:jobs:list:*")) == []


def test_a_lost_record_is_left_out_and_tidied_away(
    client: FlaskClient, ledger: JobLedger, redis_client: redis.Redis
) -> None:
    kept, lost = made(ledger), made(ledger)
    redis_client.delete(f"shitu:job:{lost}")
    assert listed(client) == [kept]
    assert redis_client.zcard("shitu:jobs:list:recognition") == 1
    redis_client.hset(f"shitu:job:{kept}", "status", "nonsense")
    assert listed(client) == []


def test_a_page_that_looks_at_too_much_ends_early(
    client: FlaskClient, ledger: JobLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "CHUNK", 2)
    monkeypatch.setattr(listing, "MOST_LOOKED_AT", 4)
    wanted = made(ledger, "food", shop="a")
    for _ in range(8):
        made(ledger, shop="a")
        made(ledger, "food")
    seen, after, pages = [], None, 0
    while True:
        query = {"gallery": "food", "metadata.shop": "a", "limit": 1} | ({"after": after} if after else {})
        page = client.get(URL, query_string=query).get_json()
        pages += 1
        seen += [job["id"] for job in page["recognitions"]]
        after = page["next_after"]
        if after is None:
            break
    assert seen == [wanted]
    assert 2 <= pages < 9


def test_enrolments_are_listed_by_the_labels_that_they_bring(client: FlaskClient, ledger: JobLedger) -> None:
    request = {"gallery": "drinks", "items": [{"name": "a", "label": "tea"}, {"name": "b", "label": "cola"}]}
    job_id = ledger.create("enrollment", request).id
    made(ledger)
    page = client.get("/v1/enrollments?label=cola&gallery=drinks").get_json()
    assert [job["id"] for job in page["enrollments"]] == [job_id]
    assert client.get("/v1/enrollments?label=milk").get_json() == {"enrollments": [], "next_after": None}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("status=done", "invalid_request"),
        ("limit=0", "invalid_request"),
        ("limit=201", "invalid_request"),
        ("created_after=yesterday", "invalid_request"),
        ("created_before=", "invalid_request"),
        ("metadata.=x", "invalid_request"),
        ("metadata.a=1&metadata.a=2", "invalid_request"),
        ("galery=drinks", "invalid_request"),
        ("after=nonsense", "invalid_cursor"),
        ("after=" + "A" * 40, "invalid_cursor"),
    ],
)
def test_wrong_queries_are_refused(client: FlaskClient, query: str, code: str) -> None:
    refused(client.get(f"{URL}?{query}"), 400, code)


def test_a_page_does_not_read_all_jobs(client: FlaskClient, ledger: JobLedger, redis_client: redis.Redis) -> None:
    for _ in range(60):
        made(ledger)
    redis_client.config_resetstat()
    listed(client, limit=5)
    calls = redis_client.info("commandstats").get("cmdstat_hgetall", {"calls": 0})["calls"]
    assert calls <= 10


def test_the_filters_of_metadata_are_described() -> None:
    names = [one["name"] for one in description()["paths"][URL]["get"]["parameters"]]
    assert "metadata.KEY" in names
    assert json.dumps(description())
