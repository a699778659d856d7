"""The function as Lambda runs it: Amazon's runtime interface client, against a runtime API and an S3 server of the test's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner

from shitu.cli.main import main
from tests.e2e.service import encode, pattern
from tests.worker.lambda_runtime import RuntimeApi, running
from tests.worker.test_function_events import notified, queued

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


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
    with running(settings, store / "log") as instance:
        yield instance.api
    assert "opened" in {line["message"] for line in instance.said()}


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
    records += [sqs_record("in/1.jpg", "no ledger", webhook_url="https://shop.example/hook")]
    kind, report = api.call({"Records": records})
    refused = [{"itemIdentifier": one} for one in ("nonsense", "no ledger")]
    assert (kind, report) == ("response", {"batchItemFailures": refused})
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


def test_a_call_that_comes_again_after_the_photo_was_removed_keeps_the_answer(api: RuntimeApi, s3: Any) -> None:
    put(s3, "in/short.jpg", encode(pattern(1)))
    for _ in range(2):
        assert api.call({"Records": [sqs_record("in/short.jpg", "twice")]}) == ("response", {"batchItemFailures": []})
        assert answer(s3, "in/short.jpg")["status"] == "succeeded"
        s3.delete_object(Bucket="photos", Key="in/short.jpg")


def test_what_is_no_event_is_an_error_of_the_call(api: RuntimeApi) -> None:
    kind, report = api.call({"detail": "something else"})
    assert (kind, report["errorType"]) == ("error", "EventRefused")
