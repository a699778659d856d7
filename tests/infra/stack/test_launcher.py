"""The real processes of the service: started, restarted, stopped in order, found again; without models, which load slowly.

The whole stack at work, workers included, is walked through in tests/e2e.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from infra.errors.service import ConfigurationError, NotReady
from infra.jobs.ledger import open_ledger
from infra.runtime.settings import load_settings
from infra.stack.commands import ROOT, courier_command, keeper_command, web_command, worker_command
from infra.stack.launcher import Stack
from tests.infra.processes import children, eventually, gone

if TYPE_CHECKING:
    from pathlib import Path

    from infra.runtime.settings import Settings


@pytest.fixture
def bare(tmp_path: Path) -> Settings:
    """Settings without a Redis and without a secret, on any free port."""
    return load_settings(
        {"SHITU_DATA_DIR": str(tmp_path / "data"), "SHITU_WEB__PORT": "0", "SHITU_JOBS__SWEEP_INTERVAL_S": "0.2"}
    )


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_the_service_runs_heals_stops_and_is_found_again(bare: Settings) -> None:
    said: list[str] = []
    progress: list[str] = []

    def say(name: str, line: str) -> None:
        said.append(f"{name}: {line}")

    with Stack(bare, workers=0, say=say, progress=progress.append) as stack:
        assert set(stack.processes) == {"redis", "web", "courier", "keeper"}
        assert status(f"{stack.base_url}/healthz") == 200
        assert status(f"{stack.base_url}/readyz") == 503, "no worker, not ready"
        secret = stack.settings.webhooks.secret
        kept = bare.data_dir / "webhook_secret"
        assert (kept.read_text().strip(), stat.S_IMODE(kept.stat().st_mode)) == (secret, 0o600)
        job = open_ledger(stack.settings).create("recognition", {"gallery": "drinks"})
        pids = {name: process.pid for name, process in stack.processes.items()}

        for name in ("web", "keeper", "redis"):
            pid = stack.processes[name].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: all(process.pid for process in stack.processes.values()))
        eventually(lambda: [stack.processes[name].restarts for name in ("web", "keeper", "redis")] == [1, 1, 1])
        pids |= {f"{name} again": process.pid for name, process in stack.processes.items()}
        assert status(f"{stack.base_url}/v1/recognitions/{job.id}") == 200, "the socket stayed open, the ledger kept"
        log = bare.data_dir / "logs/keeper.log"
        eventually(lambda: log.read_text().count("keeper started") == 2)
        address = (bare.web.host, stack.settings.web.port)

    assert all(gone(pid) for pid in pids.values() if pid)
    assert any("web: ended: killed by SIGKILL; starting again" in line for line in said)
    assert "keeper stopped" in log.read_text()
    assert "could not resign" not in log.read_text(), "Redis is there until the others are gone"
    assert progress[0] == "starting Redis"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5).close()

    with Stack(bare, workers=0) as again:
        assert again.settings.webhooks.secret == secret
        assert status(f"{again.base_url}/v1/recognitions/{job.id}") == 200


def test_a_redis_of_ones_own_is_used_and_left_alone(settings: Settings) -> None:
    own = replace(settings, web=replace(settings.web, port=0))
    with Stack(own, workers=0) as stack:
        assert set(stack.processes) == {"web", "courier", "keeper"}
        assert stack.settings.redis_url == settings.redis_url
        job = open_ledger(settings).create("recognition", {"gallery": "drinks"})
        assert status(f"{stack.base_url}/v1/recognitions/{job.id}") == 200
    assert open_ledger(settings).get(job.id).id == job.id


def test_a_port_in_use_is_one_clear_error(bare: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = replace(bare, web=replace(bare.web, port=other.getsockname()[1]))
        with pytest.raises(ConfigurationError, match=r"SHITU_WEB__PORT: cannot listen on 127\.0\.0\.1"):
            Stack(taken).start()


def test_a_worker_that_cannot_start_is_reported_with_its_last_words(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("courier_command", "keeper_command"):  # seconds to start, and nothing asks them
        monkeypatch.setattr(f"infra.stack.launcher.{name}", lambda *_: ("sleep", "120"))
    broken = replace(
        settings,
        web=replace(settings.web, port=0),
        worker=replace(settings.worker, embedder=str(tmp_path / "no-such-artifact"), concurrency=1),
    )
    stack = Stack(broken, restart=False)
    with pytest.raises(NotReady, match=r"(?s)worker does not start \(exit code 1\).*this worker cannot be opened"):
        stack.start()
    assert stack.processes == {}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux informs a child of its parent's death")
def test_a_launcher_that_is_killed_leaves_nothing_behind(bare: Settings) -> None:
    script = """
import sys
from infra.stack.launcher import Stack
from infra.runtime.settings import load_settings
with Stack(load_settings(), workers=0) as stack:
    print(*(process.pid for process in stack.processes.values()), flush=True)
    sys.stdin.read()
"""
    launcher = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, **bare.to_env()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with launcher:
        assert launcher.stdout
        pids = [int(pid) for pid in launcher.stdout.readline().split()]
        assert len(pids) == 4
        families = [pid for parent in pids for pid in (parent, *children(parent))]
        assert len(families) > len(pids), "gunicorn has a child of its own"
        launcher.kill()
    eventually(lambda: all(gone(pid) for pid in families))


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_stops_what_up_has_started(bare: Settings, times: int) -> None:
    """While it starts: a worker that never becomes ready keeps it there."""
    (no_model := bare.data_dir.parent / "empty").mkdir()
    env = {**os.environ, **bare.to_env(), "SHITU_WORKER__EMBEDDER": str(no_model), "SHITU_LOG__FORMAT": "text"}
    with subprocess.Popen(
        [sys.executable, "-m", "shitu", "up", "--port", "0"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
    ) as up:
        assert up.stdout
        eventually(lambda: len(children(up.pid)) == 5)  # Redis, web, worker, courier, keeper
        pids = [pid for child in children(up.pid) for pid in (child, *children(child))]
        for _ in range(times):
            up.send_signal(signal.SIGINT)
        said = up.stdout.read()
    assert up.returncode == 0, said
    assert "stopped; the data stay in" in said
    assert all(gone(pid) for pid in pids)


def test_the_commands_follow_the_settings(bare: Settings) -> None:
    web = web_command(replace(bare, web=replace(bare.web, host="::1", port=8000, threads=5)))
    assert web[web.index("--bind") + 1] == "[::1]:8000"
    assert web[web.index("--threads") + 1] == "5"
    worker = worker_command(bare, "worker-2")
    assert worker[worker.index("-Q") + 1] == "recognize,enroll,detect,embed,classify,import,evaluate,lint,reembed"
    assert worker[worker.index("-n") + 1] == "worker-2@%h"
    assert courier_command(bare)[courier_command(bare).index("-Q") + 1] == "deliver,fetch"
    assert keeper_command()[1:] == ("-P", "-m", "worker.keeper")


def test_children_see_the_settings_and_nothing_stale(
    bare: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SHITU_WEB__THREADS", "7")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere.example:6379/0")
    stack = Stack(replace(bare, redis_url="redis://127.0.0.1:1/0"))
    seen = stack._environment(3)
    assert load_settings(seen) == stack.settings
    assert seen["OMP_NUM_THREADS"] == "3"
    assert json.dumps(seen).count("elsewhere") == 0
