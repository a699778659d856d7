"""Answers without a body say nothing of one, and paths with doubled slashes are refused like all others."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.web.conftest import Hand, recognition_result
from tests.web.refusals import refused
from web.services import Services


def test_an_answer_without_content_has_no_type_and_no_length(
    client: FlaskClient, drinks: str, service: Services, hand: Hand
) -> None:
    deleted = client.delete(f"/v1/galleries/{drinks}")
    job = service.ledger.create("recognition", {"gallery": "drinks", "image": {"key": "photos/0"}, "options": {}})
    hand.finish(job.id, recognition_result())
    first = client.get(f"/v1/recognitions/{job.id}/events").text
    (last,) = [line for line in first.splitlines() if line.startswith("id: ")][-1:]
    seen = client.get(f"/v1/recognitions/{job.id}/events", headers={"Last-Event-ID": last.removeprefix("id: ")})
    webhook = client.post("/v1/webhooks", json={"url": "https://hooks.example/"}).get_json()
    for answer in (deleted, seen, client.delete(webhook["links"]["self"])):
        assert (answer.status_code, answer.data) == (204, b"")
        assert {"Content-Type", "Content-Length"} & set(answer.headers.keys()) == set()
        assert answer.headers["X-Request-ID"]


@pytest.mark.parametrize(
    "path",
    ["/v1/batches//results", "/v1//galleries", "/v1/galleries//items", "/jobs//", "/v1/galleries/"],
)
def test_doubled_slashes_lead_nowhere(client: FlaskClient, path: str) -> None:
    problem = refused(
        client.get("/", base_url="http://localhost", environ_overrides={"PATH_INFO": path}), 404, "route_not_found"
    )
    assert path in problem["detail"]
