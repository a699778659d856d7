"""What tests of the front end check in its answers: how a refusal looks, and that it left no job."""

from __future__ import annotations

import base64
import json
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.web.pictures import picture
from web.services import Services

URL = "/v1/recognitions"


def send_json(client: FlaskClient, **members: Any) -> TestResponse:
    image = {"base64": base64.b64encode(picture()).decode()}
    return client.post(URL, json={"gallery": "drinks", "image": image, **members})


def refused(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    """The problem document, after checking that it is a whole one."""
    problem: dict[str, Any] = json.loads(response.data)
    assert (response.status_code, problem["code"]) == (status, code), problem
    assert response.content_type == "application/problem+json"
    assert problem["status"] == status
    assert problem["type"] == f"urn:shitu:problem:{code}"
    assert problem["request_id"] == response.headers["X-Request-Id"]
    assert problem["title"]
    assert problem["detail"]
    return problem


def open_jobs(service: Services) -> int:
    stats = service.ledger.stats()
    return stats.queued + stats.processing
