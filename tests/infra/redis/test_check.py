"""What an unfit server is called: real servers, one line each, never the password."""

from __future__ import annotations

import contextlib
import http.server
import random
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from infra.errors.service import RedisMisconfigured, RedisUnavailable, StorageUnavailable
from infra.redis.check import check, explained, unready
from infra.redis.client import connect
from infra.redis.server import RedisServer, find_binary
from infra.runtime.settings import Settings
from infra.stack.commands import ROOT, courier_command, keeper_command, web_command, worker_command
from tests.infra.processes import eventually


@contextlib.contextmanager
def running(folder: Path, *options: str, tls: bool = False) -> Iterator[int]:
    """A real server with `options`, on a port; gives the port."""
    port = free_port()
    folder.mkdir(exist_ok=True)
    command = [str(find_binary().path), "--port", str(port), "--dir", str(folder), "--save", "", *options]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        eventually(lambda: process.poll() is not None or listens(port), timeout_s=30)
        yield port
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A cluster's bus listens 10,000 above; it too is below the ports that connections come from."""
    for port in random.sample(range(12_000, 22_000), 100):
        with contextlib.suppress(OSError), socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
            return port
    raise AssertionError("none of a hundred ports is free")


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def refusal(url: str) -> str:
    with pytest.raises(RedisMisconfigured) as caught:
        check(url)
    assert "\n" not in caught.value.detail
    return caught.value.detail


def test_clusters_passwords_and_databases(tmp_path: Path) -> None:
    with running(tmp_path / "c", "--cluster-enabled", "yes") as port:
        assert "Redis Cluster" in refusal(f"redis://127.0.0.1:{port}/0")
        assert "Redis Cluster" in refusal(f"redis://127.0.0.1:{port}/3")
    with running(tmp_path / "p", "--requirepass", "right") as port:
        assert "wants a password" in refusal(f"redis://127.0.0.1:{port}")
        report = refusal(f"redis://:wrong@127.0.0.1:{port}")
        assert "refuses the name or password" in report
        assert "wrong@" not in report
        assert "plain, not TLS" in refusal(f"rediss://:right@127.0.0.1:{port}")
        check(f"redis://:right@127.0.0.1:{port}/15")
        assert "no database" in refusal(f"redis://:right@127.0.0.1:{port}/99")
        assert f"127.0.0.1:{port}, database 99" in refusal(f"redis://:right@127.0.0.1:{port}/99")
    with pytest.raises(RedisUnavailable, match="nothing listens there"):
        check(f"redis://127.0.0.1:{port}")


def test_what_else_answers_is_named(tmp_path: Path) -> None:
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        assert "an HTTP server" in refusal(f"redis://127.0.0.1:{web.server_port}")
        assert "an HTTP server" in refusal(f"rediss://127.0.0.1:{web.server_port}")
    finally:
        web.shutdown()
        web.server_close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
def test_tls_spoken_plain_and_a_certificate_of_nobody(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=elsewhere",
        "-keyout",
    ]
    subprocess.run([*make, str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with RedisServer(tmp_path / "r") as server, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=terminate_tls, args=(listener, context, server.socket), daemon=True).start()
        assert "write rediss://" in refusal(f"redis://127.0.0.1:{port}")
        assert "self-signed" in refusal(f"rediss://127.0.0.1:{port}").replace("self signed", "self-signed")
        assert "mismatch" in refusal(f"rediss://127.0.0.1:{port}?ssl_ca_certs={certificate}")
        assert "cannot be read" in refusal(f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/missing")
        check(f"rediss://127.0.0.1:{port}?ssl_cert_reqs=CERT_NONE")
        listener.shutdown(socket.SHUT_RDWR)


def terminate_tls(listener: socket.socket, context: ssl.SSLContext, plain: Path) -> None:
    """Takes TLS off, as a proxy before Redis does: the packaged server is built without it."""
    while True:
        try:
            accepted, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=carry, args=(accepted, context, plain), daemon=True).start()


def carry(accepted: socket.socket, context: ssl.SSLContext, plain: Path) -> None:
    with contextlib.suppress(OSError), carried(accepted, context) as one, plain_end(plain) as other:
        while data := one.recv(65536):  # a request in one piece, its reply in one or more
            other.sendall(data)
            with contextlib.suppress(TimeoutError):
                while reply := other.recv(65536):
                    one.sendall(reply)


def carried(accepted: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(accepted, server_side=True)


def plain_end(path: Path) -> socket.socket:
    end = socket.socket(socket.AF_UNIX)
    end.settimeout(0.2)
    end.connect(str(path))
    return end


def test_a_full_a_read_only_and_an_evicting_server_are_not_ready(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer(tmp_path / "r") as server, contextlib.closing(connect(server.url)) as client:
        assert unready(client) is None
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert unready(client) is None  # without a limit nothing is evicted
        check(server.url)
        assert "maxmemory-policy is allkeys-lru" in caplog.text
        client.config_set("maxmemory", "100mb")
        for policy in ("allkeys-lru", "volatile-ttl", "allkeys-random"):
            client.config_set("maxmemory-policy", policy)
            assert f"maxmemory-policy is {policy}" in str(unready(client))
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
        for size in (100_000, 1_000):
            with contextlib.suppress(redis.ResponseError):
                for number in range(1_000):
                    client.set(f"much:{size}:{number}", "x" * size)
        assert "full (maxmemory)" in str(unready(client))
        client.config_set("maxmemory", "0")
        assert unready(client) is None
        client.replicaof("127.0.0.1", "1")
        assert "read-only, a replica" in str(unready(client))


def test_a_disk_that_redis_cannot_write_to_is_the_storages_fault() -> None:
    misconf = redis.ResponseError("MISCONF Errors writing to the AOF file: No space left on device")
    assert isinstance(explained(misconf), StorageUnavailable)


@pytest.mark.slow
def test_each_process_ends_with_one_line(settings: Settings, tmp_path: Path) -> None:
    with running(tmp_path / "c", "--cluster-enabled", "yes") as port:
        unfit = replace(settings, redis_url=f"redis://127.0.0.1:{port}/0", web=replace(settings.web, port=0))
        environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **unfit.to_env()}
        for command in (web_command(unfit), worker_command(unfit), courier_command(unfit), keeper_command()):
            ended = subprocess.run(
                command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
            )
            assert ended.returncode != 0, command
            assert "The server is a Redis Cluster" in ended.stderr
            assert "Traceback" not in ended.stderr
