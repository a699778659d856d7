"""The function as Lambda runs it: Amazon's runtime interface client, against a runtime API and an S3 server of the test's."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner

from infra.stack.commands import ROOT
from shitu.cli.main import main
from tests.e2e.service import encode, pattern
from tests.worker.test_function_events import notified, queued

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow
WITHIN_S = 90.0


class RuntimeApi(ThreadingHTTPServer):
    """The part of Lambda that hands out events and takes answers: `call(event)` gives what the function answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: queue.Queue[Any] = queue.Queue()
        self.answers: queue.Queue[tuple[str, Any]] = queue.Queue()

    def call(self, event: Any) -> tuple[str, Any]:
        self.events.put(event)
        return self.answers.get(timeout=WITHIN_S)


class _Handler(BaseHTTPRequestHandler):
    server: RuntimeApi

    def do_GET(self) -> None:
        body = json.dumps(self.server.events.get()).encode()
        self.send_response(200)
        report = {"Lambda-Runtime-Aws-Request-Id": "r-1", "Lambda-Runtime-Deadline-Ms": "9999999999999"}
        for name, value in {**report, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:1:function:shitu")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.answers.put((self.path.rpartition("/")[2], json.loads(body or b"null")))

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def s3(s3_endpoint: str) -> Any:
    names = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=s3_endpoint, **names)
    client.create_bucket(Bucket="photos")
    return client


@pytest.fixture(scope="module")
def api(s3: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeApi]:
    """A gallery of two patterns in a store, and the function running."""
    store = tmp_path_factory.mktemp("store")
    for number in (1, 2):
        (store / f"pictures/pattern {number}").mkdir(parents=True)
        (store / f"pictures/pattern {number}/1.jpg").write_bytes(encode(pattern(number)))
    settings = {
        "SHITU_DATA_DIR": str(store / "data"),
        "SHITU_OBJECTS__URL": f"file://{store}/objects",
        "SHITU_OBJECTS__ENDPOINT_URL": s3.meta.endpoint_url,
        "SHITU_OBJECTS__REGION": "us-east-1",
    }
    added = CliRunner(env=settings).invoke(main, ["gallery", "add", str(store / "pictures"), "--gallery", "drinks"])
    assert added.exit_code == 0, added.output
    server = RuntimeApi()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    environment = {
        **os.environ, **settings, "OMP_NUM_THREADS": "1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, "-m", "awslambdaric", "worker.function_app.handle"]
    with (store / "log").open("wb") as log, subprocess.Popen(command, env=environment, cwd=ROOT, stderr=log) as process:
        yield server
        process.kill()
    said = (store / "log").read_text()
    assert '"message": "opened"' in said, said
    server.shutdown()
    server.server_close()


def answer(s3: Any, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(s3.get_object(Bucket="photos", Key=f"results/{key}.json")["Body"].read())
    return found


def put(s3: Any, key: str, data: bytes) -> None:
    s3.put_object(Bucket="photos", Key=key, Body=data)


def sqs_record(key: str, message_id: str, **more: Any) -> dict[str, Any]:
    options = {"whole_image": "always", "detection_threshold": 1}
    return queued({"bucket": "photos", "key": key, "gallery": "drinks", "options": options, **more}, message_id)


def test_a_batch_is_answered_and_only_what_may_come_again_is_reported_to_the_queue(api: RuntimeApi, s3: Any) -> None:
    put(s3, "in/1.jpg", encode(pattern(1)))
    put(s3, "in/broken.jpg", b"no picture")
    records = [sqs_record("in/1.jpg", "good"), sqs_record("in/broken.jpg", "broken"), sqs_record("in/gone.jpg", "gone")]
    records += [queued("{", "nonsense"), sqs_record("in/1.jpg", "no gallery", gallery="nothing")]
    kind, report = api.call({"Records": records})
    assert (kind, report) == ("response", {"batchItemFailures": [{"itemIdentifier": "nonsense"}]})
    codes = {
        key: (found := answer(s3, key))["error"] and found["error"]["code"] for key in ("in/broken.jpg", "in/gone.jpg")
    }
    assert codes == {"in/broken.jpg": "image_not_an_image", "in/gone.jpg": "object_not_found"}
    assert answer(s3, "in/1.jpg")["error"]["code"] == "gallery_not_found", "the last one that named it"


def test_an_upload_is_recognised_as_a_worker_would(api: RuntimeApi, s3: Any) -> None:
    put(s3, "in/2.jpg", encode(pattern(2)))
    assert api.call({"Records": [sqs_record("in/2.jpg", "again")]}) == ("response", {"batchItemFailures": []})
    first = answer(s3, "in/2.jpg")
    assert first["status"] == "succeeded"
    assert [found["label"] for found in first["result"]["recognitions"]] == ["pattern 2"]
    put(s3, "uploads/drinks/2.jpg", encode(pattern(2)))
    assert api.call({"Records": [notified("uploads/drinks/2.jpg")]})[0] == "response"
    assert answer(s3, "uploads/drinks/2.jpg")["result"]["gallery"]["name"] == "drinks"


def test_what_is_no_event_is_an_error_of_the_call(api: RuntimeApi) -> None:
    kind, report = api.call({"detail": "something else"})
    assert (kind, report["errorType"]) == ("error", "EventRefused")
