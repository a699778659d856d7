"""Starts processes, shows what they say, starts them again when they die, and leaves none running.

One thread starts every process, because Linux ties a child's life to the thread that started it (`infra.stack.bound`): it lives
until the last child has ended. Each child has a session of its own, so that Ctrl-C in the terminal reaches the launcher
alone, which then stops the children in their order.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from infra.runtime.log_file import LogFile
from infra.stack import bound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

POLL_S = 0.05
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
HEALTHY_S = 30.0  # after so long a run, the next pause is the first one again
MAX_LOG_BYTES = 20_000_000
LAST_LINES = 50
KILLED_WITHIN_S = 5.0


class Running(Protocol):
    """What a supervisor can start and stop; all methods may be called from any thread but `start`."""

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""

    def start(self) -> None:
        """Starts it, again if it ran before."""

    def ended(self) -> str:
        """How the last run ended, in words."""

    def stop(self, timeout_s: float) -> None:
        """Asks it to end, kills it after `timeout_s` seconds, and waits."""

    def kill(self) -> None:
        """Ends it and all its children now."""

    def retire(self) -> None:
        """Asks it to end when it has done what it is at, however long that takes; does not wait."""


def heard(say: Callable[[str, str], None]) -> Callable[[str, str], None]:
    """`say`, but a listener that went away (a closed terminal, a broken pipe) harms nobody who works."""

    def speak(name: str, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            say(name, line)

    return speak


def bind(command: tuple[str, ...], death_signal: int = signal.SIGKILL) -> list[str]:
    """`command`, made to get `death_signal` when this process dies."""
    return [*binding(death_signal), *command]


def binding(death_signal: int) -> list[str]:
    """The words before a command that make it get `death_signal` when this process dies."""
    return [sys.executable, "-I", "-S", str(Path(bound.__file__)), str(os.getpid()), str(int(death_signal))]


class ChildProcess:
    """One command with its environment, whose output goes to `log_path` and, line by line, to `say`.

    `folder` is where it runs (None: where this process does); `shape(name, line)` is what becomes of each line first.
    """

    def __init__(
        self,
        name: str,
        command: tuple[str, ...],
        env: Mapping[str, str],
        log_path: Path,
        say: Callable[[str, str], None],
        *,
        pass_fds: tuple[int, ...] = (),
        folder: Path | None = None,
        shape: Callable[[str, str], str] | None = None,
    ) -> None:
        self.command = command
        self._name = name
        self._env = dict(env)
        self._log_path = log_path
        self._say = heard(say)
        self._pass_fds = pass_fds
        self._folder = folder
        self._shape = shape
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._last: deque[str] = deque(maxlen=LAST_LINES)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Starts the command in a session of its own."""
        self._kill_group()  # what a killed process left of its own children
        self._join_reader()
        self._process = subprocess.Popen(
            bind(self.command),
            env=self._env,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=self._pass_fds,
        )
        output = self._process.stdout
        self._reader = threading.Thread(target=self._read, args=(output,), name=f"log {self._name}", daemon=True)
        self._reader.start()

    def ended(self) -> str:
        """How the last run ended, in words."""
        code = self._process.poll() if self._process else None
        if code is None:
            return "has not ended"
        if code >= 0:
            return f"exit code {code}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
        return f"killed by signal {-code}"

    def stop(self, timeout_s: float) -> None:
        """SIGTERM, then SIGKILL after `timeout_s` seconds; waits until the process is gone."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._say(self._name, f"did not stop within {timeout_s:g} s: killed")
        self.kill()

    def retire(self) -> None:
        """SIGUSR2: a worker drains without a limit. Before it can hear that it has nothing to drain, and just ends."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGUSR2)

    def kill(self) -> None:
        """SIGKILL to the process and its children."""
        if self._process is not None:
            self._kill_group()
            self._process.kill()
            self._process.wait(KILLED_WITHIN_S)
            self._join_reader()

    def last_words(self, lines: int = 12) -> str:
        """The last lines of the runs so far, whether or not they could be written to the log file."""
        return "\n".join(list(self._last)[-lines:])

    def _kill_group(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _join_reader(self) -> None:
        if self._reader is not None:
            self._reader.join(KILLED_WITHIN_S)

    def _read(self, output: IO[bytes]) -> None:
        """Nothing may end this before the process does: with its pipe full and unread, the process would stand still."""
        with output, LogFile(self._log_path, MAX_LOG_BYTES) as log:
            for written in output:
                line = written
                if self._shape is not None:
                    text = written.decode("utf-8", errors="replace").rstrip("\r\n")
                    line = f"{self._shape(self._name, text)}\n".encode("utf-8", errors="replace")
                log.write(line)
                text = line.decode("utf-8", errors="replace").rstrip("\r\n")
                self._last.append(text)
                self._say(self._name, text)


@dataclass
class Supervised:
    """One process under supervision. `pid` changes when it is started again, `restarts` counts that."""

    name: str
    running: Running
    stop_timeout_s: float
    restart: bool
    restarts: int = 0
    exits: int = 0
    wanted: bool = False
    started: bool = False
    retired: bool = False
    not_before: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    started_at: float = 0.0
    failure: Exception | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.running.pid


class Supervisor:
    """Keeps the processes alive that were given to `add`, until `stop` or `kill`."""

    def __init__(self, say: Callable[[str, str], None]) -> None:
        self._say = heard(say)
        self.processes: dict[str, Supervised] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def add(self, name: str, running: Running, *, stop_timeout_s: float, restart: bool = True) -> Supervised:
        """Starts the process and returns when it was started. Raises what its `start` raised."""
        supervised = Supervised(name, running, stop_timeout_s, restart, wanted=True)
        with self._changed:
            self.processes[name] = supervised
            self._changed.notify_all()
            self._changed.wait_for(lambda: supervised.started or supervised.failure or self._closing)
        if supervised.failure is not None:
            del self.processes[name]
            raise supervised.failure
        return supervised

    def stop(self, *names: str) -> None:
        """Stops these processes side by side, and returns when they are gone."""
        found = [self.processes[name] for name in names if name in self.processes]
        with self._changed:
            for supervised in found:
                supervised.wanted = False
        threads = [
            threading.Thread(
                target=supervised.running.stop, args=(supervised.stop_timeout_s,), name=f"stop {supervised.name}"
            )
            for supervised in found
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def retire(self, name: str) -> None:
        """Lets the process end by itself, with `Running.retire`; it is forgotten when it has."""
        supervised = self.processes[name]
        with self._changed:
            supervised.wanted, supervised.retired = False, True
        supervised.running.retire()

    def kill(self) -> None:
        """Ends all processes now, the last started first."""
        for supervised in list(self.processes.values()):
            supervised.wanted = False
        for supervised in reversed(list(self.processes.values())):
            supervised.running.kill()

    def close(self) -> None:
        """Ends the thread; the processes must have been stopped."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        with self._changed:
            while not self._closing:
                for supervised in list(self.processes.values()):
                    if supervised.wanted and supervised.failure is None and supervised.pid is None:
                        self._start_or_wait(supervised)
                    elif supervised.retired and supervised.pid is None:
                        self._say(supervised.name, f"retired: {supervised.running.ended()}")
                        del self.processes[supervised.name]
                self._changed.wait(POLL_S)

    def _start_or_wait(self, supervised: Supervised) -> None:
        now = time.monotonic()
        if supervised.started and supervised.not_before == 0.0:
            self._note_end(supervised, now)
        if not supervised.wanted or now < supervised.not_before:
            return
        try:
            supervised.running.start()
        except Exception as error:  # reported to the starter, or tried again
            if not supervised.started:
                supervised.failure = error
                self._changed.notify_all()
                return
            self._say(supervised.name, f"could not be started again: {error}")
            self._wait_longer(supervised, now)
            return
        supervised.restarts += supervised.started
        supervised.started = True
        supervised.started_at = time.monotonic()
        supervised.not_before = 0.0
        self._changed.notify_all()

    def _note_end(self, supervised: Supervised, now: float) -> None:
        supervised.exits += 1
        if not supervised.restart:
            supervised.wanted = False
            self._say(supervised.name, f"ended: {supervised.running.ended()}")
            return
        if now - supervised.started_at > HEALTHY_S:
            supervised.pause_s = FIRST_PAUSE_S
        self._say(supervised.name, f"ended: {supervised.running.ended()}; starting again in {supervised.pause_s:g} s")
        self._wait_longer(supervised, now)

    def _wait_longer(self, supervised: Supervised, now: float) -> None:
        supervised.not_before = now + supervised.pause_s
        supervised.pause_s = min(LONGEST_PAUSE_S, 2 * supervised.pause_s)
