"""A gallery's writer dies at any write: the old version or the new one is there, and the next writer tidies up."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.galleries.deleted import purge_due
from infra.galleries.store import MAX_SEGMENTS, GalleryStore
from infra.objects.local import LocalStore
from infra.objects.store import ObjectStore
from tests.infra.gallery_items import add, calibrate, check, item, prepared


class Death(BaseException):
    """The process ends here."""


class Dying:
    """A store in a process that dies at its n-th change, just before it or just after it; afterwards nothing works."""

    def __init__(self, objects: ObjectStore, at: int, after: bool) -> None:
        self._objects, self._left, self._after = objects, at, after
        self.dead = False

    def _change(self, change: Callable[[], None]) -> None:
        self._alive()
        self._left -= 1
        if self._left == 0:
            self.dead = True
            if self._after:
                change()
            raise Death
        change()

    def _alive(self) -> None:
        if self.dead:
            raise Death

    def put(self, key: str, data: bytes) -> None:
        self._change(lambda: self._objects.put(key, data))

    def delete(self, key: str) -> None:
        self._change(lambda: self._objects.delete(key))

    def get(self, key: str) -> bytes:
        self._alive()
        return self._objects.get(key)

    def exists(self, key: str) -> bool:
        self._alive()
        return self._objects.exists(key)

    def list(self, prefix: str = "") -> Iterator[str]:
        self._alive()
        return self._objects.list(prefix)

    def put_image(self, image_bytes: bytes) -> str:
        return self._objects.put_image(image_bytes)

    def size(self, key: str) -> int:
        self._alive()
        return self._objects.size(key)

    def delete_idle(self, key: str, since: float) -> bool:
        gone: list[bool] = []
        self._change(lambda: gone.append(self._objects.delete_idle(key, since)))
        return gone == [True]


CHANGES: dict[str, tuple[int, Callable[[GalleryStore], Any]]] = {
    "add": (3, lambda store: add(store, "g", item(100), item(101))),
    "add and merge": (MAX_SEGMENTS, lambda store: add(store, "g", item(100), item(101))),
    "remove": (3, lambda store: store.remove("g", item_ids=[item(1).id])),
    "fuse": (3, lambda store: store.choose_index("g", {"fuse": True}, calibrate)),
    "activate": (3, lambda store: store.activate("g", 2)),
    "delete": (3, lambda store: store.delete("g")),
}


@pytest.fixture(autouse=True)
def every_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small segments have all the files that large ones have."""
    monkeypatch.setattr("infra.galleries.writer.KEYED_FROM", 1)


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after the write"])
@pytest.mark.parametrize("change", CHANGES)
def test_death_at_any_write_leaves_the_old_or_the_new(tmp_path: Path, change: str, after: bool) -> None:
    segments, make = CHANGES[change]
    _, old = prepared(tmp_path / "before", segments)
    objects = LocalStore(shutil.copytree(tmp_path / "before", tmp_path / "whole"))
    make(GalleryStore(objects))
    new = {one.id for one in GalleryStore(objects).items("g")} if change != "delete" else None
    for at in range(1, 1000):
        objects = LocalStore(shutil.copytree(tmp_path / "before", tmp_path / str(at)))
        dying = Dying(objects, at, after)
        try:
            make(GalleryStore(dying))
        except Death:
            pass
        else:
            assert not dying.dead
            break
        reader = GalleryStore(objects)
        seen = None if "g" not in reader.names() else {one.id for one in reader.items("g")}
        assert seen in (old, new), f"neither old nor new after a death at write {at}"
        if seen is not None:
            check(reader, "g", seen)
            calibrated = reader.manifest("g").calibration
            if seen == new and change.startswith("add"):
                assert calibrated is not None
                assert calibrated["labels"] == sorted(one.label for one in reader.items("g"))
            for version in reader.versions("g"):
                reader.load("g", version)
                one = reader.manifest("g", version)
                assert ("things" in (one.calibration or {})) is bool(one.index)  # each is fitted to what it searches
        else:
            reader.create("g")  # what the dead writer left hinders nobody
            purge_due(reader, 0, time.time() + 1)
            assert len(list(objects.list("galleries/files/g/"))) == 1
        last = item(555)
        add(reader, "g", last)
        check(GalleryStore(objects), "g", (seen or set()) | {last.id})
    assert at > 2, "the change has several writes to die at"


def test_a_creation_that_died_can_be_repeated(tmp_path: Path) -> None:
    for at in (1, 2):
        objects = LocalStore(tmp_path / str(at))
        with pytest.raises(Death):
            GalleryStore(Dying(objects, at, after=False)).create("g")
        assert GalleryStore(objects).names() == ()
        GalleryStore(objects).create("g")
        check(GalleryStore(objects), "g", set())
