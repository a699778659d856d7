"""One Milvus Lite server for the tests of this folder, and galleries in it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from contracts.indexes import IndexChoice
from infra.galleries.milvus import MilvusServer, open_milvus
from infra.galleries.store import GalleryStore
from infra.objects.local import LocalStore
from infra.runtime.settings import MilvusSettings
from tests.milvus_server import MilvusLite
from tests.worker.large import add, build, make_small_ones_large
from worker.gallery_cache import GalleryCache

MILVUS = IndexChoice(index_method="Milvus").to_dict()


@pytest.fixture(autouse=True, scope="package")
def the_client_looks_again_at_once() -> Iterator[None]:
    """The client waits half a second for each of a collection's three indexes before it looks whether it is there."""
    from pymilvus.client import grpc_handler

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grpc_handler, "time", SimpleNamespace(time=time.time, sleep=lambda s: time.sleep(min(s, 0.01))))
        yield


@pytest.fixture(scope="session")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusLite]:
    """The server, running."""
    server = MilvusLite(tmp_path_factory.mktemp("milvus") / "data")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def collections() -> str:
    """What the names of this test's collections begin with: it removes those of galleries that it does not know."""
    return f"test{secrets.token_hex(4)}"


@pytest.fixture
def milvus(lite: MilvusLite, collections: str) -> MilvusServer:
    """Its client, to search exactly."""
    opened = open_milvus(MilvusSettings(uri=lite.uri, index_type="FLAT", collections=collections))
    assert opened is not None
    return opened


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, milvus: MilvusServer) -> GalleryStore:
    """An empty store in which 100 items are many."""
    make_small_ones_large(monkeypatch)
    monkeypatch.setattr("worker.gallery_cache.LOOKED_AFTER_S", 0.0)
    return GalleryStore(LocalStore(tmp_path / "objects"), milvus=milvus)


@pytest.fixture
def cache(store: GalleryStore, tmp_path: Path) -> GalleryCache:
    """Its galleries as a worker searches them."""
    return GalleryCache(store, 1 << 30, folder=tmp_path / "cache")


@pytest.fixture
def gallery(store: GalleryStore, tmp_path: Path) -> str:
    """150 items in one filled segment."""
    store.create("drinks", "d" * 64, index=MILVUS)
    add(store, "drinks", 150)
    assert build(store, "drinks", tmp_path / "files") == 1
    return "drinks"


def collection_of(store: GalleryStore, name: str) -> str:
    """The name of a gallery's collection."""
    assert store.milvus is not None
    return store.milvus.collection(store.manifest(name).generation)
