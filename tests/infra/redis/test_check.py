"""What a wrong REDIS_URL or an unfit server is called: real servers, one line each, never the password."""

from __future__ import annotations

import contextlib
import http.server
import json
import random
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
import redis

from contracts.jobs import JobKind
from infra.errors.service import RedisMisconfigured, RedisUnavailable, StorageUnavailable
from infra.jobs.ledger import open_ledger
from infra.jobs.queue import Queue, make_celery
from infra.objects.opening import open_store
from infra.redis.check import check, explained, unready
from infra.redis.client import connect
from infra.redis.server import RedisServer, find_binary
from infra.runtime import redis_url
from infra.runtime.settings import Settings
from infra.stack.commands import ROOT, courier_command, keeper_command, web_command, worker_command
from infra.stack.installation import ID_KEY, Ownership, claim, verify
from tests.infra.processes import eventually


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://:p#ss@host:6379/0", "unencoded #"),
        ("redis://user:12#34@host:6379/0", "unencoded #"),
        ("redis://:pa/ss@host:6379/0", "not encoded"),
        ("redis://u:12/34@host/0", "unencoded /"),
        ("redis://u:12?34@host/0", "unencoded /"),
        ("redis://:p%ss@host", "unencoded %"),
        ("redis://:p[ss@host", "not encoded"),
        ("redis://host:6379/0\n", "line end"),
        ("redis://host:70000/0", "port"),
        ("redis://host:6379/zero", "must be a number"),
        ("redis://host:6379/0/1", "must be a number"),
        ("redis://host?db=x", "must be a number"),
        ("redis://host?ssl_cert_reqs=none", "write rediss://"),
        ("rediss://host?ssl_cert_reqs=maybe", "required, optional or none"),
        ("redis://host?databse=1", "no option 'databse'"),
        ("http://host", "expected redis://"),
    ],
)
def test_an_address_that_would_be_misread_is_refused_by_name(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        redis_url.checked(url)
    assert "34@" not in str(caught.value)


@pytest.mark.parametrize(
    "spelling", ["CERT_NONE", "cert_none", "none", "None", "ssl.CERT_NONE", "VerifyMode.CERT_NONE", "0", "CertNone"]
)
def test_spellings_of_unchecked_certificates_mean_one_thing(spelling: str) -> None:
    assert redis_url.checked(f"rediss://host/1?ssl_cert_reqs={spelling}") == "rediss://host/1?ssl_cert_reqs=none"


def test_tls_files_are_found_from_every_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The processes of the service do not run where the URL was written."""
    monkeypatch.chdir(tmp_path)
    url = redis_url.checked(
        "rediss://u:p%23w@host/1?ssl_ca_certs=my%20ca.pem&ssl_keyfile=/k.pem&ssl_check_hostname=true"
    )
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "ssl_ca_certs": str(tmp_path / "my ca.pem"), "ssl_keyfile": "/k.pem", "ssl_check_hostname": "true",
    }  # fmt: skip
    assert "u:p%23w@" in url
    monkeypatch.chdir("/")
    assert redis_url.checked(url) == url


@pytest.mark.parametrize("url", ["REDIS://host:1/2", "Rediss://u:p@host", "redis://host/0?"])
def test_a_scheme_in_capitals_is_understood(url: str) -> None:
    checked = redis_url.checked(url)
    assert checked == url.partition("?")[0].replace("REDIS:", "redis:").replace("Rediss:", "rediss:")
    connect(checked).close()


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
    """Below 55,536, for a cluster's bus listens 10,000 above."""
    for port in random.sample(range(20_000, 32_000), 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
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
        told = refusal(f"redis://:wrong@127.0.0.1:{port}")
        assert "refuses the name or password" in told
        assert "wrong@" not in told
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


def test_every_key_of_an_installation_has_its_prefix(settings: Settings, redis_client: redis.Redis) -> None:
    shop = replace(settings, redis_prefix="shop:a")
    verify(shop)
    ledger = open_ledger(shop)
    job = ledger.create("recognition", {"image": {"key": "photos/aa/bb"}}, webhook_url="http://x/")
    assert Queue(make_celery(shop)).publish(JobKind.RECOGNITION, job.id)
    assert ledger.stats().messages["recognize"] == 1
    ledger.presence.worker_ready("shitu:17", {}, ttl_s=60)
    assert [worker.name for worker in ledger.presence.workers()] == ["shitu:17"]
    lease = ledger.start(job.id)
    assert lease is not None
    assert ledger.succeed(lease, {})
    (delivery,) = ledger.deliveries.due()
    assert ledger.deliveries.take(delivery)
    assert ledger.get(job.id).finished
    keys = [str(key) for key in redis_client.scan_iter()]
    assert len(keys) > 8
    assert [key for key in keys if not key.startswith("shop:a:")] == []
    assert open_ledger(settings).stats().messages["recognize"] == 0  # another installation sees nothing of it


def test_a_prefix_belongs_to_one_object_store(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.stack.installation.FIRST_PUT_S", 0.3)  # nobody is writing the other's id
    verify(settings)
    verify(settings)
    moved = replace(settings, data_dir=tmp_path / "moved")
    shutil.copytree(settings.data_dir, moved.data_dir)
    verify(moved)  # the same objects elsewhere
    other = replace(settings, data_dir=tmp_path / "other")
    with pytest.raises(RedisMisconfigured) as caught:
        verify(other)
    assert str(settings.data_dir) in caught.value.detail
    assert str(other.data_dir) in caught.value.detail
    verify(replace(other, redis_prefix="other"))
    with pytest.raises(RedisMisconfigured):
        verify(other)
    objects = open_store(settings.objects, settings.data_dir)
    objects.delete(ID_KEY)
    client = connect(settings.redis_url or "")
    claim(client, objects, settings)  # written again from what Redis noted
    client.close()
    verify(settings)


def test_who_started_without_redis_looks_when_it_comes(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.stack.installation.FIRST_PUT_S", 0.3)  # nobody is writing the other's id
    verify(settings)
    own, other = Ownership(partial(verify, settings)), replace(settings, data_dir=tmp_path / "other")
    away = Ownership(partial(verify, replace(other, redis_url="redis://127.0.0.1:1/0")))
    foreign = Ownership(partial(verify, other))
    assert (own.foreign(), away.foreign()) == (None, None)
    assert "Two installations share" in str(foreign.foreign())
    with pytest.raises(RedisUnavailable):
        away.require()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["web", "courier", "keeper"])
def test_a_process_that_outwaited_redis_touches_no_other_installation(
    settings: Settings, tmp_path: Path, name: str
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with socket.create_server(("127.0.0.1", 0)) as free:
        web = replace(settings.web, port=free.getsockname()[1])
    late = replace(settings, redis_url=f"redis://127.0.0.1:{port}/0", web=web)
    with RedisServer(tmp_path / "r", port=port):
        verify(late)  # it belongs to the first installation, and is away then
    other = replace(late, data_dir=tmp_path / "other", worker=replace(settings.worker, heartbeat_s=0.5))
    command = {"web": web_command, "courier": courier_command, "keeper": lambda _: keeper_command()}[name](other)
    said = tmp_path / "said"
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), **other.to_env()}
    with said.open("wb") as output, subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=output, stderr=output
    ) as process:  # fmt: skip
        try:
            eventually(lambda: "started nevertheless" in said.read_text(), timeout_s=40)
            with RedisServer(tmp_path / "r", port=port) as server:
                assert server.url == late.redis_url
                if name == "web":
                    client = connect(server.url)
                    keys = set(client.scan_iter())
                    request = urllib.request.Request(
                        f"http://127.0.0.1:{web.port}/v1/galleries",
                        b'{"name": "g"}',
                        {"Content-Type": "application/json"},
                    )

                    def refused() -> bool:
                        with contextlib.suppress(ConnectionError):
                            with pytest.raises(urllib.error.HTTPError) as caught:
                                urllib.request.urlopen(request, timeout=20)
                            return b"redis_misconfigured" in caught.value.read()
                        return False

                    eventually(refused, timeout_s=40)
                    assert set(client.scan_iter()) == keys
                    client.close()
                else:
                    assert process.wait(40) == 1, said.read_text()
        finally:
            process.terminate()
    told = said.read_text()
    assert all(isinstance(json.loads(line), dict) for line in told.splitlines())
    if name != "web":
        assert "Two installations share the Redis prefix" in told
        assert "Traceback" not in told


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
