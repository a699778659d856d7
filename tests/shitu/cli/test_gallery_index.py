"""`shitu gallery create` and `shitu gallery index`, on the store and through a service."""

from __future__ import annotations

from pathlib import Path

from contracts.indexes import IndexChoice
from infra.galleries.store import GalleryStore
from infra.objects.store import ObjectStore
from models.embedder import identity_of
from tests.models.programs import artifact
from tests.shitu.cli.test_galleries import drinks, objects, report, run, served, store
from tests.worker.large import add

__all__ = ["drinks", "objects", "served", "store"]  # the fixtures


def test_a_gallery_is_made_with_a_choice(store: GalleryStore) -> None:
    made = run("create", "drinks", "--index-method", "IVF", "--dist-type", "hamming", "--rerank", 7)
    assert made.exit_code == 0, made.output
    assert "index: BIVF,R7 (IVF, hamming)" in made.stdout
    assert store.manifest("drinks").index == {"index_method": "IVF", "dist_type": "hamming", "rerank": 7}
    assert "(gallery_exists)" in run("create", "drinks").output
    assert store.create("plain").index is None
    assert run("create", "plainer").exit_code == 0
    assert store.manifest("plainer").index is None


def test_a_gallery_is_made_for_an_embedder(store: GalleryStore, tmp_path: Path) -> None:
    tiny = artifact(tmp_path / "tiny", "embed")
    made = run("create", "drinks", "--embedder", tiny, "--index-method", "Flat")
    assert made.exit_code == 0, made.output
    assert store.manifest("drinks").embedder_digest == identity_of(tiny).digest
    assert store.manifest("drinks").index == IndexChoice("Flat").to_dict()
    assert "(artifact_missing)" in run("create", "other", "--embedder", "no-such").output
    assert "other" not in store.names()


def test_a_choice_is_reported_changed_and_built(store: GalleryStore) -> None:
    store.create("drinks", "d" * 64)
    add(store, "drinks", 300)
    assert report("index", "drinks")["index"]["in_use"] == "Flat"
    changed = run("index", "drinks", "--index-method", "HNSW32")
    assert "index: Flat (HNSW32, IP); another is being built" in changed.stdout
    built = run("index", "drinks", "--build")
    assert "index: HNSW32_SQ8,RFlat (HNSW32, IP), recall@1 " in built.stdout
    assert "300 of 300 items indexed" in built.stdout
    assert "300 of 300 items indexed" in run("show", "drinks").stdout
    assert store.manifest("drinks").version == 3


def test_rerank_without_codes_is_refused(store: GalleryStore) -> None:
    store.create("drinks")
    for command in ("index", "create"):
        answer = run(command, "drinks", "--rerank", 5)
        assert answer.exit_code == 2
        assert "--dist-type hamming" in answer.output


def test_fusing_is_reported_chosen_and_switched_off(drinks: str, served: tuple[str, str], store: GalleryStore) -> None:
    changed = run("index", drinks, "--fuse")
    assert "index: Flat (auto, IP, fused by label), recall@1 1.000" in changed.stdout, changed.output
    _, serve = served
    coded = run("index", drinks, "--fuse", "--fuse-by", "sku", "--dist-type", "hamming", "--server", serve)
    assert "index: BFlat,R100 (auto, hamming, fused by sku)" in coded.stdout, coded.output
    assert store.manifest(drinks).index == IndexChoice("auto", "hamming", 100, fuse=True, fuse_by="sku").to_dict()
    assert "(auto, IP)" in run("index", drinks, "--no-fuse", "--server", serve).stdout
    assert run("create", "snacks", "--fuse", "--server", serve).exit_code == 0
    assert store.manifest("snacks").index == IndexChoice(fuse=True).to_dict()
    for wrong in (("--fuse-by", "sku"), ("--fuse", "--index-method", "IVF"), ("--fuse", "--fuse-by", "a b")):
        assert run("index", drinks, *wrong).exit_code == 2


def test_through_a_service(drinks: str, served: tuple[str, str], store: GalleryStore) -> None:
    _, serve = served
    changed = run("index", drinks, "--dist-type", "L2", "--server", serve)
    assert "index: Flat (auto, L2)" in changed.stdout, changed.output
    assert report("index", drinks, "--server", serve)["index"] == report("index", drinks)["index"]
    assert run("create", "snacks", "--index-method", "Flat", "--server", serve).exit_code == 0
    assert store.manifest("snacks").index == {"index_method": "Flat", "dist_type": "IP", "rerank": 100}
    assert run("index", drinks, "--build", "--server", serve).exit_code == 2


def test_a_file_carries_the_choice(drinks: str, store: GalleryStore, objects: ObjectStore, tmp_path: Path) -> None:
    choice = {"index_method": "auto", "dist_type": "hamming", "rerank": 9}
    store.choose_index(drinks, choice)
    file = tmp_path / "drinks.zip"
    assert run("export", drinks, "--out", file).exit_code == 0
    carried = run("import", file, "--gallery", "again")
    assert carried.exit_code == 0, carried.output
    assert store.manifest("again").index == choice
    assert run("index", "again", "--index-method", "Flat").exit_code == 0
    assert run("import", file, "--gallery", "again").exit_code == 0
    assert store.manifest("again").index == {"index_method": "Flat", "dist_type": "IP", "rerank": 100}  # its own stays
