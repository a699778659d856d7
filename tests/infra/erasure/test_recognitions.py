"""Erased recognitions: nothing of them is in Redis or in the store any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from infra.erasure.eraser import Eraser
from infra.errors.jobs import JobExpired, JobNotFound
from infra.galleries.feedback import GalleryFeedback
from infra.galleries.store import GalleryStore
from infra.jobs.ledger import JobLedger
from infra.jobs.photos import Photos
from infra.objects.local import LocalStore
from infra.objects.store import preview_key
from tests.infra.gallery_items import add, item
from tests.infra.jobs.hooks import registered, taken

SECRET = "the face of somebody"


def dump(client: redis.Redis) -> str:
    """All that Redis holds, as text."""
    read: dict[str, Any] = {
        "hash": client.hgetall,
        "string": client.get,
        "set": client.smembers,
        "zset": lambda key: client.zrange(key, 0, -1),
        "list": lambda key: client.lrange(key, 0, -1),
        "stream": client.xrange,
    }
    return "\n".join(f"{key}: {read[str(client.type(key))](key)}" for key in client.scan_iter())


def files(folder: Path, needle: bytes) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


class World:
    def __init__(self, client: redis.Redis, folder: Path) -> None:
        self.objects = LocalStore(folder)
        self.galleries = GalleryStore(self.objects)
        self.galleries.create("drinks")
        add(self.galleries, "drinks", item(1))
        self.ledger = JobLedger(client)
        self.photos = Photos(client, self.objects, grace_s=-1)
        self.eraser = Eraser(self.galleries, client, self.ledger, -9, 1000)

    def ask(self, url: str | None = None) -> tuple[str, str]:
        """A recognition's id, and its photo's key."""
        key = self.photos.keep(SECRET.encode())
        self.objects.put(preview_key(key), f"JPEG of {SECRET}".encode())
        request = {"gallery": "drinks", "image": {"key": key, "name": f"{SECRET}.jpg"}, "options": {}}
        return self.ledger.create("recognition", request, url).id, key

    def end(self, job_id: str, how: str = "succeeded") -> None:
        lease = self.ledger.start(job_id)
        assert lease is not None
        if how == "succeeded":
            assert self.ledger.succeed(lease, {"recognitions": [{"label": SECRET}], "dropped": []})
        else:
            assert self.ledger.fail(lease, {"code": "x", "message": SECRET, "retryable": False})


@pytest.fixture
def world(redis_client: redis.Redis, tmp_path: Path) -> World:
    return World(redis_client, tmp_path)


@pytest.mark.parametrize("how", ["succeeded", "failed"])
def test_nothing_is_left_of_an_erased_recognition(
    world: World, redis_client: redis.Redis, tmp_path: Path, how: str
) -> None:
    endpoint = registered(world.ledger)
    job_id, key = world.ask("https://example.com/own")
    world.end(job_id, how)
    (message, other) = world.ledger.messages(job_id)
    under_way = taken(world.ledger, message)
    image = world.objects.put_image(SECRET.encode())
    made = GalleryFeedback(world.objects, world.galleries).add(
        "drinks", job_id, 2, None, "wrong", "a", SECRET, image, (4, 4)
    )
    assert SECRET in dump(redis_client)
    done = world.eraser.erase_job(job_id)
    assert done.completed_at is not None
    assert (done.feedback, done.messages) == ((made.id,), 3)
    assert done.erased == (key.rpartition("/")[2],)
    left = dump(redis_client)
    assert SECRET not in left
    assert [line for line in left.splitlines() if job_id in line] == [f"shitu:tombstone:{job_id}: erased"]
    assert message not in left.replace("shitu:feed", "") or "shitu:delivery" not in left
    assert files(tmp_path, SECRET.encode()) == []
    with pytest.raises(JobExpired):
        world.ledger.get(job_id)
    assert not world.ledger.deliveries.delivered(
        under_way, 200
    )  # a courier that is just sending it brings nothing back
    assert job_id not in "".join(line for line in dump(redis_client).splitlines() if "tombstone" not in line)
    assert world.ledger.deliveries.due() == []
    assert world.ledger.feed.read().events == ()
    assert endpoint.id
    assert other
    with pytest.raises(JobExpired):
        world.eraser.erase_job(job_id)
    with pytest.raises(JobNotFound):
        world.eraser.erase_job("rec_01h00000000000000000000000")


def test_a_queued_one_is_canceled_and_a_running_one_ends_first(
    world: World, redis_client: redis.Redis, tmp_path: Path
) -> None:
    queued, _ = world.ask()
    assert world.eraser.erase_job(queued).completed_at is not None
    assert files(tmp_path, SECRET.encode()) == []
    running, _ = world.ask()
    lease = world.ledger.start(running)
    assert lease is not None
    waiting = world.eraser.erase_job(running)
    assert waiting.completed_at is None
    assert world.eraser.finish_left(after_s=-1) == 0
    assert not world.ledger.succeed(lease, {"recognitions": [{"label": SECRET}], "dropped": []})
    again = Eraser(world.galleries, redis_client, world.ledger, -9, 1000)
    assert again.finish_left(after_s=-1) == 1
    assert SECRET not in dump(redis_client)
    assert files(tmp_path, SECRET.encode()) == []


def test_a_photo_that_another_job_shows_stays_until_that_goes(world: World, redis_client: redis.Redis) -> None:
    first, key = world.ask()
    second, same = world.ask()
    assert key == same
    for job_id in (first, second):
        world.end(job_id)
    waiting = world.eraser.erase_job(first)
    assert (waiting.completed_at, world.objects.exists(key)) == (None, True)
    world.eraser.erase_job(second)
    assert not world.objects.exists(key)
    assert Eraser(world.galleries, redis_client, world.ledger, -9, 1000).finish_left(after_s=-1) == 1
    assert world.eraser.records.get(waiting.id).erased


def test_a_photo_uploaded_just_now_waits_even_where_photos_are_kept(world: World, redis_client: redis.Redis) -> None:
    world.photos = Photos(redis_client, world.objects, grace_s=3600)
    job_id, key = world.ask()
    world.end(job_id)
    waiting = world.eraser.erase_job(job_id)
    assert (waiting.completed_at, world.objects.exists(key)) == (None, True)
    redis_client.zadd("shitu:photos:idle", {key: 1})  # an hour passes
    assert Eraser(world.galleries, redis_client, world.ledger, -9, 1000).finish_left(after_s=-1) == 1
    assert not world.objects.exists(key)
