"""Jobs of the service done by the function: accepted over HTTP, woken by SQS, recorded in Redis, reported by a courier.

Amazon's runtime interface client runs the function; the runtime API and the mapping are tests.worker.lambda_runtime's, SQS
and S3 are a server of the test's. A worker runs as well, for enrolments, and must hear of none of these jobs.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING, Any, NamedTuple

import boto3
import pytest

from contracts.webhook_signatures import verify_webhook
from infra.jobs.ledger import JobLedger, open_ledger
from infra.jobs.records import JobStatus
from infra.redis.client import connect
from infra.stack.launcher import Stack
from tests.e2e.conftest import stack_settings
from tests.e2e.service import Service, encode, labels, pattern, wait_for
from tests.e2e.test_kill_worker import OPTIONS, slow_photo
from tests.infra.local_servers import Server, serving
from tests.infra.s3_server import CREDENTIALS, new_bucket, s3_server
from tests.worker.lambda_runtime import Instance, running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

GALLERY = "woken"
SECRET = "whsec_" + base64.b64encode(b"a key of the tests, 32 bytes lon").decode()
VISIBILITY_S = 2  # a call that failed comes again after so long


class Running(NamedTuple):
    """The service, the queue, and two instances of the function that are not attached to it yet."""

    stack: Stack
    service: Service
    ledger: JobLedger
    sqs: Any
    queue_url: str
    instances: tuple[Instance, Instance]

    def waiting(self) -> int:
        """How many messages wait or are being worked on."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)["Attributes"]
        return sum(int(count) for count in found.values())


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("woken")
    with contextlib.ExitStack() as held:
        environment = held.enter_context(pytest.MonkeyPatch.context())
        for name, value in CREDENTIALS.items():
            environment.setenv(name, value)
        endpoint = held.enter_context(s3_server())
        names = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        sqs = boto3.client("sqs", endpoint_url=endpoint, **names)
        queue_url = sqs.create_queue(QueueName="jobs", Attributes={"VisibilityTimeout": str(VISIBILITY_S)})["QueueUrl"]
        changes = {
            "SHITU_OBJECTS__URL": f"s3://{new_bucket(endpoint)}",
            "SHITU_OBJECTS__ENDPOINT_URL": endpoint,
            "SHITU_JOBS__FUNCTION_QUEUE_URL": queue_url,
            "SHITU_WEBHOOKS__SECRET": SECRET,
        }
        stack = held.enter_context(Stack(stack_settings(folder / "data", **changes)))
        service = Service(stack.base_url)
        service.create_gallery(GALLERY)
        service.enroll(GALLERY, {f"pattern {seed}": encode(pattern(seed)) for seed in (1, 2)})
        own = {**stack.settings.to_env(), "SHITU_DATA_DIR": str(folder / "function")}
        first, second = (held.enter_context(running(own, folder / f"{name}.log")) for name in ("first", "second"))
        yield Running(stack, service, open_ledger(stack.settings), sqs, queue_url, (first, second))


@pytest.fixture
def receiver() -> Iterator[Server]:
    with serving() as found:
        found.paths["/hook"] = (204, {}, b"")
        yield found


def reported(found: Running, job: dict[str, Any], receiver: Server) -> dict[str, Any]:
    """The job after its end, which must have been told once, signed."""
    found.service.finished(job)
    wait_for(lambda: found.service.get(job["links"]["self"])["webhook"]["status"] == "delivered")
    done = found.service.get(job["links"]["self"])
    [(_, _, headers, body)] = receiver.requests
    message = verify_webhook(body, headers, SECRET)
    assert (message["type"], message["data"]["id"]) == (f"recognition.{done['status']}", done["id"])
    assert message["data"]["result"] == done["result"]
    return done


def test_a_job_wakes_the_function_and_a_courier_reports_its_end(opened: Running, receiver: Server) -> None:
    function, _ = opened.instances
    with function.attached(opened.sqs, opened.queue_url):
        asked = opened.service.ask(encode(pattern(1)), GALLERY, webhook_url=receiver.url("/hook"))
        done = reported(opened, opened.service.accepted(asked), receiver)
        assert (done["status"], done["attempts"], set(labels(done["result"]))) == ("succeeded", 1, {"pattern 1"})
        assert [one["recorded"] for one in function.attempts(done["id"])] == [True]

        answer = opened.service.http.post(
            f"{opened.service.base_url}/v1/detections", files={"image": ("a.jpg", encode(pattern(1)))}, timeout=30
        )
        detected = opened.service.finished(opened.service.accepted(answer))
        assert (detected["status"], len(function.attempts(detected["id"]))) == ("succeeded", 1)

        # Messages come twice, and say nothing new then.
        for _ in range(2):
            opened.sqs.send_message(QueueUrl=opened.queue_url, MessageBody=json.dumps({"job": done["id"]}))
        wait_for(lambda: opened.waiting() == 0)
        assert opened.service.get(done["links"]["self"]) == done
        assert len(function.attempts(done["id"])) == 1
        broken = opened.service.finished(opened.service.accepted(opened.service.ask(encode(pattern(1))[:600], GALLERY)))
        assert (broken["status"], broken["error"]["code"]) == ("failed", "image_truncated")
    assert function.failed == []


def test_an_instance_that_comes_too_late_does_not_overwrite_another_ones_answer(
    opened: Running, receiver: Server
) -> None:
    """One is stopped in the middle of a job, as a machine that hangs; its lease lapses, and the keeper wakes the other."""
    first, second = opened.instances
    with first.attached(opened.sqs, opened.queue_url):
        for number in range(6):
            asked = opened.service.ask(slow_photo(number), GALLERY, options=OPTIONS, webhook_url=receiver.url("/hook"))
            job = opened.service.accepted(asked)
            wait_for(lambda job=job: opened.ledger.get(job["id"]).status is not JobStatus.QUEUED)  # type: ignore[misc]
            first.freeze()
            if opened.ledger.get(job["id"]).status is JobStatus.PROCESSING:
                break
            first.thaw()
            reported(opened, job, receiver)
            receiver.requests.clear()
        with second.attached(opened.sqs, opened.queue_url):
            done = reported(opened, job, receiver)
            assert (done["status"], done["attempts"]) == ("succeeded", 2)
            assert [(one["attempt"], one["recorded"]) for one in second.attempts(job["id"])] == [(2, True)]
            first.thaw()
            wait_for(lambda: first.busy_with is None)
            wait_for(lambda: opened.waiting() == 0)
        assert [one["recorded"] for one in first.attempts(job["id"])] in ([False], [])
    assert opened.service.get(job["links"]["self"]) == done
    assert len(receiver.requests) == 1


def test_what_cannot_be_recorded_comes_again(opened: Running, receiver: Server) -> None:
    """Redis does not answer when the message comes: SQS keeps it."""
    _, function = opened.instances
    asked = opened.service.ask(encode(pattern(2)), GALLERY, webhook_url=receiver.url("/hook"))
    job, before = opened.service.accepted(asked), len(function.failed)
    with contextlib.closing(connect(str(opened.stack.settings.redis_url))) as client:
        redis_pid = client.info("server")["process_id"]
    os.kill(redis_pid, signal.SIGSTOP)
    with function.attached(opened.sqs, opened.queue_url):
        try:
            wait_for(lambda: len(function.failed) > before)
        finally:
            os.kill(redis_pid, signal.SIGCONT)
        done = reported(opened, job, receiver)
        assert (done["status"], set(labels(done["result"]))) == ("succeeded", {"pattern 2"})
        wait_for(lambda: opened.waiting() == 0)


def test_a_photo_in_a_bucket_becomes_a_job_with_a_webhook(opened: Running, receiver: Server) -> None:
    """An S3 notification through the queue, and a message that names a webhook; each comes twice, and is one job."""
    endpoint = str(opened.stack.settings.objects.endpoint_url)
    names = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    s3 = boto3.client("s3", endpoint_url=endpoint, **names)
    bucket = new_bucket(endpoint)
    receiver.paths |= {"/all": (204, {}, b""), "/one": (204, {}, b"")}
    uploaded = f"uploads/{GALLERY}/shelf 1.jpg"
    made = opened.service.http.post(
        f"{opened.service.base_url}/v1/webhooks",
        json={"url": receiver.url("/all"), "events": ["recognition.succeeded"]},
        timeout=10,
    )
    assert made.status_code == 201, made.text
    for key, seed in ((uploaded, 1), ("in/2.jpg", 2), ("in/broken.jpg", None)):
        s3.put_object(Bucket=bucket, Key=key, Body=b"no picture" if seed is None else encode(pattern(seed)))
    notice = {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "eventTime": "2026-11-28T08:00:00.000Z",
        "s3": {
            "bucket": {"name": bucket},
            "object": {"key": uploaded.replace(" ", "+"), "eTag": "e", "sequencer": "1"},
        },
    }
    named = {"bucket": bucket, "key": "in/2.jpg", "gallery": GALLERY, "webhook_url": receiver.url("/one")}
    broken = {"bucket": bucket, "key": "in/broken.jpg", "gallery": GALLERY}
    _, function = opened.instances
    with function.attached(opened.sqs, opened.queue_url):
        for body in ({"Records": [notice]}, named, {"Records": [notice]}, broken):
            opened.sqs.send_message(QueueUrl=opened.queue_url, MessageBody=json.dumps(body))
        wait_for(lambda: opened.waiting() == 0, 60)

    def answer(key: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(s3.get_object(Bucket=bucket, Key=f"results/{key}.json")["Body"].read())
        return found

    first, second = answer(uploaded), answer("in/2.jpg")
    assert [labels(one["result"]) for one in (first, second)] == [["pattern 1"], ["pattern 2"]]
    for one in (first, second):
        job = opened.service.get(f"/v1/recognitions/{one['job']}")
        assert (job["status"], job["result"]) == ("succeeded", one["result"])
        assert len(function.attempts(one["job"])) == 1
    assert first["job"] != second["job"]
    s3.delete_object(Bucket=bucket, Key=uploaded)
    with function.attached(opened.sqs, opened.queue_url):
        opened.sqs.send_message(QueueUrl=opened.queue_url, MessageBody=json.dumps({"Records": [notice]}))
        wait_for(lambda: opened.waiting() == 0, 60)
    assert answer(uploaded) == first, "its photo is gone, its job is not"
    assert answer("in/broken.jpg")["error"]["code"] == "image_not_an_image"
    assert "job" not in answer("in/broken.jpg")
    wait_for(lambda: len(receiver.requests) == 3, 30)
    jobs = sorted((path, json.loads(body)["data"]["id"]) for _, path, _, body in receiver.requests)
    assert jobs == sorted([("/all", first["job"]), ("/all", second["job"]), ("/one", second["job"])])
    opened.service.http.delete(f"{opened.service.base_url}{made.json()['links']['self']}", timeout=10)
