"""`shitu gallery import-paddleclas`: an index as PaddleClas writes it becomes a gallery."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import faiss
import numpy as np
import pytest
from click.testing import Result

from infra.objects.opening import open_store
from infra.runtime.settings import load_settings
from models.embedder import Embedder
from models.galleries.fused_gallery import FusedGallery
from models.galleries.gallery import Gallery
from models.pictures.image import decode
from tests.shitu.cli.test_gallery import LABELS, embedder, pictures, refused, run, store

__all__ = ["embedder", "pictures"]  # the fixtures


@pytest.fixture
def index(tmp_path: Path, pictures: Path, embedder: Path) -> Path:
    """`vector.index` and `id_map.pkl` of the pictures, by this embedder."""
    folder = tmp_path / "index"
    folder.mkdir()
    paths = [f"gallery/{number}.png" for number in range(len(LABELS))]
    write_index(folder, Embedder(embedder)([decode((pictures / path).read_bytes()) for path in paths]))
    return folder


def write_index(folder: Path, rows: np.ndarray) -> None:
    built = faiss.IndexIDMap2(faiss.index_factory(rows.shape[1], "HNSW32", faiss.METRIC_INNER_PRODUCT))
    built.add_with_ids(rows, np.arange(len(rows), dtype=np.int64))
    faiss.write_index(built, str(folder / "vector.index"))
    lines = {np.int64(number): f"gallery/{number}.png\t{label}" for number, label in enumerate(LABELS)}
    (folder / "id_map.pkl").write_bytes(pickle.dumps(lines))


def imported(index: Path, embedder: Path, *more: object) -> Result:
    return run("gallery", "import-paddleclas", index, "--gallery", "drinks", "--embedder", embedder, *more)


@pytest.mark.parametrize("with_pictures", [False, True])
def test_an_index_becomes_a_gallery_that_is_searched(
    index: Path, embedder: Path, pictures: Path, with_pictures: bool
) -> None:
    more = ("--root", pictures) if with_pictures else ()
    answer = imported(index, embedder, *more)
    assert answer.exit_code == 0, answer.output
    assert answer.stdout == "4 items added to 'drinks'; version 2 has 4\n"
    manifest, items, rows = store().load("drinks")
    assert [item.label for item in items] == LABELS
    assert manifest.embedder_digest == Embedder(embedder).digest
    original = faiss.read_index(str(index / "vector.index"))
    np.testing.assert_array_equal(rows, original.index.reconstruct_n(0, 4))
    assert (store().load_views("drinks"), store().load_features("drinks")) == (None, {})
    objects = open_store(load_settings().objects, load_settings().data_dir)
    for number, item in enumerate(items):
        assert objects.exists(item.image_key) is with_pictures
        if with_pictures:
            assert objects.get(item.image_key) == (pictures / "gallery" / f"{number}.png").read_bytes()
    found = run("recognize", pictures / "gallery" / "2.png", "--gallery", "drinks", "--detector", "none",
                "--embedder", embedder, "--threads", 1, "--json")  # fmt: skip
    assert found.exit_code == 0, found.output
    (recognition,) = json.loads(found.stdout)[0]["recognitions"]
    assert (recognition["label"], round(recognition["similarity"], 3)) == ("milk", 1.0)


def test_an_index_taken_over_is_fused_by_choice_and_keeps_its_rows(
    index: Path, embedder: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert imported(index, embedder, "--root", pictures).exit_code == 0
    plain = store().load("drinks")
    photo = pictures / "gallery" / "0.png"
    searched: list[Gallery] = []
    real = FusedGallery.search_labels
    monkeypatch.setattr(FusedGallery, "search_labels", lambda self, *how: (searched.append(self), real(self, *how))[1])

    def nearest() -> str:
        found = run("recognize", photo, "--gallery", "drinks", "--detector", "none", "--embedder", embedder,
                    "--threads", 1, "--threshold", -1, "--json")  # fmt: skip
        assert found.exit_code == 0, found.output
        return str(json.loads(found.stdout)[0]["recognitions"][0]["label"])

    before = nearest()
    assert not searched
    assert run("gallery", "index", "drinks", "--fuse").exit_code == 0
    assert nearest() == before == LABELS[0]
    assert len(searched) == 1
    assert isinstance(searched[0], FusedGallery)
    assert searched[0].thing_count == len(set(LABELS))
    fused = store().load("drinks")
    assert fused[1] == plain[1]
    np.testing.assert_array_equal(fused[2], plain[2])
    assert imported(index, embedder, "--root", pictures).stdout.startswith("0 items added")


def test_importing_again_changes_nothing(index: Path, embedder: Path, pictures: Path) -> None:
    for _ in range(2):
        answer = imported(index, embedder, "--root", pictures)
        assert answer.exit_code == 0, answer.output
    assert "0 items added to 'drinks', 4 were there already; version 2 has 4" in answer.stdout


@pytest.mark.parametrize("command", ["import-paddleclas", "import"])
def test_pictures_that_come_later_are_kept_with_their_items(
    command: str, index: Path, embedder: Path, pictures: Path
) -> None:
    words = ("gallery", command, index, "--gallery", "drinks", "--embedder", embedder)
    assert "4 items added to 'drinks'; version 2 has 4" in run(*words).stdout
    before = store().load("drinks")
    answer = run(*words, "--root", pictures)
    assert answer.exit_code == 0, answer.output
    assert "4 items added to 'drinks'; version 3 has 4" in answer.stdout
    _, items, rows = store().load("drinks")
    assert [item.label for item in items] == LABELS
    np.testing.assert_array_equal(rows, before[2])
    objects = open_store(load_settings().objects, load_settings().data_dir)
    assert all(objects.exists(item.image_key) for item in items)
    for more in ((), ("--root", pictures)):  # either again changes nothing
        again = run(*words, *more)
        assert again.exit_code == 0, again.output
        assert "0 items added to 'drinks', 4 were there already; version 3 has 4" in again.stdout


def test_without_a_picture_the_embedder_is_taken_on_trust_and_that_is_said(
    index: Path, embedder: Path, pictures: Path
) -> None:
    said = f"it is taken on trust that {Embedder(embedder).name} built it"
    assert said in imported(index, embedder).stderr
    assert said not in imported(index, embedder, "--root", pictures).stderr


def test_binary_codes_are_embedded_again_from_their_pictures(index: Path, embedder: Path, pictures: Path) -> None:
    rows = Embedder(embedder)([decode((pictures / "gallery" / f"{at}.png").read_bytes()) for at in range(len(LABELS))])
    codes = np.packbits(rows > 0, axis=1)
    built = faiss.IndexBinaryIDMap2(faiss.IndexBinaryFlat(codes.shape[1] * 8))
    built.add_with_ids(codes, np.arange(len(codes), dtype=np.int64))
    faiss.write_index_binary(built, str(index / "vector.index"))
    refused(imported(index, embedder), "name the pictures' folder by --root")
    answer = imported(index, embedder, "--root", pictures)
    assert answer.exit_code == 0, answer.output
    assert "4 items added to 'drinks'; version 2 has 4" in answer.stdout
    _, items, kept = store().load("drinks")
    assert [item.label for item in items] == LABELS
    np.testing.assert_allclose(kept, rows, atol=1e-6)


def test_an_index_of_another_embedder_is_refused(index: Path, embedder: Path, pictures: Path) -> None:
    rows = np.random.default_rng(9).normal(size=(4, Embedder(embedder).dim)).astype(np.float32)
    write_index(index, rows)
    refused(imported(index, embedder), "not of length 1")
    write_index(index, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    refused(imported(index, embedder, "--root", pictures), "is not the embedder that built this index")
    write_index(index, np.eye(4, 16, dtype=np.float32))
    refused(imported(index, embedder), "vectors of 16 dimensions")


class Runs:
    """Pickles to a call."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("exit 1",)


def test_nothing_of_a_pickle_is_run(index: Path, embedder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps({0: Runs()})
    monkeypatch.setattr(os, "system", lambda _: pytest.fail("it was run"))
    (index / "id_map.pkl").write_bytes(data)
    refused(imported(index, embedder), "id_map.pkl is not a mapping of whole numbers to text")


def test_a_path_that_leads_out_and_a_missing_picture_are_reported(
    index: Path, embedder: Path, pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.png").write_bytes((pictures / "gallery" / "0.png").read_bytes())
    lines = {number: f"../secret.png\t{label}" for number, label in enumerate(LABELS)}
    (index / "id_map.pkl").write_bytes(pickle.dumps(lines))
    answer = imported(index, embedder, "--root", pictures)
    assert (answer.exit_code, store().names()) == (1, ())
    assert answer.stderr.count("../secret.png: it leads out of the pictures' folder") == 4
    assert "none of the 4 entries can be used" in answer.stderr
    (pictures / "gallery" / "3.png").unlink()
    (index / "id_map.pkl").write_bytes(
        pickle.dumps({number: f"gallery/{number}.png\tx" for number in range(len(LABELS))})
    )
    answer = imported(index, embedder, "--root", pictures)
    assert (answer.exit_code, answer.stdout) == (1, "3 items added to 'drinks'; version 2 has 3\n")
    assert "gallery/3.png: no such file (image_not_found)\n" in answer.stderr
    assert "1 could not be used: 1 image_not_found\n" in answer.stderr


def test_entries_of_an_index_whose_labels_break_the_rule_are_left_out(index: Path, embedder: Path) -> None:
    labels = ["cafe\u0301", "", "a\x07", "caf\u00e9 "]
    (index / "id_map.pkl").write_bytes(pickle.dumps({n: f"gallery/{n}.png\t{label}" for n, label in enumerate(labels)}))
    answer = imported(index, embedder)
    assert answer.exit_code == 1
    assert [item.label for item in store().items("drinks")] == ["caf\u00e9"] * 2
    assert "2 could not be used: 2 label_invalid\n" in answer.stderr


def test_an_index_is_imported_with_its_pictures_as_a_service_would(pictures: Path, index: Path, embedder: Path) -> None:
    words = [
        "gallery",
        "import",
        str(index),
        "--gallery",
        "drinks",
        "--embedder",
        str(embedder),
        "--root",
        str(pictures),
    ]
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert "4 items added" in done.stdout
    again = run(*words)
    assert "0 items added to 'drinks', 4 were there already; version 2 has 4" in again.stdout
