"""Keys on a real Redis: what is kept of them, who is found by them, and what is gone for good."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import redis

from contracts.keys import KEY_ID, TOKEN, Scope
from infra.errors.keys import KeyExpired, KeyInvalid, KeyNotFound
from infra.keys.store import USED_EVERY_S, KeyStore, Limits, record_key
from infra.redis.client import connect
from infra.redis.server import RedisServer


@pytest.fixture
def store(redis_client: redis.Redis) -> KeyStore:
    return KeyStore(redis_client)


def test_a_key_is_found_by_itself_alone(store: KeyStore) -> None:
    key, token = store.create("till", [Scope.RECOGNIZE, Scope.READ], limits=Limits(open_jobs=3))
    other, _ = store.create("other", [Scope.ADMIN])
    assert TOKEN.fullmatch(token)
    assert KEY_ID.fullmatch(key.id)
    found = store.find(token)
    assert (found.id, found.name, found.scopes, found.limits) == (
        key.id,
        "till",
        (Scope.READ, Scope.RECOGNIZE),
        Limits(open_jobs=3),
    )
    assert [one.id for one in store.all()] == [key.id, other.id]
    assert store.count() == 2


def test_nothing_in_redis_opens_anything(store: KeyStore, redis_client: redis.Redis) -> None:
    key, token = store.create("till", [Scope.READ])
    proof = token.rpartition("_")[2]
    kept = str(redis_client.hgetall(record_key(key.id))) + str(redis_client.keys("*"))
    assert proof not in kept


@pytest.mark.parametrize(
    "change", [lambda t: t[:-1], lambda t: t + "0", lambda t: t[6:], lambda t: t.upper(), lambda t: t + "\n"]
)
def test_what_is_no_key_is_refused(store: KeyStore, change: object) -> None:
    _, token = store.create("till", [Scope.READ])
    with pytest.raises(KeyInvalid, match="no key of this service"):
        store.find(change(token))  # type: ignore[operator]


def test_another_proof_or_another_record_is_refused(store: KeyStore) -> None:
    _, one = store.create("one", [Scope.READ])
    _, two = store.create("two", [Scope.READ])
    crossed = one.rpartition("_")[0] + "_" + two.rpartition("_")[2]
    unknown = "shitu_" + "0" * 12 + "_" + two.rpartition("_")[2]
    for token in (crossed, unknown):
        with pytest.raises(KeyInvalid, match="never made here, or was revoked"):
            store.find(token)


def test_a_revoked_key_is_gone_and_does_not_come_back_by_its_last_use(
    store: KeyStore, redis_client: redis.Redis
) -> None:
    key, token = store.create("till", [Scope.READ])
    store.revoke(key.id)
    store._touch(keys=[record_key(key.id)], args=["1"])
    assert redis_client.exists(record_key(key.id)) == 0
    assert store.all() == []
    with pytest.raises(KeyInvalid):
        store.find(token)
    for gone in (key.id, "key_", "nonsense", "key_*"):
        with pytest.raises(KeyNotFound):
            store.revoke(gone)


def test_a_key_expires(store: KeyStore, redis_client: redis.Redis) -> None:
    key, token = store.create("till", [Scope.READ], expires_in_s=1000)
    assert store.find(token).id == key.id
    redis_client.hset(record_key(key.id), "expires_at", repr(time.time() - 1))
    with pytest.raises(KeyExpired):
        store.find(token)
    with pytest.raises(KeyExpired):
        store.use(key.id)


def test_the_last_use_is_noted_once_a_minute(store: KeyStore, redis_client: redis.Redis) -> None:
    key, token = store.create("till", [Scope.READ])
    assert store.get(key.id).last_used_at is None
    store.find(token)
    first = store.get(key.id).last_used_at
    assert first is not None
    store.find(token)
    assert store.get(key.id).last_used_at == first
    redis_client.hset(record_key(key.id), "last_used_at", repr(first - USED_EVERY_S - 1))
    store.find(token)
    assert (store.get(key.id).last_used_at or 0) >= first


def test_keys_outlive_a_killed_redis(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    _, token = KeyStore(connect(server.url)).create("till", [Scope.READ])
    server.kill()
    with RedisServer(tmp_path / "redis") as again:
        assert KeyStore(connect(again.url)).find(token).name == "till"


def test_two_installations_on_one_redis_have_their_own_keys(redis_url: str) -> None:
    one, two = KeyStore(connect(redis_url, "one")), KeyStore(connect(redis_url, "two"))
    key, token = one.create("till", [Scope.READ])
    assert one.find(token).id == key.id
    assert two.all() == []
    with pytest.raises(KeyInvalid):
        two.find(token)
    assert all(str(name).startswith("one:") for name in connect(redis_url).keys("*"))
