"""Erasure with real processes: what is erased is in no file and in no record, and is not recognised any more."""

from __future__ import annotations

import os
from pathlib import Path

import redis

from infra.galleries.store import GalleryStore
from infra.objects.opening import open_store
from infra.redis.client import open_client
from infra.stack.launcher import Stack
from tests.e2e.service import Service, encode, labels, pattern
from tests.infra.erasure.test_recognitions import dump


def holding(folder: Path, needle: bytes) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def test_what_is_erased_is_nowhere_and_not_recognised(stack: Stack, service: Service) -> None:
    settings = stack.settings
    objects = open_store(settings.objects, settings.data_dir)
    folder = settings.data_dir / "objects"
    pictures = {f"pattern {seed}": encode(pattern(seed)) for seed in (31, 32, 33)}
    service.create_gallery("private")
    service.enroll("private", pictures)
    photo = encode(pattern(32, 200))
    asked = service.finished(service.accepted(service.ask(photo, "private")))
    assert labels(asked["result"]) == ["pattern 32"]
    _, items, rows = GalleryStore(objects).load("private")
    place = next(number for number, one in enumerate(items) if one.label == "pattern 32")
    vector, one = rows[place].tobytes(), items[place]
    assert holding(folder, vector)
    for key in (one.image_key, asked["request"]["image"]["key"]):
        os.utime(folder / key, (1, 1))  # an hour passes
    client: redis.Redis = open_client(settings)
    client.zadd("shitu:photos:idle", {asked["request"]["image"]["key"]: 1})

    url = f"{service.base_url}/v1"
    erased = service.http.delete(f"{url}/galleries/private/items/{one.id}?erase=true", timeout=30).json()
    assert erased["status"] == "done"
    assert holding(folder, vector) == []
    assert holding(folder, pictures["pattern 32"]) == []
    answered = service.http.delete(f"{url}/recognitions/{asked['id']}?erase=true", timeout=30).json()
    assert (answered["status"], answered["job_id"]) == ("done", asked["id"])
    assert holding(folder, photo) == []
    left = [line for line in dump(client).splitlines() if asked["id"] in line]
    assert [line.partition(" ")[0] for line in left] == [f"shitu:tombstone:{asked['id']}:"]
    assert "pattern 32" not in labels(service.recognized(photo, "private"))
    assert labels(service.recognized(encode(pattern(33, 200)), "private")) == ["pattern 33"]
    client.close()
