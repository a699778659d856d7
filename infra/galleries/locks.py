"""One writer at a time for each gallery, numbered: a later writer always has a higher fencing token.

A lock alone does not keep a writer that was paused (a stopped process, a lost network) from writing when it wakes. So
every writer gets a token, publishes under it, and the highest published token is what counts; see infra.galleries.store.
"""

from __future__ import annotations

import contextlib
import fcntl
import secrets
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import redis

from infra.errors.galleries import GalleryBusy
from infra.redis.check import explained

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

# How long a writer waits for another. A write that fits the gallery again reads all of it under the lock: some seconds at
# 10,000 items on a busy machine, more with the size; docs/galleries.md has the figures.
WAIT_S = 15.0
POLL_S = 0.02
TTL_S = 20.0  # how long a dead writer keeps others out

# Safe to repeat when the reply was lost: the lock is then ours already.
# A token is also the time in microseconds: a Redis that lost its data hands out no number twice.
_ACQUIRE = """
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return false
end
local now = redis.call('TIME')
local last = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), tonumber(ARGV[3]))
local token = string.format('%.0f', math.max(last + 1, now[1] * 1000000 + now[2]))
redis.call('SET', KEYS[2], token)
return token
"""
_RENEW = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('PEXPIRE', KEYS[1], ARGV[2]) or 0"
_RELEASE = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1]) or 0"


class Hold(Protocol):
    """The right to write one gallery, for as long as `check` does not raise."""

    @property
    def token(self) -> int:
        """The fencing token: higher than that of every earlier writer."""

    def check(self) -> None:
        """Raises GalleryBusy if the right was lost to time or to another writer."""


class Lock(Protocol):
    """Gives one writer at a time the right to write."""

    def hold(self, name: str, floor: int) -> AbstractContextManager[Hold]:
        """Waits for the gallery `name`; the token is above `floor`. Raises GalleryBusy after a while."""


class LocalLock:
    """A lock between the threads of this process, and with a `folder` between the processes of this machine.

    The operating system ends a dead process's hold at once.
    """

    def __init__(self, folder: Path | None = None, wait_s: float = WAIT_S) -> None:
        self._folder = folder
        self._wait_s = wait_s
        self._guard = threading.Lock()
        self._threads: dict[str, threading.Lock] = {}

    @contextmanager
    def hold(self, name: str, floor: int) -> Iterator[Hold]:
        deadline = time.monotonic() + self._wait_s
        with self._guard:
            threads = self._threads.setdefault(name, threading.Lock())
        if not threads.acquire(timeout=self._wait_s):
            raise _busy(name)
        try:
            with _file_lock(self._folder, name, deadline):
                yield _Local(max(floor + 1, time.time_ns() // 1000))
        finally:
            threads.release()


class _Local:
    def __init__(self, token: int) -> None:
        self.token = token

    def check(self) -> None:
        """Never lost: it ends with the process."""


@contextmanager
def _file_lock(folder: Path | None, name: str, deadline: float) -> Iterator[None]:
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("ab") as file:  # never removed: a removed file would be two locks
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise _busy(name) from None
                time.sleep(POLL_S)
        yield  # closing the file ends the lock


class GalleryLock:
    """A lock between all machines that share one Redis; renewed while held, lapsing `ttl_s` after its writer died.

    Raises RedisUnavailable when Redis cannot be asked.
    """

    def __init__(self, client: redis.Redis, *, ttl_s: float = TTL_S, wait_s: float = WAIT_S) -> None:
        self._redis = client
        self._ttl_ms = int(1000 * ttl_s)
        self._wait_s = wait_s

    @contextmanager
    def hold(self, name: str, floor: int) -> Iterator[Hold]:
        key, nonce = f"shitu:gallery:{name}:lock", secrets.token_hex(16)
        hold = _Leased(self._redis, name, key, nonce, self._acquire(name, key, nonce, floor))
        stop = threading.Event()
        renewer = threading.Thread(target=self._keep, args=(key, nonce, stop), name=f"gallery-lock-{name}", daemon=True)
        renewer.start()
        try:
            yield hold
        finally:
            stop.set()
            renewer.join()
            with contextlib.suppress(redis.RedisError):  # it lapses by itself
                self._redis.eval(_RELEASE, 1, key, nonce)

    def _acquire(self, name: str, key: str, nonce: str, floor: int) -> int:
        deadline = time.monotonic() + self._wait_s
        while True:
            with _redis_errors():
                token = self._redis.eval(_ACQUIRE, 2, key, f"shitu:gallery:{name}:token", nonce, self._ttl_ms, floor)
            if token is not None:
                return int(token)
            if time.monotonic() > deadline:
                raise _busy(name)
            time.sleep(POLL_S)

    def _keep(self, key: str, nonce: str, stop: threading.Event) -> None:
        while not stop.wait(self._ttl_ms / 3000):
            with contextlib.suppress(redis.RedisError):  # tried again at the next turn; `check` tells the writer
                self._redis.eval(_RENEW, 1, key, nonce, self._ttl_ms)


class _Leased:
    def __init__(self, client: redis.Redis, name: str, key: str, nonce: str, token: int) -> None:
        self.token = token
        self._redis, self._name, self._key, self._nonce = client, name, key, nonce

    def check(self) -> None:
        with _redis_errors():
            holder = self._redis.get(self._key)
        if holder not in (self._nonce, self._nonce.encode()):
            raise GalleryBusy(f"Another writer took over the gallery {self._name!r}: try again.")


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise explained(error) from error


def _busy(name: str) -> GalleryBusy:
    return GalleryBusy(f"The gallery {name!r} is being changed by another writer: try again.", retry_after_s=1)
