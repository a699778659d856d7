"""Photos are there as long as a job names them, whoever dies when; and are deleted when none does."""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from infra.errors.jobs import JobExpired
from infra.errors.requests import UploadTooSlow
from infra.errors.service import StorageUnavailable
from infra.jobs.ledger import Job, JobLedger
from infra.jobs.photos import UNUSED_S, UPLOAD_GRACE_S, Photos
from infra.objects.local import LocalStore
from infra.objects.opening import open_store
from infra.objects.store import ObjectStore, preview_key
from infra.runtime.settings import JobSettings, ObjectSettings, WebhookSettings
from tests.infra.clock import Clock

RETENTION_S = 100.0
JOBS = JobSettings(retention_s=RETENTION_S, tombstone_s=5000)


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "folder":
        return open_store(ObjectSettings(), tmp_path)
    endpoint, bucket = (request.getfixturevalue(name) for name in ("s3_endpoint", "s3_bucket"))
    return open_store(ObjectSettings(url=f"s3://{bucket}/some/prefix", endpoint_url=endpoint), tmp_path)


@dataclass
class World:
    """A ledger, a store and its photos on one clock that is set by hand."""

    client: redis.Redis
    store: ObjectStore
    clock: Clock

    def __post_init__(self) -> None:
        self.ledger = JobLedger(self.client, JOBS, WebhookSettings(schedule_s=(0.0,), max_attempts=1), now=self.clock)
        self.photos = Photos(self.client, self.store, now=self.clock)

    def create(self, key: str, webhook_url: str | None = None) -> Job:
        return self.ledger.create("recognition", {"gallery": "drinks", "image": {"key": key}}, webhook_url)

    def upload(self, data: bytes) -> Job:
        return self.create(self.photos.keep(data))

    def finish(self, job: Job) -> None:
        lease = self.ledger.start(job.id)
        assert lease is not None
        assert self.ledger.succeed(lease, {})

    def later(self, seconds: float) -> int:
        """How many photos are deleted once this time has passed."""
        self.clock.pass_s(seconds)
        self.ledger.sweeper.retire()
        return self.photos.remove_due()

    def stored(self) -> list[str]:
        return list(self.store.list("photos/"))


@pytest.fixture
def world(redis_client: redis.Redis, store: ObjectStore) -> World:
    return World(redis_client, store, Clock())


@pytest.fixture
def local(redis_client: redis.Redis, tmp_path: Path) -> World:
    return World(redis_client, LocalStore(tmp_path), Clock())


def key_of(job: Job) -> str:
    return str(job.request["image"]["key"])


def test_a_photo_goes_with_the_last_job_that_names_it(world: World) -> None:
    first, second = world.upload(b"photo"), world.upload(b"photo")
    other = world.upload(b"other")
    enrolled = world.store.put_image(b"photo")  # the same bytes in a gallery
    assert key_of(first) == key_of(second)
    assert len(world.stored()) == 2
    assert world.later(10 * UPLOAD_GRACE_S) == 0  # open jobs, however old
    world.finish(first)
    assert world.later(RETENTION_S - 1) == 0  # retained
    assert world.later(2 + UPLOAD_GRACE_S) == 0  # the second needs it
    with pytest.raises(JobExpired):
        world.ledger.get(first.id)
    assert world.store.get(key_of(second)) == b"photo"
    world.finish(second)
    assert world.later(RETENTION_S + 1) == 1
    assert world.stored() == [key_of(other)]
    assert world.store.get(enrolled) == b"photo"


def test_a_photos_rendering_goes_with_it(world: World) -> None:
    job = world.upload(b"photo")
    rendering = preview_key(key_of(job))
    world.store.put(rendering, b"as a browser shows it")
    assert world.later(10 * UPLOAD_GRACE_S) == 0
    assert world.store.exists(rendering)
    world.finish(job)
    assert world.later(RETENTION_S + UPLOAD_GRACE_S) == 1
    assert not world.store.exists(rendering)


def test_a_failed_job_that_is_replayed_keeps_its_photo(local: World) -> None:
    job = local.upload(b"photo")
    lease = local.ledger.start(job.id)
    assert lease is not None
    local.ledger.fail(lease, {"code": "x", "message": "x", "retryable": False})
    local.clock.pass_s(RETENTION_S - 1)
    local.ledger.replay(job.id)
    assert local.later(10 * UPLOAD_GRACE_S) == 0
    assert local.store.get(key_of(job)) == b"photo"


def test_a_job_whose_webhook_is_pending_keeps_its_photo(local: World) -> None:
    job = local.create(local.photos.keep(b"photo"), "http://127.0.0.1:9/")
    local.finish(job)
    assert local.later(2 * UPLOAD_GRACE_S) == 0
    webhook = local.ledger.get(job.id).webhook
    assert webhook is not None
    assert webhook.delivery_id is not None
    delivery = local.ledger.deliveries.take(webhook.delivery_id)
    assert delivery is not None
    local.ledger.deliveries.delivered(delivery, 200)
    assert local.later(3601) == 1


def test_an_upload_that_never_became_a_job_is_deleted_after_its_grace(local: World) -> None:
    local.photos.keep(b"photo")
    assert local.later(UPLOAD_GRACE_S - 1) == 0
    assert local.later(2) == 1
    assert local.stored() == []


def test_an_upload_holds_a_photo_that_its_last_job_lets_go_of(local: World) -> None:
    old = local.upload(b"photo")
    local.finish(old)
    local.clock.pass_s(RETENTION_S)
    key = local.photos.keep(b"photo")  # its job is not yet created
    assert local.later(1) == 0
    new = local.create(key)
    assert local.later(10 * UPLOAD_GRACE_S) == 0
    assert local.store.get(key_of(new)) == b"photo"


def test_a_photo_that_comes_while_it_is_deleted_gets_another_key(world: World) -> None:
    """The keeper dies, or hangs, between its mark and its deletion: that deletion may happen at any later time."""
    old = world.upload(b"photo")
    world.finish(old)
    world.clock.pass_s(UPLOAD_GRACE_S + RETENTION_S)
    world.ledger.sweeper.retire()
    doomed = Photos(world.client, Broken(), now=world.clock)
    with pytest.raises(StorageUnavailable):
        doomed.remove_due()
    new, same = world.upload(b"photo"), world.upload(b"photo")
    assert key_of(new) == key_of(same) != key_of(old)
    assert world.photos.remove_due() == 1  # the next keeper finishes what the first began
    assert world.stored() == [key_of(new)]
    world.store.delete(key_of(old))  # the first one wakes up
    assert world.store.get(key_of(new)) == b"photo"
    third = world.upload(b"photo")
    assert key_of(third) == key_of(new)


def test_a_job_is_refused_whose_photo_was_deleted_meanwhile(local: World) -> None:
    key = local.photos.keep(b"photo")
    assert local.later(UPLOAD_GRACE_S + 1) == 1
    with pytest.raises(UploadTooSlow):
        local.create(key)
    assert local.stored() == []
    local.store.put(key, b"photo")  # as an upload that hung between its hold and its write
    assert not local.photos.check_stored(iter(()))
    assert local.photos.check_stored(local.photos.stored())
    assert local.later(0) == 1
    local.clock.pass_s(UNUSED_S + 1)
    assert local.later(0) == 0
    assert local.photos.keep(b"photo") == key  # long enough ago


def test_photos_that_redis_forgot_are_found_again(world: World) -> None:
    forgotten = [key_of(world.upload(name)) for name in (b"1", b"2", b"3")]
    world.client.flushall()
    kept = world.upload(b"1")  # requested again
    found = world.photos.stored()
    while world.photos.check_stored(found, limit=2):
        pass
    assert world.later(UPLOAD_GRACE_S - 1) == 0
    assert world.later(2) == 2
    assert world.stored() == [key_of(kept)] == [forgotten[0]]


class Broken(LocalStore):
    """A store that fails."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))

    def delete(self, key: str) -> None:
        raise StorageUnavailable("It is away.")


class DiedError(Exception):
    """The process was killed here."""


class Mortal(LocalStore):
    """A store whose user may be killed before or after every write and deletion."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        super().__init__(folder)
        self.chance = chance
        self.late: list[str] = []  # deletions that are still on their way

    def put(self, key: str, data: bytes) -> None:
        self.perhaps_die()
        super().put(key, data)
        self.perhaps_die()

    def delete(self, key: str) -> None:
        if self.chance.random() < 0.3:
            self.late.append(key)
            raise StorageUnavailable("no answer")
        self.perhaps_die()
        super().delete(key)
        self.perhaps_die()

    def perhaps_die(self) -> None:
        if self.chance.random() < 0.3:
            raise DiedError


def end(world: World, job_id: str) -> None:
    """Finishes the job, if it has not ended yet."""
    lease = world.ledger.start(job_id)
    if lease is not None:
        world.ledger.succeed(lease, {})


@pytest.mark.parametrize("seed", range(3))
def test_whoever_dies_when_every_job_that_is_not_retired_has_its_photo(
    redis_client: redis.Redis, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    store = Mortal(tmp_path, chance)
    world = World(redis_client, store, Clock())
    jobs: dict[str, tuple[Job, bytes]] = {}
    held: list[tuple[str, bytes]] = []
    for _ in range(200):
        step = chance.random()
        try:
            if step < 0.25:
                data = bytes([chance.randrange(4)])
                held.append((world.photos.keep(data), data))
            elif step < 0.5 and held:
                key, data = held.pop(chance.randrange(len(held)))  # others are abandoned, or created much later
                job = world.create(key)
                jobs[job.id] = (job, data)
            elif step < 0.7 and jobs:
                end(world, chance.choice(list(jobs)))
            elif step < 0.75 and store.late:
                LocalStore.delete(store, store.late.pop())
            else:
                world.later(chance.choice([0.0, RETENTION_S / 3, UPLOAD_GRACE_S / 3]))
        except (DiedError, StorageUnavailable, UploadTooSlow):
            pass
        for job_id, (job, data) in list(jobs.items()):
            try:
                world.ledger.get(job_id)
            except JobExpired:
                del jobs[job_id]
            else:
                assert LocalStore.get(store, key_of(job)) == data
    for _ in range(40):  # everybody lives on: nothing is left over but what jobs name
        for job_id in jobs:
            end(world, job_id)
        try:
            world.photos.check_stored(world.photos.stored())
            world.later(UPLOAD_GRACE_S + RETENTION_S)
        except (DiedError, StorageUnavailable):
            continue
    assert world.stored() == []


def test_a_photo_that_cannot_be_deleted_keeps_no_other_and_has_an_end(
    local: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, sound = local.upload(b"stuck"), local.upload(b"sound")
    for job in (stuck, sound):
        local.finish(job)
    delete = local.store.delete

    def fails(key: str) -> None:
        if key == key_of(stuck):
            raise StorageUnavailable("The object store's folder cannot be used: Operation not permitted.")
        delete(key)

    monkeypatch.setattr(local.store, "delete", fails)
    assert local.later(2 * RETENTION_S + UPLOAD_GRACE_S) == 1
    assert local.stored() == [key_of(stuck)]
    with pytest.raises(StorageUnavailable):
        local.photos.remove_due()
    assert local.photos.remove_due() == 0  # not at once a third time
    ends = 0
    for _ in range(20):
        with contextlib.suppress(StorageUnavailable):
            ends += local.later(3700)
    assert ends == 1
    monkeypatch.undo()
    local.photos.check_stored(local.photos.stored())  # the daily search
    assert local.later(0) == 1
    assert local.stored() == []
