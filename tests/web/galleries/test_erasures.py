"""Erasure over HTTP: items, labels, galleries and recognitions go for good, with a receipt."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from infra.runtime.settings import GallerySettings, Settings
from tests.openapi_checks import check
from tests.web.conftest import Hand, recognition_result
from tests.web.pictures import picture
from tests.web.refusals import refused
from web.galleries.erasures import eraser
from web.routes import description
from web.services import Services

URL = "/v1/galleries"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With pictures that are old at once."""
    return replace(settings, galleries=GallerySettings(picture_grace_s=0))


def erased(client: FlaskClient, url: str, **query: str) -> dict[str, Any]:
    answer = client.delete(url, query_string={**query, "erase": "true"})
    assert answer.status_code == 200, answer.text
    report: dict[str, Any] = answer.get_json()
    check(report, "Erasure", description())
    assert client.get(report["links"]["self"]).get_json() == report
    return report


def stored(settings: Settings, data: bytes) -> list[Path]:
    return [path for path in settings.data_dir.rglob("*") if path.is_file() and data in path.read_bytes()]


def test_an_item_and_a_label_are_erased(client: FlaskClient, drinks: str, settings: Settings) -> None:
    items = client.get(f"{URL}/{drinks}/items").get_json()["items"]
    assert stored(settings, picture(seed=0))
    report = erased(client, f"{URL}/{drinks}/items/{items[0]['id']}")
    assert (report["kind"], report["status"], report["gallery"]) == ("items", "done", drinks)
    assert report["item_ids"] == [items[0]["id"]]
    assert report["pictures"] == {"erased": [items[0]["sha256"]], "kept": [], "pending": []}
    assert report["vectors"] == 1
    assert stored(settings, picture(seed=0)) == []
    refused(client.get(items[0]["links"]["image"]), 404, "item_not_found")
    refused(client.delete(f"{URL}/{drinks}/items/{items[0]['id']}?erase=true"), 404, "item_not_found")
    assert client.post(f"{URL}/{drinks}/undo").get_json()["item_count"] == 3  # it does not come back
    report = erased(client, f"{URL}/{drinks}/items", label="cola")
    assert len(report["item_ids"]) == 2
    assert [stored(settings, picture(seed=seed)) for seed in (2, 3)] == [[], []]
    assert client.get(f"{URL}/{drinks}").get_json()["item_count"] == 1
    refused(client.delete(f"{URL}/{drinks}/items?label=milk&erase=true"), 404, "item_not_found")
    refused(client.delete(f"{URL}/{drinks}/items?erase=true"), 400, "invalid_request")


def test_a_gallery_is_erased_and_cannot_be_restored(client: FlaskClient, drinks: str, settings: Settings) -> None:
    report = erased(client, f"{URL}/{drinks}")
    assert (report["kind"], report["status"], len(report["pictures"]["erased"])) == ("gallery", "done", 4)
    refused(client.post(f"{URL}/{drinks}/restore"), 404, "gallery_not_found")
    assert client.get(f"{URL}?deleted=true").get_json() == {"galleries": []}
    assert stored(settings, picture(seed=1)) == []
    refused(client.delete(f"{URL}/{drinks}?erase=true"), 404, "gallery_not_found")
    refused(client.delete(f"{URL}/NONE?erase=true"), 422, "gallery_name_invalid")
    client.post(URL, json={"name": drinks})
    client.delete(f"{URL}/{drinks}")
    assert erased(client, f"{URL}/{drinks}")["status"] == "done"  # one that could be restored
    assert client.get(f"{URL}?deleted=true").get_json() == {"galleries": []}


def test_a_recognition_is_erased(
    client: FlaskClient, drinks: str, hand: Hand, service: Services, settings: Settings
) -> None:
    photo = picture(seed=77)
    job = client.post("/v1/recognitions", data={"gallery": drinks, "image": (io.BytesIO(photo), "a.jpg")}).get_json()
    hand.finish(job["id"], recognition_result())
    url = job["links"]["self"]
    client.post(f"{url}/feedback", json={"box": None, "verdict": "ignore"})
    enrolled = client.post(
        f"{URL}/{drinks}/items", json={"from": {"job": job["id"], "box": None}, "label": "mine"}
    ).get_json()
    refused(client.delete(url), 400, "invalid_request")
    refused(client.delete(f"{url}?erase=perhaps"), 400, "invalid_request")
    refused(client.delete(f"{url}?erased=true"), 400, "invalid_request")
    report = erased(client, url)
    assert (report["status"], report["job_id"], len(report["feedback"])) == ("pending", job["id"], 1)
    assert report["pictures"]["kept"] == report["pictures"]["erased"] == []
    assert len(report["pictures"]["pending"]) == 1  # an hour from its upload, and while the enrolment is open
    assert report["messages"] == 1
    assert "erased" in refused(client.get(url), 410, "job_erased")["detail"]
    refused(client.get(f"{url}/image"), 410, "job_erased")
    refused(client.delete(f"{url}?erase=true"), 410, "job_erased")
    refused(client.delete("/v1/recognitions/rec_0?erase=true"), 404, "job_not_found")
    assert client.get(f"{URL}/{drinks}/feedback").get_json()["feedback"] == []
    assert stored(settings, photo)
    service.redis.zadd("shitu:photos:idle", {f"photos/{report['pictures']['pending'][0][:2]}/{report['pictures']['pending'][0]}": 1})  # fmt: skip
    client.post(f"{enrolled['links']['self']}/cancel")
    with client.application.app_context():
        assert eraser().finish_left(after_s=-1) == 1
    assert stored(settings, photo) == []
    done = client.get(report["links"]["self"]).get_json()
    assert (done["status"], done["pictures"]["erased"]) == ("done", report["pictures"]["pending"])


@pytest.mark.parametrize("kind", ["detections", "embeddings"])
def test_the_other_jobs_of_a_photo_are_erased_likewise(client: FlaskClient, settings: Settings, kind: str) -> None:
    photo = picture(seed=78)
    job = client.post(f"/v1/{kind}", data={"image": (io.BytesIO(photo), "a.jpg")}).get_json()
    url = job["links"]["self"]
    refused(client.delete(f"/v1/recognitions/{job['id']}?erase=true"), 404, "job_not_found")
    refused(client.delete(url), 400, "invalid_request")
    report = erased(client, url)
    assert (f"{report['kind']}s", report["job_id"], report["status"]) == (kind, job["id"], "pending")
    refused(client.get(url), 410, "job_erased")
    assert stored(settings, photo)  # for an hour from its upload
    assert not client.application.extensions["shitu"].ledger.sweeper.overdue(1e12)


def test_an_unknown_erasure_is_404(client: FlaskClient) -> None:
    refused(client.get("/v1/erasures/ers_0"), 404, "erasure_not_found")
    refused(client.get("/v1/erasures/ers_01h00000000000000000000000"), 404, "erasure_not_found")


def test_without_erase_a_deletion_is_as_before(client: FlaskClient, drinks: str) -> None:
    items = client.get(f"{URL}/{drinks}/items").get_json()["items"]
    assert client.delete(f"{URL}/{drinks}/items/{items[0]['id']}?erase=false").get_json()["item_count"] == 3
    assert client.delete(f"{URL}/{drinks}?erase=false").status_code == 204
    assert client.post(f"{URL}/{drinks}/restore").status_code == 200


def test_a_receipt_lists_a_digest_once(client: FlaskClient, drinks: str, service: Services, hand: Hand) -> None:
    """A photo that waits for the end of its hour, whose bytes a gallery's item shows as well."""
    photo = picture(seed=0)  # an item of the gallery
    job = client.post("/v1/recognitions", data={"gallery": drinks, "image": (io.BytesIO(photo), "a.jpg")}).get_json()
    hand.finish(job["id"], recognition_result())
    report = erased(client, job["links"]["self"])
    (digest,) = report["pictures"]["pending"]
    assert (report["status"], report["pictures"]["kept"], report["pictures"]["erased"]) == ("pending", [], [])
    service.redis.zadd("shitu:photos:idle", {f"photos/{digest[:2]}/{digest}": 1})
    with client.application.app_context():
        assert eraser().finish_left(after_s=-1) == 1
    done = client.get(report["links"]["self"]).get_json()
    assert done["status"] == "done"
    assert [one["sha256"] for one in done["pictures"]["kept"]] == [digest]  # the bytes are the gallery's too
    assert done["pictures"]["erased"] == done["pictures"]["pending"] == []
