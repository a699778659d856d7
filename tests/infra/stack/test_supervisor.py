"""Real child processes: started, heard, started again, stopped in time, and none left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from infra.stack.supervisor import ChildProcess, Supervisor
from tests.infra.processes import eventually, gone

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLEEP = "import time; print('started', flush=True); time.sleep(600)"
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(600)
"""


class Heard:
    """Collects what the processes and the supervisor say."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def text(self) -> str:
        return "\n".join(f"{name}: {line}" for name, line in self.lines)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def supervisor(heard: Heard) -> Iterator[Supervisor]:
    running = Supervisor(heard)
    yield running
    running.kill()
    running.close()


def child(heard: Heard, tmp_path: Path, script: str, name: str = "child", **env: str) -> ChildProcess:
    return ChildProcess(name, (sys.executable, "-c", script), {**os.environ, **env}, tmp_path / f"{name}.log", heard)


def test_a_process_is_started_with_its_environment_and_heard(
    supervisor: Supervisor, heard: Heard, tmp_path: Path
) -> None:
    script = "import os, sys, time; print(os.environ['WORD'], flush=True); sys.stderr.write('err\\n'); time.sleep(600)"
    supervised = supervisor.add("child", child(heard, tmp_path, script, WORD="hello"), stop_timeout_s=5)
    assert supervised.pid
    eventually(lambda: heard.text() == "child: hello\nchild: err")
    assert (tmp_path / "child.log").read_text() == "hello\nerr\n"


def test_a_process_that_dies_is_started_again(supervisor: Supervisor, heard: Heard, tmp_path: Path) -> None:
    supervised = supervisor.add("child", child(heard, tmp_path, SLEEP), stop_timeout_s=5)
    first = supervised.pid
    assert first
    eventually(lambda: "started" in heard.text())
    os.kill(first, signal.SIGKILL)
    eventually(lambda: supervised.restarts == 1)
    assert supervised.pid not in {None, first}
    eventually(lambda: heard.text().count("started") == 2)
    assert "ended: killed by SIGKILL; starting again in 0.5 s" in heard.text()


def test_the_pauses_between_restarts_grow(supervisor: Supervisor, heard: Heard, tmp_path: Path) -> None:
    supervised = supervisor.add("child", child(heard, tmp_path, "raise SystemExit(3)"), stop_timeout_s=5)
    eventually(lambda: supervised.exits >= 3)
    assert "exit code 3; starting again in 0.5 s" in heard.text()
    assert "exit code 3; starting again in 1 s" in heard.text()
    assert "exit code 3; starting again in 2 s" in heard.text()


def test_without_restart_a_dead_process_stays_dead(supervisor: Supervisor, heard: Heard, tmp_path: Path) -> None:
    supervised = supervisor.add("child", child(heard, tmp_path, "print(1)"), stop_timeout_s=5, restart=False)
    eventually(lambda: "ended: exit code 0" in heard.text())
    time.sleep(0.2)  # several rounds of the supervisor
    assert (supervised.pid, supervised.restarts) == (None, 0)


def test_stopping_lets_a_process_finish(supervisor: Supervisor, heard: Heard, tmp_path: Path) -> None:
    script = """
import signal, sys, time
def finish(*_):
    time.sleep(0.2); print("finished", flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, finish)
print("started", flush=True)
time.sleep(600)
"""
    supervised = supervisor.add("child", child(heard, tmp_path, script), stop_timeout_s=10)
    eventually(lambda: "started" in heard.text())
    supervisor.stop("child")
    assert supervised.pid is None
    assert heard.text().endswith("finished")
    assert supervised.restarts == 0


def test_a_process_that_does_not_stop_is_killed_with_its_children(
    supervisor: Supervisor, heard: Heard, tmp_path: Path
) -> None:
    supervised = supervisor.add("child", child(heard, tmp_path, STUBBORN), stop_timeout_s=0.3)
    eventually(lambda: "child " in heard.text())
    grandchild = int(heard.lines[0][1].split()[1])
    pid = supervised.pid
    assert pid
    supervisor.stop("child")
    assert gone(pid)
    eventually(lambda: gone(grandchild))
    assert "did not stop within 0.3 s: killed" in heard.text()


def test_killing_ends_a_stop_that_waits(supervisor: Supervisor, heard: Heard, tmp_path: Path) -> None:
    supervisor.add("child", child(heard, tmp_path, STUBBORN), stop_timeout_s=600)
    eventually(lambda: "child " in heard.text())
    stopping = threading.Thread(target=supervisor.stop, args=("child",))
    stopping.start()
    supervisor.kill()
    stopping.join(10)
    assert not stopping.is_alive()


def test_a_command_that_does_not_exist_says_so(supervisor: Supervisor, heard: Heard, tmp_path: Path) -> None:
    missing = ChildProcess("child", (str(tmp_path / "missing"),), dict(os.environ), tmp_path / "child.log", heard)
    supervisor.add("child", missing, stop_timeout_s=5)
    eventually(lambda: "No such file or directory" in heard.text() and "exit code 1" in heard.text())
    assert "No such file or directory" in missing.last_words()


def test_a_start_that_fails_is_reported_to_the_starter(supervisor: Supervisor, heard: Heard, tmp_path: Path) -> None:
    running = ChildProcess("child", ("true",), {"BROKEN": "\0"}, tmp_path / "child.log", heard)
    with pytest.raises(ValueError, match="null byte"):
        supervisor.add("child", running, stop_timeout_s=5)
    assert supervisor.processes == {}


def test_what_a_process_receives_by_number_stays_open(supervisor: Supervisor, heard: Heard, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    try:
        running = ChildProcess(
            "child",
            (sys.executable, "-c", f"import os; os.write({writing}, b'hello')"),
            dict(os.environ),
            tmp_path / "child.log",
            heard,
            pass_fds=(writing,),
        )
        supervisor.add("child", running, stop_timeout_s=5, restart=False)
        assert os.read(reading, 5) == b"hello"
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux informs a child of its parent's death")
def test_a_launcher_that_is_killed_leaves_no_process_behind(tmp_path: Path) -> None:
    """kill -9 leaves the launcher no chance to tidy up; Redis, which has a session of its own, must end as well."""
    launcher = """
import os, signal, sys, time
from pathlib import Path
from infra.redis.server import RedisServer
from infra.stack.starting import EmbeddedRedis
from infra.stack.supervisor import ChildProcess, Supervisor, binding

folder = Path(sys.argv[1])
supervisor = Supervisor(lambda name, line: None)
redis = RedisServer(folder / "redis", wrapper=tuple(binding(signal.SIGTERM)))
supervisor.add("redis", EmbeddedRedis(redis), stop_timeout_s=5)
command = (sys.executable, "-c", "import time; time.sleep(600)")
supervisor.add("child", ChildProcess("child", command, dict(os.environ), folder / "child.log", lambda *_: None), stop_timeout_s=5)
print(supervisor.processes["redis"].pid, supervisor.processes["child"].pid, flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", launcher, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        assert not any(gone(pid) for pid in pids)
        process.kill()
    eventually(lambda: all(gone(pid) for pid in pids))
