"""Lists of batches: each once, the newest first, and what has gone is dropped."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from flask.testing import FlaskClient

from contracts.jobs import JobKind
from infra.jobs.batch_records import Planned
from infra.jobs.ledger import JobLedger
from infra.jobs.records import isoformat, new_id
from infra.jobs.terms import Terms
from tests.openapi_checks import check
from tests.web.conftest import Hand, recognition_result
from tests.web.refusals import refused
from web.routes import description
from web.services import Services

URL = "/v1/batches"


@pytest.fixture
def ledger(service: Services) -> JobLedger:
    return service.ledger


def made(ledger: JobLedger, gallery: str = "drinks") -> str:
    request = {"gallery": gallery, "options": {}, "metadata": {}, "priority": "normal"}
    image = {"key": "photos/00/00", "name": "a.jpg", "width": 640, "height": 480, "format": "JPEG"}
    one = Planned("a.jpg", {"gallery": gallery, "image": image, "options": {}})
    batch_id = new_id("bat", ledger.time())
    terms = [Terms(batch=batch_id)]
    return ledger.batches.create(batch_id, JobKind.RECOGNITION, request, [one], None, terms).id


def listed(client: FlaskClient, **query: Any) -> list[str]:
    response = client.get(URL, query_string=query)
    assert response.status_code == 200, response.text
    return [one["id"] for one in response.get_json()["batches"]]


def test_pages_show_every_batch_once_while_others_come(client: FlaskClient, ledger: JobLedger) -> None:
    assert client.get(URL).get_json() == {"batches": [], "next_after": None}
    ids = [made(ledger) for _ in range(5)]
    seen: list[str] = []
    after = None
    while True:
        page = client.get(URL, query_string={"limit": 2} | ({"after": after} if after else {})).get_json()
        check(page, "BatchPage", description())
        seen += [one["id"] for one in page["batches"]]
        after = page["next_after"]
        if after is None:
            break
        made(ledger)
    assert seen == ids[::-1]
    assert "jobs" not in client.get(URL).get_json()["batches"][0]
    assert client.get(f"{URL}/{ids[0]}").get_json()["jobs"][0]["name"] == "a.jpg"


def test_only_what_matches_the_query(client: FlaskClient, ledger: JobLedger, hand: Hand) -> None:
    first = made(ledger)
    born = isoformat(ledger.batches.get(first).created_at)
    while isoformat(ledger.time()) == born:
        pass  # times are reported in milliseconds
    second = made(ledger, "snacks")
    hand.finish(str(ledger.batches.get(first).entries[0].job_id), recognition_result())
    assert listed(client, status="completed") == [first]
    assert listed(client, gallery="snacks") == [second]
    assert listed(client, gallery="snacks", status="completed") == []
    at = isoformat(ledger.batches.get(second).created_at)
    assert listed(client, created_before=at) == [first]
    assert listed(client, created_after=at) == [second]
    assert listed(client, created_after=isoformat(ledger.time() + 60)) == []
    report = client.get(URL, query_string={"status": "completed"}).get_json()["batches"][0]
    whole = client.get(f"{URL}/{first}").get_json()
    assert {*whole} - {*report} == {"jobs"}
    assert [report[name] for name in ("counts", "request", "links")] == [
        whole[name] for name in ("counts", "request", "links")
    ]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"status": "succeeded"}, "invalid_request"),
        ({"limit": "0"}, "invalid_request"),
        ({"created_after": "yesterday"}, "invalid_request"),
        ({"galery": "x"}, "invalid_request"),
        ({"after": "bat_1"}, "invalid_cursor"),
    ],
)
def test_a_wrong_query_is_refused(client: FlaskClient, query: dict[str, str], code: str) -> None:
    refused(client.get(URL, query_string=query), 400, code)


def test_what_has_expired_is_listed_no_more_and_leaves_no_entry(
    client: FlaskClient, ledger: JobLedger, redis_client: redis.Redis
) -> None:
    ids = [made(ledger) for _ in range(5)]
    redis_client.delete(*(f"shitu:jobs:batch:{one}" for one in ids[:3]))
    assert listed(client, limit=1) == [ids[4]]
    last = made(ledger)  # each new one drops two of the oldest that have gone: nobody need read the list
    assert redis_client.zcard("shitu:jobs:list:batch") == 4
    assert listed(client) == [last, ids[4], ids[3]]
    assert redis_client.zcard("shitu:jobs:list:batch") == 3
