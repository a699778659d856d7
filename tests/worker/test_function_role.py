"""The function with the rights of its Terraform role and no others, against a server that checks policies.

The policy is read from infra/deploy/aws and given to a user of moto, which then refuses whatever no statement allows; of
conditions and of VPCs it knows nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from shitu.cli.main import main
from tests.e2e.service import encode, pattern
from tests.infra.deploy.terraform import statements
from tests.infra.s3_server import CREDENTIALS, checking_credentials, s3_server
from tests.worker.lambda_runtime import running
from tests.worker.test_function_events import notified, queued

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

OBJECTS, PHOTOS, QUEUE = "shitu-objects", "shitu-photos", "shitu-jobs"
ARNS = {
    "${aws_s3_bucket.objects.arn}": f"arn:aws:s3:::{OBJECTS}",
    "${aws_s3_bucket.photos[0].arn}": f"arn:aws:s3:::{PHOTOS}",
    "${aws_sqs_queue.jobs[0].arn}": f"arn:aws:sqs:us-east-1:123456789012:{QUEUE}",
}


def policy() -> str:
    """The role's policy about S3 and SQS, as IAM has it."""
    found = []
    for one in statements("function"):
        if one["actions"][0].split(":")[0] not in {"s3", "sqs"}:
            continue
        resources = one["resources"]
        for reference, arn in ARNS.items():
            resources = [text.replace(reference, arn) for text in resources]
        assert not [text for text in resources if "$" in text]
        found.append({"Effect": "Allow", "Action": one["actions"], "Resource": resources})
    return json.dumps({"Version": "2012-10-17", "Statement": found})


class Account:
    """The server's clients with all rights, and the keys of one whose rights are the role's."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.s3, self.sqs, self.iam = (self.client(name, "test", "test") for name in ("s3", "sqs", "iam"))
        for bucket in (OBJECTS, PHOTOS):
            self.s3.create_bucket(Bucket=bucket)
        self.queue_url = self.sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
        self.iam.create_user(UserName="function")
        self.iam.put_user_policy(UserName="function", PolicyName="role", PolicyDocument=policy())
        made = self.iam.create_access_key(UserName="function")["AccessKey"]
        self.keys = {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}

    def client(self, name: str, key_id: str, secret: str) -> Any:
        keys: dict[str, Any] = {"aws_access_key_id": key_id, "aws_secret_access_key": secret}
        return boto3.client(name, endpoint_url=self.endpoint, region_name="us-east-1", **keys)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with s3_server() as endpoint:
        yield Account(endpoint)


def test_it_works_with_the_rights_of_its_role(account: Account, redis_url: str, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures/pattern 1"
    pictures.mkdir(parents=True)
    (pictures / "1.jpg").write_bytes(encode(pattern(1)))
    settings = {
        "SHITU_REDIS_URL": redis_url,
        "SHITU_OBJECTS__URL": f"s3://{OBJECTS}",
        "SHITU_OBJECTS__ENDPOINT_URL": account.endpoint,
        "SHITU_OBJECTS__REGION": "us-east-1",
        "SHITU_JOBS__FUNCTION_QUEUE_URL": account.queue_url,
        "SHITU_JOBS__RESULT_BYTES": "1",
    }
    own = {**settings, **CREDENTIALS, "SHITU_DATA_DIR": str(tmp_path / "enrolled")}
    added = CliRunner(env=own).invoke(main, ["gallery", "add", str(pictures.parent), "--gallery", "drinks"])
    assert added.exit_code == 0, added.output
    photo = encode(pattern(1), "TIFF")  # no browser shows it, so that it gets a preview
    account.s3.put_object(Bucket=PHOTOS, Key="uploads/drinks/1.jpg", Body=photo)
    given = {**settings, **account.keys, "SHITU_DATA_DIR": str(tmp_path / "function")}
    event = notified("uploads/drinks/1.jpg")
    event["s3"]["bucket"]["name"] = PHOTOS
    gone = notified("uploads/drinks/gone.jpg")
    gone["s3"]["bucket"]["name"] = PHOTOS
    with checking_credentials(account.endpoint), running(given, tmp_path / "log") as instance:
        answers = [instance.api.call({"Records": [queued({"Records": [one]}, "m")]}) for one in (event, gone)]
    assert answers == [("response", {"batchItemFailures": []})] * 2, (tmp_path / "log").read_text()
    done, missing = (
        json.loads(account.s3.get_object(Bucket=PHOTOS, Key=f"results/uploads/drinks/{name}.json")["Body"].read())
        for name in ("1.jpg", "gone.jpg")
    )
    assert [found["label"] for found in done["result"]["recognitions"]] == ["pattern 1"]
    assert missing["error"]["code"] == "object_not_found", "S3 told it, instead of refusing"
    listed = account.s3.list_objects_v2(Bucket=OBJECTS)["Contents"]
    assert {one["Key"].split("/")[0] for one in listed} >= {"photos", "previews", "results"}, "all that it may write"
    assert "denied" not in (tmp_path / "log").read_text().lower()


def test_nothing_else_is_allowed_by_its_role(account: Account) -> None:
    key_id, secret = account.keys.values()
    s3, sqs = (account.client(name, key_id, secret) for name in ("s3", "sqs"))
    account.s3.create_bucket(Bucket="another")
    refused = [
        lambda: s3.put_object(Bucket=OBJECTS, Key="galleries/current/drinks", Body=b""),
        lambda: s3.put_object(Bucket=OBJECTS, Key="images/00/0", Body=b""),
        lambda: s3.delete_object(Bucket=OBJECTS, Key="photos/00/0"),
        lambda: s3.get_object(Bucket=OBJECTS, Key="uploads/upl_0"),
        lambda: s3.get_object(Bucket=PHOTOS, Key="results/uploads/drinks/1.jpg.json"),
        lambda: s3.put_object(Bucket=PHOTOS, Key="uploads/drinks/1.jpg", Body=b""),
        lambda: s3.get_object(Bucket="another", Key="uploads/drinks/1.jpg"),
        lambda: sqs.purge_queue(QueueUrl=account.queue_url),
        lambda: sqs.create_queue(QueueName="more"),
    ]
    with checking_credentials(account.endpoint):
        s3.put_object(Bucket=OBJECTS, Key="photos/00/0", Body=b"")
        sqs.send_message(QueueUrl=account.queue_url, MessageBody="{}")
        for call in refused:
            with pytest.raises(ClientError) as caught:
                call()
            assert caught.value.response["Error"]["Code"] in {"AccessDenied", "403"}
