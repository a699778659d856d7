"""The whole service on S3 servers: upload, recognise, enrol, links, s3:// photos, a webhook, erasure; nothing is left behind.

moto's server, and s3rver of npm where `S3RVER_COMMAND` names its command.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import pytest
import requests
from click.testing import CliRunner

from infra.stack.launcher import Stack
from shitu import Client
from shitu.cli.main import main
from tests.e2e.conftest import stack_settings
from tests.e2e.service import Service, encode, labels, pattern, wait_for
from tests.infra.local_servers import serving
from tests.infra.s3_server import CREDENTIALS, s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN, INPUTS = "shitu-own", "shitu-inputs"
S3RVER = os.environ.get("S3RVER_COMMAND", "")
# s3rver knows this one key alone
KEYS = {"AWS_ACCESS_KEY_ID": "S3RVER", "AWS_SECRET_ACCESS_KEY": "S3RVER", "AWS_EC2_METADATA_DISABLED": "true"}


@contextlib.contextmanager
def s3rver(folder: Path) -> Iterator[str]:
    """The endpoint of a running s3rver."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*shlex.split(S3RVER), "-d", str(folder), "-a", "127.0.0.1", "-p", str(port), "-s", "--no-vhost-buckets"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            assert server.poll() is None, "the S3 server ended"
            assert time.monotonic() < deadline, "the S3 server does not answer"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)


SERVERS = [
    "moto",
    pytest.param("s3rver", marks=pytest.mark.skipif(not S3RVER, reason="S3RVER_COMMAND names no s3rver")),
]


@pytest.fixture(params=SERVERS)
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """boto3's client of a running server with the service's own bucket and one of photos."""
    moto = request.param == "moto"
    keys = CREDENTIALS if moto else KEYS
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "s3"
    folder.mkdir()
    with s3_server() if moto else s3rver(folder) as endpoint:
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],  # boto3's default session may know older ones
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        )
        for name in (OWN, INPUTS):
            client.create_bucket(Bucket=name)
        yield client


@pytest.mark.slow
def test_everything_works_on_an_s3_server_and_leaves_what_it_should(bucket: Any, tmp_path: Path) -> None:
    endpoint = bucket.meta.endpoint_url
    pictures = {f"pattern {seed}": encode(pattern(seed)) for seed in (41, 42)}
    photo = encode(pattern(41, 200))
    bucket.put_object(Bucket=INPUTS, Key="till 3/shelf.jpg", Body=photo)
    changes = {
        "SHITU_OBJECTS__URL": f"s3://{OWN}/some/prefix",
        "SHITU_OBJECTS__ENDPOINT_URL": endpoint,
        "SHITU_OBJECTS__INPUT_BUCKETS": INPUTS,
        "SHITU_GALLERIES__PICTURE_GRACE_S": "0",
        "SHITU_JOBS__RESULT_BYTES": "500",  # so that every answer goes by the bucket, to polls and webhooks
    }
    with serving() as receiver, Stack(stack_settings(tmp_path / "data", **changes)) as stack:
        receiver.paths["/hook"] = (204, {}, b"")
        service = Service(stack.base_url)
        assert service.get("/readyz")["status"] == "ready"
        service.create_gallery("drinks")
        added = service.enroll("drinks", pictures)
        assert [item["status"] for item in added["items"]] == ["added", "added"]

        # by form, with a webhook
        asked = service.accepted(service.ask(photo, "drinks", webhook_url=receiver.url("/hook")))
        assert labels(service.finished(asked)["result"]) == ["pattern 41"]
        wait_for(lambda: len(receiver.requests) == 1)
        assert labels(json.loads(receiver.requests[0][3])["data"]["result"]) == ["pattern 41"]
        assert bucket.list_objects_v2(Bucket=OWN, Prefix=f"some/prefix/results/{asked['id']}/")["KeyCount"] == 1

        # by the address of an object, and one that is not there
        def by(image: dict[str, str]) -> dict[str, Any]:
            body = {"gallery": "drinks", "image": image}
            return service.finished(
                service.accepted(service.http.post(f"{service.base_url}/v1/recognitions", json=body, timeout=30))
            )

        assert labels(by({"url": f"s3://{INPUTS}/till 3/shelf.jpg"})["result"]) == ["pattern 41"]
        address = f"s3://{INPUTS}/till 3/shelf.jpg"
        with Client(stack.base_url) as client:
            assert labels(dict(client.recognize(address, "drinks", timeout_s=60))) == ["pattern 41"]
        report = CliRunner().invoke(
            main, ["recognize", address, "--gallery", "drinks", "--server", stack.base_url, "--json"]
        )
        assert labels(json.loads(report.stdout)[0]) == ["pattern 41"], report.output

        # enrolled from the bucket, too
        bucket.put_object(Bucket=INPUTS, Key="catalogue/43.jpg", Body=encode(pattern(45)))
        body = {"items": [{"image": {"url": f"s3://{INPUTS}/catalogue/43.jpg"}, "label": "pattern 45"}, {"image": {"url": f"s3://{INPUTS}/no.jpg"}, "label": "no"}]}  # fmt: skip
        enrolled = service.finished(
            service.accepted(service.http.post(f"{service.base_url}/v1/galleries/drinks/items", json=body, timeout=30))
        )
        statuses = [(one["status"], (one["error"] or {}).get("code")) for one in enrolled["result"]["items"]]
        assert statuses == [("added", None), ("rejected", "bucket_key_missing")]

        missing = by({"url": f"s3://{INPUTS}/nothing.jpg"})
        assert (missing["status"], missing["error"]["code"]) == ("failed", "bucket_key_missing")
        own = {"gallery": "drinks", "image": {"url": f"s3://{OWN}/some/prefix/{asked['request']['image']['key']}"}}
        refused = service.http.post(f"{service.base_url}/v1/recognitions", json=own, timeout=30)
        assert (refused.status_code, refused.json()["code"]) == (422, "bucket_forbidden")

        # by a link straight into the bucket, and back out by one
        sized = {"size": len(photo), "media_type": "image/jpeg"}
        made = service.http.post(f"{service.base_url}/v1/uploads", json=sized, timeout=30).json()
        assert made["send"]["url"].startswith(endpoint)
        put = requests.put(made["send"]["url"], data=photo, headers=made["send"]["headers"], timeout=30)
        assert put.status_code == 200, put.text
        uploaded = by({"upload": made["id"]})
        assert labels(uploaded["result"]) == ["pattern 41"]
        assert uploaded["request"]["image"]["key"] == asked["request"]["image"]["key"]  # the same bytes, kept once
        linked = service.get(f"{uploaded['links']['self']}/image?link=1")["url"]
        assert urlsplit(linked).netloc == urlsplit(endpoint).netloc
        assert requests.get(linked, timeout=30).content == photo

        # what is erased is in no object any more
        url = f"{service.base_url}/v1"
        item = next(one for one in service.get("/v1/galleries/drinks/items")["items"] if one["label"] == "pattern 41")
        receipt = service.http.delete(f"{url}/galleries/drinks/items/{item['id']}?erase=true", timeout=60).json()
        wait_for(lambda: service.get(f"/v1/erasures/{receipt['id']}")["status"] == "done", 60)
        assert "pattern 41" not in labels(service.recognized(photo, "drinks"))
        keys = [one["Key"] for page in bucket.get_paginator("list_objects_v2").paginate(Bucket=OWN) for one in page.get("Contents", ())]  # fmt: skip
        assert keys
        assert all(key.startswith("some/prefix/") for key in keys)
        held = [key for key in keys if bucket.get_object(Bucket=OWN, Key=key)["Body"].read() == pictures["pattern 41"]]
        assert held == []
        assert [key for key in keys if "/uploads/" in key] == []
    assert not (tmp_path / "data" / "objects").exists()
