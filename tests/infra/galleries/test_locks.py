"""One writer at a time, and an overtaken writer publishes nothing: with a real Redis and really stopped processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from infra.errors.galleries import GalleryBusy
from infra.errors.service import RedisUnavailable
from infra.galleries.locks import LocalLock, Lock
from infra.galleries.merges import MAX_SEGMENTS
from infra.galleries.store import GalleryLock, GalleryStore
from infra.objects.local import LocalStore
from infra.redis.client import connect
from tests.infra.gallery_items import DIGEST, Remote, add, check, item

# A writer on another machine: it shares the store's files and Redis, but no lock of this machine's file system.
# It stops itself just before it writes a key that contains argv[4], or lists the files, as if its machine had been suspended.
WRITER = """
import os, signal, sys
from pathlib import Path
from infra.errors.galleries import GalleryBusy
from infra.galleries.store import GalleryLock, GalleryStore
from infra.objects.local import LocalStore
from infra.redis.client import connect
from tests.infra.gallery_items import Remote, add, item

folder, url, number, stop_at = sys.argv[1:]

class Stopping(Remote):
    stopped = False

    def put(self, key, data):
        if stop_at and stop_at in key and not self.stopped:
            self.stopped = True
            os.kill(os.getpid(), signal.SIGSTOP)
        super().put(key, data)

    def list(self, prefix=""):
        if stop_at == "list " + prefix.split("g/")[0]:
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().list(prefix)

store = GalleryStore(Stopping(LocalStore(Path(folder))), GalleryLock(connect(url), ttl_s=0.5 if stop_at else 20, wait_s=30))
try:
    add(store, "g", item(int(number)))
except GalleryBusy:
    sys.exit(3)
"""


@contextlib.contextmanager
def writer(folder: Path, url: str, number: int, stop_at: str = "") -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), url, str(number), stop_at])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_until_stopped(process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        pid, status = os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)
        if pid:
            assert os.WIFSTOPPED(status), "the writer ended instead of stopping"
            return
        time.sleep(0.01)
    pytest.fail("the writer did not stop")


@pytest.fixture(params=["local", "folder", "redis"])
def locks(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Lock, Lock]:
    """Two locks that must exclude each other, with little patience."""
    if request.param == "local":
        lock = LocalLock(wait_s=0.1)
        return lock, lock
    if request.param == "folder":
        return LocalLock(tmp_path / "locks", wait_s=0.1), LocalLock(tmp_path / "locks", wait_s=0.1)
    client = request.getfixturevalue("redis_client")
    return GalleryLock(client, wait_s=0.1), GalleryLock(client, wait_s=0.1)


def test_one_at_a_time_for_each_gallery(locks: tuple[Lock, Lock]) -> None:
    one, other = locks
    with one.hold("g", 0) as hold:
        hold.check()
        with pytest.raises(GalleryBusy) as busy, other.hold("g", 0):
            pass
        assert busy.value.retryable
        with other.hold("h", 0) as elsewhere:
            elsewhere.check()
        hold.check()
    with other.hold("g", 0) as later:
        assert later.token > hold.token


def test_tokens_rise_and_are_above_the_floor(locks: tuple[Lock, Lock]) -> None:
    last = 0
    for turn in range(20):
        with locks[turn % 2].hold("g", last) as hold:
            assert hold.token > last
            last = hold.token
    far = last + 10**12
    with locks[0].hold("g", far) as hold:
        assert hold.token == far + 1
    with locks[1].hold("g", far + 1) as hold:
        assert hold.token == far + 2


def test_an_error_ends_the_hold(locks: tuple[Lock, Lock]) -> None:
    with pytest.raises(KeyError), locks[0].hold("g", 0):
        raise KeyError
    with locks[1].hold("g", 0):
        pass


def test_the_lock_is_renewed_while_it_is_held(redis_client: redis.Redis) -> None:
    with GalleryLock(redis_client, ttl_s=0.3).hold("g", 0) as hold:
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            hold.check()
            time.sleep(0.05)


def test_a_lost_lock_is_noticed_and_not_released_for_the_next(redis_client: redis.Redis) -> None:
    lock = GalleryLock(redis_client)
    with lock.hold("g", 0) as lost:
        redis_client.delete("shitu:gallery:g:lock")
        with pytest.raises(GalleryBusy):
            lost.check()
        taken = lock.hold("g", 0)
        hold = taken.__enter__()
        with pytest.raises(GalleryBusy):
            lost.check()
    hold.check()
    assert redis_client.exists("shitu:gallery:g:lock")
    taken.__exit__(None, None, None)
    assert not redis_client.exists("shitu:gallery:g:lock")


def test_tokens_rise_even_if_redis_lost_everything(redis_client: redis.Redis) -> None:
    lock = GalleryLock(redis_client)
    with lock.hold("g", 0) as before:
        pass
    redis_client.flushall()
    with lock.hold("g", 0) as after:
        assert after.token > before.token


def test_an_unreachable_redis_is_reported(tmp_path: Path) -> None:
    lock = GalleryLock(connect(f"unix://{tmp_path}/none.sock"))
    with pytest.raises(RedisUnavailable), lock.hold("g", 0):
        pass


@pytest.mark.parametrize("stop_at", [".jsonl", ".npy", ".features.bin", "manifests/", "galleries/current/"])
def test_a_stopped_and_overtaken_writer_publishes_nothing(tmp_path: Path, redis_url: str, stop_at: str) -> None:
    objects = LocalStore(tmp_path)
    client = connect(redis_url)
    store = GalleryStore(Remote(objects), GalleryLock(client, wait_s=30))
    store.create("g")
    add(store, "g", item(0))
    with writer(tmp_path, redis_url, 1, stop_at) as stopped:
        wait_until_stopped(stopped)
        add(store, "g", item(2))  # once the stopped writer's lock has lapsed
        after = store.manifest("g")
        stopped.send_signal(signal.SIGCONT)
        assert stopped.wait(30) == 3  # it was notified
    assert GalleryStore(objects).manifest("g") == after
    check(GalleryStore(objects), "g", {item(0).id, item(2).id})
    add(store, "g", item(1))  # and doing it again is harmless
    check(GalleryStore(objects), "g", {item(0).id, item(1).id, item(2).id})
    client.close()


def test_a_stopped_writer_that_tidies_up_late_removes_nothing_of_the_next(tmp_path: Path, redis_url: str) -> None:
    client = connect(redis_url)
    store = GalleryStore(Remote(LocalStore(tmp_path)), GalleryLock(client, wait_s=30))
    store.create("g")
    others = [item(number) for number in range(10, 10 + MAX_SEGMENTS)]
    for other in others:  # so that the next addition merges, and tidies up
        add(store, "g", other)
    with writer(tmp_path, redis_url, 1, "list galleries/files/") as stopped:
        wait_until_stopped(stopped)  # its version is published; it is about to look for files that nobody needs
        add(store, "g", item(2))
        stopped.send_signal(signal.SIGCONT)
        assert stopped.wait(30) == 0
    check(GalleryStore(LocalStore(tmp_path)), "g", {item(1).id, item(2).id, *(other.id for other in others)})
    client.close()


def test_a_killed_writer_keeps_nobody_out_for_long(tmp_path: Path, redis_url: str) -> None:
    objects = LocalStore(tmp_path)
    client = connect(redis_url)
    store = GalleryStore(Remote(objects), GalleryLock(client, wait_s=30))
    store.create("g")
    with writer(tmp_path, redis_url, 1, "manifests/") as stopped:
        wait_until_stopped(stopped)
    add(store, "g", item(2))
    check(GalleryStore(objects), "g", {item(2).id})
    client.close()


def test_processes_that_add_together_lose_nothing(tmp_path: Path, redis_url: str) -> None:
    store = GalleryStore(LocalStore(tmp_path))
    store.create("g", DIGEST)
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(writer(tmp_path, redis_url, number)) for number in range(3)]
        threads = [
            threading.Thread(target=add, args=(GalleryStore(Remote(LocalStore(tmp_path)), lock), "g", item(number)))
            for number, lock in ((10 + n, GalleryLock(connect(redis_url), wait_s=30)) for n in range(5))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [process.wait(30) for process in writers] == [0, 0, 0]
    check(store, "g", {item(number).id for number in (0, 1, 2, 10, 11, 12, 13, 14)})
