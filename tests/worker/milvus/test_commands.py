"""The commands that move a gallery to Milvus and back, and what the others say of it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from infra.galleries.milvus import MilvusServer
from infra.galleries.milvus_tidy import look_after
from infra.galleries.store import GalleryStore
from infra.objects.opening import open_store
from infra.runtime.settings import Settings
from shitu.cli.main import main
from tests.milvus_server import MilvusLite
from tests.worker.large import add, make_small_ones_large


@pytest.fixture
def drinks(
    settings: Settings, lite: MilvusLite, monkeypatch: pytest.MonkeyPatch, milvus: MilvusServer, collections: str
) -> GalleryStore:
    """A gallery of 150 items in the store of the environment that commands are run in."""
    make_small_ones_large(monkeypatch)
    env = {**settings.to_env(), "SHITU_MILVUS__URI": lite.uri, "SHITU_MILVUS__INDEX_TYPE": "FLAT"}
    env["SHITU_MILVUS__COLLECTIONS"] = collections
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    store = GalleryStore(open_store(settings.objects, settings.data_dir), milvus=milvus)
    store.create("drinks", "d" * 64)
    add(store, "drinks", 150)
    return store


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def in_use(*words: str) -> str:
    done = run("gallery", "index", "drinks", *words, "--json")
    assert done.exit_code == 0, done.output
    return str(json.loads(done.stdout)["index"]["in_use"])


def test_one_command_moves_a_gallery_there_and_one_back(drinks: GalleryStore, milvus: MilvusServer) -> None:
    collection = milvus.collection(drinks.manifest("drinks").generation)
    assert in_use("--index-method", "Milvus", "--build") == "Milvus"
    assert milvus.count(collection, milvus.partitions(collection)) == 150
    assert in_use() == "Milvus"
    assert in_use("--index-method", "auto", "--build") == "Flat"
    assert look_after(drinks, milvus) == 1  # as the keeper does
    assert milvus.partitions(collection) == ()


def test_a_new_gallery_may_begin_there(drinks: GalleryStore) -> None:
    assert run("gallery", "create", "snacks", "--index-method", "Milvus").exit_code == 0
    assert (drinks.manifest("snacks").index or {})["index_method"] == "Milvus"


def test_without_a_server_the_commands_say_so(drinks: GalleryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHITU_MILVUS__URI")
    refused = run("gallery", "index", "drinks", "--index-method", "Milvus")
    assert refused.exit_code == 1
    assert "milvus_not_configured" in refused.output
    assert drinks.manifest("drinks").index is None


def test_the_doctor_looks_at_the_server(drinks: GalleryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def found() -> dict[str, str]:
        findings = json.loads(run("doctor", "--json").stdout)["findings"]
        return {one["check"]: one["status"] for one in findings}

    monkeypatch.setattr("shitu.cli.doctor_checks.check_models", lambda _: [])  # a second each time
    assert found()["milvus"] == "ok"
    monkeypatch.setenv("SHITU_MILVUS__URI", "http://127.0.0.1:1")
    monkeypatch.setenv("SHITU_MILVUS__TIMEOUT_S", "1")
    assert found()["milvus"] == "fail"
    monkeypatch.delenv("SHITU_MILVUS__URI")
    assert "milvus" not in found()
