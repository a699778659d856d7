"""Results over a size: in the object store, read back wherever a job is read, gone with their jobs."""

from __future__ import annotations

import dataclasses
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from infra.erasure.jobs import erase_job
from infra.errors.service import StorageUnavailable
from infra.jobs.results import FOLDER, LEAVING, Results
from tests.web.conftest import Hand, recognition_result
from tests.web.pictures import picture

if TYPE_CHECKING:
    from flask.testing import FlaskClient

    from infra.runtime.settings import Settings
    from web.services import Services


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return dataclasses.replace(settings, jobs=dataclasses.replace(settings.jobs, result_bytes=2000))


def large(gallery: str) -> dict[str, Any]:
    return {**recognition_result(gallery), "padding": "×" * 3000}


def recognition(client: FlaskClient, gallery: str) -> str:
    form = {"gallery": gallery, "image": (io.BytesIO(picture()), "a.jpg")}
    job_id: str = client.post("/v1/recognitions", data=form).get_json()["id"]
    return job_id


def test_it_is_read_wherever_a_job_is(client: FlaskClient, service: Services, drinks: str) -> None:
    job_id, result = recognition(client, drinks), large(drinks)
    hook = client.post("/v1/webhooks", json={"url": "https://example.com/hook"}).get_json()
    Hand(service.ledger).finish(job_id, result)
    (key,) = list(service.objects.list(FOLDER))
    assert json.loads(service.objects.get(key)) == result
    assert len(service.redis.hget(f"shitu:job:{job_id}", "result") or "") < 200
    assert client.get(f"/v1/recognitions/{job_id}").get_json()["result"] == result
    assert client.get("/v1/recognitions").get_json()["recognitions"][0]["result"] == result
    assert client.get("/v1/events").get_json()["events"][0]["data"]["result"] == result
    assert json.dumps(result, ensure_ascii=False) in client.get(f"/v1/recognitions/{job_id}/events").text
    (sent,) = client.get(hook["links"]["deliveries"]).get_json()["deliveries"]
    assert client.get(sent["links"]["self"]).get_json()["body"]["data"]["result"] == result
    labels = [one["label"] for one in result["recognitions"]]
    assert client.get(f"/v1/recognitions?label={labels[0]}").get_json()["recognitions"][0]["id"] == job_id


def test_a_batch_answers_with_it(client: FlaskClient, service: Services, drinks: str) -> None:
    form = {"gallery": drinks, "images": [(io.BytesIO(picture(seed=seed)), f"{seed}.jpg") for seed in range(2)]}
    batch = client.post("/v1/batches", data=form).get_json()
    ids = [job["id"] for job in client.get("/v1/recognitions").get_json()["recognitions"]]
    for job_id in ids:
        Hand(service.ledger).finish(job_id, large(drinks))
    rows = [json.loads(line) for line in client.get(f"/v1/batches/{batch['id']}/results").text.splitlines()]
    assert [row["result"] for row in rows] == [large(drinks)] * 2


def test_a_small_one_stays_in_the_ledger(client: FlaskClient, service: Services, drinks: str) -> None:
    job_id = recognition(client, drinks)
    Hand(service.ledger).finish(job_id, {"recognitions": []})
    assert list(service.objects.list(FOLDER)) == []
    assert client.get(f"/v1/recognitions/{job_id}").get_json()["result"] == {"recognitions": []}


def test_it_goes_with_its_job(client: FlaskClient, service: Services, drinks: str) -> None:
    retired, erased = recognition(client, drinks), recognition(client, drinks)
    for job_id in (retired, erased):
        Hand(service.ledger).finish(job_id, large(drinks))
    assert erase_job(service.redis, service.ledger, erased, 60) is not None
    assert [key.split("/")[1] for key in service.objects.list(FOLDER)] == [retired]
    service.redis.zadd("shitu:jobs:finished", {retired: 1})
    assert service.ledger.sweeper.retire() == (retired,)
    assert service.redis.zcard(LEAVING) == 1
    assert service.ledger.results.remove_due() == 1
    assert list(service.objects.list(FOLDER)) == []
    assert service.redis.zcard(LEAVING) == 0


def test_what_an_attempt_left_is_no_result_and_is_found(
    client: FlaskClient, service: Services, drinks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = recognition(client, drinks)
    lease = service.ledger.start(job_id)
    assert lease is not None
    service.ledger.results.kept(job_id, 0, json.dumps(large(drinks)))  # then its process died
    assert service.ledger.succeed(lease, large(drinks))
    monkeypatch.setattr("infra.jobs.results.STRAY_S", -60.0)
    assert service.ledger.results.check_stored(service.ledger.results.stored())
    assert list(service.objects.list(FOLDER)) == [f"{FOLDER}{job_id}/{lease.token}"]
    assert client.get(f"/v1/recognitions/{job_id}").get_json()["result"] == large(drinks)


def test_a_lost_one_is_null_and_an_absent_store_is_reported(
    client: FlaskClient, service: Services, drinks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = recognition(client, drinks)
    Hand(service.ledger).finish(job_id, large(drinks))
    with pytest.raises(StorageUnavailable):
        Results(service.redis).whole({"result": service.redis.hget(f"shitu:job:{job_id}", "result") or ""})
    (key,) = list(service.objects.list(FOLDER))
    service.objects.delete(key)
    job = client.get(f"/v1/recognitions/{job_id}").get_json()
    assert (job["status"], job["result"]) == ("succeeded", None)


def test_a_store_that_fails_ends_no_job(client: FlaskClient, service: Services, drinks: str) -> None:
    job_id = recognition(client, drinks)
    lease = service.ledger.start(job_id)
    assert lease is not None
    folder = service.settings.data_dir / "objects" / FOLDER.rstrip("/")
    folder.write_bytes(b"")  # a file where the folder would be
    with pytest.raises((StorageUnavailable, OSError)):
        service.ledger.succeed(lease, large(drinks))
    assert service.ledger.get(job_id).status == "processing"
    folder.unlink()
    assert service.ledger.succeed(lease, large(drinks))
