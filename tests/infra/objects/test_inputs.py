"""Pictures by `s3://bucket/key`: what may be named, and what becomes of each on a real S3 server."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from infra.errors.photos import (
    BucketForbidden,
    FetchFailed,
    FetchTimeout,
    FetchTooLarge,
    InvalidUrl,
    S3AccessDenied,
    S3BucketMissing,
    S3KeyMissing,
)
from infra.errors.service import ConfigurationError, StorageRefused
from infra.objects.inputs import Inputs, check_location
from infra.runtime.settings import ObjectSettings, load_settings
from tests.infra.s3_server import checking_credentials

if TYPE_CHECKING:
    from infra.errors.photos import AddressForbidden

OPEN = ObjectSettings(url="s3://own-bucket/prefix", input_buckets=("photos", "archive/shop-1"))


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("s3://photos/a.jpg", None),
        ("S3://photos/deep/a b?c#d%20ä.jpg", None),
        ("s3://archive/shop-1/a.jpg", None),
        ("s3://archive/shop-10/a.jpg", BucketForbidden),
        ("s3://archive/a.jpg", BucketForbidden),
        ("s3://archive/shop-1", BucketForbidden),
        ("s3://own-bucket/photos/ab/abc", BucketForbidden),
        ("s3://other/a.jpg", BucketForbidden),
        ("s3://archive/shop-1/../shop-2/a.jpg", InvalidUrl),
        ("s3://photos/./a.jpg", InvalidUrl),
        ("s3://photos", InvalidUrl),
        ("s3://photos/", InvalidUrl),
        ("s3://photos/folder/", InvalidUrl),
        ("s3:///a.jpg", InvalidUrl),
        ("s3://user:word@photos/a.jpg", InvalidUrl),
        ("s3://photos/a\nb", InvalidUrl),
        ("s3://photos/" + "x" * 1025, InvalidUrl),
    ],
)
def test_a_request_may_name_what_the_settings_open(url: str, error: type[InvalidUrl | AddressForbidden] | None) -> None:
    if error is None:
        assert check_location(url, OPEN).key == url.partition("//")[2].partition("/")[2]
        return
    with pytest.raises(error) as refused:
        check_location(url, OPEN)
    assert type(refused.value) is error


def test_without_the_setting_no_bucket_is_open() -> None:
    with pytest.raises(BucketForbidden, match="SHITU_OBJECTS__INPUT_BUCKETS can allow it"):
        check_location("s3://photos/a.jpg", ObjectSettings())


def test_the_own_bucket_cannot_be_opened() -> None:
    own = dataclasses.replace(OPEN, input_buckets=("own-bucket",))
    with pytest.raises(BucketForbidden, match="no request may read"):
        check_location("s3://own-bucket/a.jpg", own)
    env = {"SHITU_OBJECTS__URL": "s3://mine/prefix", "SHITU_OBJECTS__INPUT_BUCKETS": "photos, mine/other"}
    with pytest.raises(ConfigurationError, match="INPUT_BUCKETS: mine is the service's own bucket"):
        load_settings(env)
    env["SHITU_OBJECTS__INPUT_BUCKETS"] = "photos, archive/shop-1/"
    assert load_settings(env).objects.input_buckets == ("photos", "archive/shop-1")
    assert load_settings(load_settings(env).to_env()) == load_settings(env)
    with pytest.raises(ConfigurationError, match="expected names of buckets"):
        load_settings({"SHITU_OBJECTS__INPUT_BUCKETS": "s3://photos"})


def put(endpoint: str, bucket: str, key: str, data: bytes, **report: Any) -> None:
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").put_object(
        Bucket=bucket, Key=key, Body=data, **report
    )


def inputs(endpoint: str, *buckets: str, timeout_s: float = 10.0) -> Inputs:
    return Inputs(ObjectSettings(endpoint_url=endpoint, input_buckets=buckets), timeout_s)


def test_an_object_is_read_under_the_very_key(s3_endpoint: str, s3_bucket: str) -> None:
    data = os.urandom(200_000)
    for key in ("a.jpg", "deep/er/photo 1?#%20.jpg", "上海/图.jpg"):
        put(s3_endpoint, s3_bucket, key, data)
        assert inputs(s3_endpoint, s3_bucket).read(f"s3://{s3_bucket}/{key}", len(data)) == data
    with pytest.raises(FetchTooLarge, match="200000 bytes"):
        inputs(s3_endpoint, s3_bucket).read(f"s3://{s3_bucket}/a.jpg", len(data) - 1)


def test_what_is_not_there_is_reported_apart(s3_endpoint: str, s3_bucket: str) -> None:
    with pytest.raises(S3KeyMissing) as missing:
        inputs(s3_endpoint, s3_bucket).read(f"s3://{s3_bucket}/nothing.jpg", 100)
    assert not missing.value.retryable
    with pytest.raises(S3BucketMissing):
        inputs(s3_endpoint, "never-made").read("s3://never-made/a.jpg", 100)
    with pytest.raises(BucketForbidden):
        inputs(s3_endpoint, "another").read(f"s3://{s3_bucket}/a.jpg", 100)
    put(s3_endpoint, s3_bucket, "old.jpg", b"x", StorageClass="GLACIER")
    with pytest.raises(FetchFailed, match="archived") as archived:
        inputs(s3_endpoint, s3_bucket).read(f"s3://{s3_bucket}/old.jpg", 100)
    assert not archived.value.retryable


def test_credentials_that_may_not_are_reported_from_wrong_ones(
    s3_endpoint: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(s3_endpoint, s3_bucket, "a.jpg", b"picture")
    iam = boto3.client("iam", endpoint_url=s3_endpoint, region_name="us-east-1")
    iam.create_user(UserName="reader")
    allowed = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::elsewhere/*"}
    policy = {"Version": "2012-10-17", "Statement": [allowed]}
    iam.put_user_policy(UserName="reader", PolicyName="elsewhere", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    with checking_credentials(s3_endpoint):
        with pytest.raises(StorageRefused) as wrong:  # the service's matter, not the request's
            inputs(s3_endpoint, s3_bucket).read(f"s3://{s3_bucket}/a.jpg", 100)
        assert wrong.value.code == "storage_refused"
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        with pytest.raises(S3AccessDenied) as denied:
            inputs(s3_endpoint, s3_bucket).read(f"s3://{s3_bucket}/a.jpg", 100)
        assert not denied.value.retryable


def test_a_server_that_is_away_or_silent_may_be_asked_again(s3_bucket: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(FetchTimeout) as slow:
            inputs(address, s3_bucket, timeout_s=0.3).read(f"s3://{s3_bucket}/a.jpg", 100)
    with pytest.raises(FetchFailed) as away:
        inputs(address, s3_bucket).read(f"s3://{s3_bucket}/a.jpg", 100)
    assert slow.value.retryable
    assert away.value.retryable
