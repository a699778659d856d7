"""A real S3 server (moto) as a process of its own on a free port, of loopback if not said otherwise."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import boto3

# What a client of it sets in its environment; any key will do.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def s3_server(address: str = "127.0.0.1") -> Iterator[str]:
    """The endpoint of a running, empty server."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", address, "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    endpoint = f"http://{address}:{port}"
    try:
        deadline = time.monotonic() + 60
        while not _answers(endpoint):
            assert server.poll() is None, "the S3 server ended"
            assert time.monotonic() < deadline, "the S3 server does not answer"
            time.sleep(0.05)
        yield endpoint
    finally:
        server.terminate()
        server.wait(10)


def new_bucket(endpoint: str) -> str:
    """The name of a bucket that was just made."""
    bucket = "b" + secrets.token_hex(6)
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=bucket)
    return bucket


@contextmanager
def checking_credentials(endpoint: str) -> Iterator[None]:
    """Within, the server knows no credentials at all; usually it takes any."""
    _reset_auth(endpoint, "0")
    try:
        yield
    finally:
        _reset_auth(endpoint, "inf")


def _reset_auth(endpoint: str, requests_without: str) -> None:
    request = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", data=requests_without.encode(), method="POST")
    request.add_header("Content-Type", "text/plain")
    with urllib.request.urlopen(request, timeout=5):
        pass


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5):
            return True
    except OSError:
        return False
