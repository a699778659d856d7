"""The running service against its own description: thousands of requests made of /openapi.json, right and wrong ones.

None may fail it; each is answered by a status, headers and JSON that the description has for it; what breaks a schema, or
has no key, is refused; and what fits is taken. What no schema can say is named below, a line each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.runtime.settings import Settings
from tests.web.conftest import fill_gallery, recognition_result
from tests.web.keyed import bearer, with_keys
from tests.web.pictures import picture
from tests.web.serving import serving
from web.app import create_app
from web.openapi.parts import PAGES
from web.routes import description
from web.services import EXTENSION, Services

OPERATIONS = [one for methods in description()["paths"].values() for one in methods.values()]
WAIT_S = 0.2  # at most, for `Prefer: wait`: nobody does the jobs here
REFUSED = [400, 401, 403, 404, 405, 406, 409, 410, 411, 413, 415, 422, 428, 429]
# 422: not by its form, but by what it says
TAKEN = ["2xx", "3xx", 401, 403, 404, 409, 410, 413, 422, 429, 501, 503]
# Of these 400 is said of more than a schema has words for; of cursors, which are opaque, and of deadlines below.
NAMES = ["addItems", "correctItem", "correctLabel", "createKey"]  # of labels and keys: no invisible characters
# Into itself, backwards in time, rerank of floats, a link to a smaller picture.
SENSE = ["moveItems", "replayDeliveries", "createGallery", "changeGallery", "getRecognitionImage"]
PADDLEX = [
    "paddlexIndexBuild",
    "paddlexIndexAdd",
    "paddlexInfer",
    "paddlexClassify",
    "paddleServingPrediction",
]  # base64


def taking(parameter: str) -> list[str]:
    """The operations that have a parameter of this name."""
    return [one["operationId"] for one in OPERATIONS if parameter in {each["name"] for each in one["parameters"]}]


def streaming() -> list[str]:
    """Those that answer as long as their jobs are open."""
    answers = [(one["operationId"], one["responses"].get("200", {}).get("content", {})) for one in OPERATIONS]
    return [name for name, content in answers if "text/event-stream" in content]


def config(service: Services, auth: str) -> str:
    """schemathesis.toml, with the names of what is there."""
    client_photo = service.photos.keep(picture())
    about = {"key": client_photo, "name": "a.jpg", "width": 64, "height": 48, "format": "JPEG"}
    ended = service.ledger.create("recognition", {"gallery": "drinks", "image": about, "options": {}})
    lease = service.ledger.start(ended.id)
    assert lease is not None
    assert service.ledger.succeed(lease, recognition_result())
    lines = [
        f'headers = {{ Authorization = "{auth}" }}',
        f"checks.negative_data_rejection.expected-statuses = {json.dumps([*REFUSED, '5xx'])}",
        f"checks.positive_data_acceptance.expected-statuses = {json.dumps(TAKEN)}",
        *operations([*taking("after"), *taking("Cancel-After"), *NAMES, *SENSE], f"checks.positive_data_acceptance.expected-statuses = {json.dumps([*TAKEN, 400])}"),
        *operations(streaming(), "enabled = false"),
        # Not ready is what a service without a worker rightly says; a classifier is not configured here.
        *operations(["getReadiness", "createClassification"], "checks.not_a_server_error.enabled = false"),
        # They wait for a worker's answer: 504. What else fails in them leaves a traceback in the log.
        *operations(PADDLEX, "checks.not_a_server_error.enabled = false", f"checks.positive_data_acceptance.expected-statuses = {json.dumps([*TAKEN, 400, 504])}"),
        # OPTIONS of .../items/move reports what an item of the id `move` allows, too.
        *operations(["moveItems"], "checks.allow_header_conformance.enabled = false"),
        # A browser without a key is sent to the sign-in.
        "[[operations]]", f'include-tag = "{PAGES}"', "checks.missing_required_header.enabled = false", "checks.ignored_auth.enabled = false",
        *operations(["getGallery", "listItems", "listVersions", "listLabels", "listFeedback", "addItems"], 'parameters = { "path.name" = "drinks" }'),
        *operations(["getRecognition", "getRecognitionImage", "getRecognitionPreview", "createFeedback", "listJobFeedback", "compareRecognition"], f'parameters = {{ "path.job_id" = "{ended.id}" }}'),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def operations(names: list[str], *lines: str) -> list[str]:
    return ["[[operations]]", f"include-operation-id = {json.dumps(names)}", *lines]


@pytest.fixture
def live(settings: Settings, tmp_path: Path) -> Iterator[str]:
    """A server that requires keys, and in `tmp_path` the configuration with one."""
    chosen = with_keys(replace(settings, web=replace(settings.web, max_wait_s=WAIT_S)))
    app = create_app(chosen)
    service: Services = app.extensions[EXTENSION]
    fill_gallery(service, "drinks", ["tea", "tea", "cola", "cola"])
    (tmp_path / "schemathesis.toml").write_text(config(service, bearer(app, "admin")["Authorization"]))
    with serving(chosen, tmp_path / "web.log") as url:
        yield url


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_running_service_is_as_it_is_described(live: str, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    words = ("run", f"{live}/openapi.json", "--no-color", "--generation-deterministic",
             "--phases", "examples,coverage,fuzzing", "-n", "10", "--warnings", "off")  # fmt: skip
    done = subprocess.run([program, *words], cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    assert "No issues found" in done.stdout or "passed" in done.stdout
    assert "Traceback" not in (tmp_path / "web.log").read_text()
