"""`shitu gallery`: stored galleries change between searches, and an index as PaddleClas writes it becomes one."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import faiss
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from infra.galleries.store import GalleryStore
from infra.objects.opening import open_store
from infra.runtime.settings import load_settings
from models.embedder import Embedder
from models.enrolment import packed_features
from models.galleries.binary_gallery import BinaryGallery
from models.galleries.binary_index import KINDS
from models.galleries.fused_gallery import FusedGallery
from models.galleries.gallery import Gallery
from models.pictures.image import decode
from shitu.cli.main import main
from tests.models.programs import artifact

LABELS = ["green tea", "cola", "milk", "cola"]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedder with random parameters: it tells pictures apart, that is all."""
    return artifact(tmp_path_factory.mktemp("embedder"), "embed", paddle_too=False)


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHITU_DATA_DIR", str(tmp_path / "data"))
    root = tmp_path / "pictures"
    (root / "gallery").mkdir(parents=True)
    for number in range(len(LABELS)):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST).save(root / "gallery" / f"{number}.png")
    return root


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


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def imported(index: Path, embedder: Path, *more: object) -> Result:
    return run("gallery", "import-paddleclas", index, "--gallery", "drinks", "--embedder", embedder, *more)


def store() -> GalleryStore:
    settings = load_settings()
    return GalleryStore(open_store(settings.objects, settings.data_dir))


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
    asked = pictures / "gallery" / "0.png"
    searched: list[Gallery] = []
    real = FusedGallery.search_labels
    monkeypatch.setattr(FusedGallery, "search_labels", lambda self, *how: (searched.append(self), real(self, *how))[1])
    before = nearest(asked, embedder)
    assert not searched
    assert run("gallery", "index", "drinks", "--fuse").exit_code == 0
    assert nearest(asked, embedder) == before == LABELS[0]
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


def refused(answer: Result, told: str) -> None:
    assert answer.exit_code == 1
    assert told in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert store().names() == ()


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


def test_a_path_that_leads_out_and_a_missing_picture_are_told(
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


@pytest.fixture
def folder(pictures: Path) -> Path:
    """A folder of pictures for each label."""
    root = pictures.parent / "mine"
    for number, label in enumerate(LABELS):
        (root / label).mkdir(parents=True, exist_ok=True)
        (pictures / "gallery" / f"{number}.png").rename(root / label / f"{number}.png")
    return root


def added(folder: Path, embedder: Path) -> Result:
    return run("gallery", "add", folder, "--gallery", "drinks", "--embedder", embedder)


def nearest(photo: Path, embedder: Path, *more: object) -> str | None:
    """The label that `shitu recognize` gives a photo, whatever its similarity."""
    found = run("recognize", photo, "--gallery", "drinks", "--detector", "none", "--embedder", embedder, "--threads", 1,
                "--threshold", -1, "--json", *more)  # fmt: skip
    assert found.exit_code == 0, found.output
    told = [one["label"] for one in json.loads(found.stdout)[0]["recognitions"]]
    return told[0] if told else None


def every_way(photo: Path, embedder: Path) -> set[str | None]:
    """The label by floats, by signs, by signs re-ranked, and by each kind of Hamming index."""
    _, items, rows = store().load("drinks")
    query = Embedder(embedder)([decode(photo.read_bytes())])
    asked: list[Gallery] = [
        BinaryGallery(items, rows.reshape(len(items), query.shape[1]), kind=kind, rerank=rerank)
        for kind in KINDS
        for rerank in (0, 3)
    ]
    found = [near[0].item.label if near else None for held in asked for (near,) in [held.search(query, 1)]]
    ways = ((), ("--binary",), ("--binary", "--rerank", 3))
    return {*found, *(nearest(photo, embedder, *more) for more in ways)}


def test_a_gallery_changed_between_searches_is_searched_by_signs_as_it_is(folder: Path, tiny_artifact: Path) -> None:
    milk, tea, cola = (folder / name for name in ("milk/2.png", "green tea/0.png", "cola/1.png"))
    later = folder.parent / "later" / "milk"
    later.mkdir(parents=True)
    milk = milk.rename(later / "2.png")
    (folder / "milk").rmdir()
    answer = added(folder, tiny_artifact)
    assert (answer.exit_code, answer.stdout) == (0, "3 items added to 'drinks'; version 2 has 3\n")
    assert every_way(tea, tiny_artifact) == {"green tea"}
    assert "milk" not in every_way(milk, tiny_artifact)
    assert added(later.parent, tiny_artifact).stdout == "1 items added to 'drinks'; version 3 has 4\n"
    assert every_way(milk, tiny_artifact) == {"milk"}
    assert every_way(cola, tiny_artifact) == {"cola"}
    (kept,) = (item.id for item in store().items("drinks") if item.label == "milk")
    answer = run("gallery", "remove", "drinks", "--label", "cola", "--label", "green tea")
    assert (answer.exit_code, answer.stdout) == (0, "version 4 of 'drinks' has 1\n")
    assert every_way(cola, tiny_artifact) == {"milk"}  # all that is left
    assert run("gallery", "remove", "drinks", "--item", kept).stdout == "version 5 of 'drinks' has 0\n"
    assert every_way(cola, tiny_artifact) == {None}
    assert "3 items added" in added(folder, tiny_artifact).stdout
    assert every_way(cola, tiny_artifact) == {"cola"}


def test_what_is_left_is_fitted_anew(embedder: Path, pictures: Path, tmp_path: Path) -> None:
    root = tmp_path / "many"
    for number in range(24):
        pixels = np.random.default_rng(100 + number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        (root / f"label {number % 4}").mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels).resize((64, 64), Image.Resampling.NEAREST)
        image.save(root / f"label {number % 4}" / f"{number}.png")
    assert added(root, embedder).exit_code == 0
    before = store().manifest("drinks")
    assert before.calibration is not None
    first, second = (item.id for item in store().items("drinks")[:2])
    removed = ("gallery", "remove", "drinks", "--embedder", embedder, "--item")
    assert run(*removed, first).stdout == "version 3 of 'drinks' has 23\n"
    after = store().manifest("drinks")
    assert after.calibration is not None
    assert after.calibration["queries"] < before.calibration["queries"]
    # With another embedder than the gallery's nothing can be fitted; the items go all the same.
    assert run(*removed[:3], "--item", second).stdout == "version 4 of 'drinks' has 22\n"
    assert store().manifest("drinks").calibration == after.calibration


def test_a_picture_that_cannot_be_used_is_told_and_the_others_are_added(folder: Path, embedder: Path) -> None:
    (folder / "cola" / "bad.png").write_bytes(b"no picture")
    answer = added(folder, embedder)
    assert answer.exit_code == 1
    assert answer.stdout == "4 items added to 'drinks'; version 2 has 4\n"
    assert answer.stderr.startswith(f"{folder / 'cola' / 'bad.png'}: ")
    assert "(image_not_an_image)\n" in answer.stderr
    assert answer.stderr.endswith("\n1 could not be used: 1 image_not_an_image\n")
    objects = open_store(load_settings().objects, load_settings().data_dir)
    assert all(objects.exists(item.image_key) for item in store().items("drinks"))
    views = store().load_views("drinks")
    assert views is not None
    np.testing.assert_allclose(np.linalg.norm(views, axis=1), 1, atol=1e-3)
    pictures = {item.id: decode(objects.get(item.image_key)) for item in store().items("drinks")}
    kept = {item_id: packed_features(picture) for item_id, picture in pictures.items()}
    assert store().load_features("drinks") == kept
    again = added(folder, embedder)
    assert again.stdout == "0 items added to 'drinks', 4 were there already; version 2 has 4\n"


def test_what_cannot_be_added_or_removed_is_told_in_one_line(
    folder: Path, embedder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    refused(added(folder / "cola", embedder), "holds no sub-folders with pictures")
    refused(run("gallery", "add", folder, "--gallery", "Two words", "--embedder", "none"), "gallery_name_invalid")
    refused(run("gallery", "remove", "drinks", "--label", "cola"), "gallery_not_found")
    assert run("gallery", "remove", "drinks").exit_code == 2
    added(folder, embedder)
    for what in ("--label", "--item"):
        answer = run("gallery", "remove", "drinks", "--label", "cola", what, "beer")
        assert answer.exit_code == 1
        assert "'beer'" in answer.stderr
    other = artifact(tmp_path_factory.mktemp("other"), "detect", paddle_too=False)
    assert added(folder, other).exit_code == 1
    assert len(store().load("drinks")[1]) == 4


def test_what_systems_leave_in_a_folder_is_no_picture(folder: Path, embedder: Path) -> None:
    for name in ("._1.jpg", ".DS_Store", "Thumbs.db", "@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg"):
        (folder / "cola" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "cola" / name).write_bytes(b"\0\5\x16\7")
    (folder / "__MACOSX" / "cola").mkdir(parents=True)
    (folder / "__MACOSX" / "cola" / "1.png").write_bytes(b"\0\5\x16\7")
    (folder / "labels.txt").write_text("cola")
    answer = added(folder, embedder)
    assert (answer.exit_code, answer.stdout) == (0, "4 items added to 'drinks'; version 2 has 4\n")
    (folder / "cola" / "scan.pdf").write_bytes(b"%PDF-1.7")
    answer = added(folder, embedder)
    assert answer.exit_code == 1
    assert answer.stderr == "not read, for they are no pictures by their names: 1 .pdf, 1 .txt\n"


def test_a_folder_that_is_not_utf8_is_told_and_the_forms_of_a_label_are_one(folder: Path, embedder: Path) -> None:
    (folder / "cola").rename(folder / "cafe\u0301")
    (folder / "milk").rename(folder / "caf\u00e9")
    gbk = os.fsencode(folder) + b"/" + "可乐".encode("gbk")
    os.rename(folder / "green tea", gbk)  # noqa: PTH104 (bytes)
    answer = added(folder, embedder)
    assert answer.exit_code == 1
    assert {item.label for item in store().items("drinks")} == {"caf\u00e9"}
    assert "\\xbf\\xc9\\xc0\\xd6/0.png: a label must be valid UTF-8" in answer.stderr
    removed = run("gallery", "remove", "drinks", "--label", "cafe\u0301", "--embedder", embedder)
    assert removed.stdout == "version 3 of 'drinks' has 0\n"


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


def test_a_list_is_imported_as_one_version_and_bad_lines_are_told(pictures: Path, embedder: Path) -> None:
    lines = [f"gallery\\{number}.png,{label}" for number, label in enumerate(LABELS)]
    (pictures / "list.csv").write_text("\r\n".join(["path,label", *lines, "gallery/9.png,cola"]), "utf-8-sig")
    done = run(
        "gallery", "import", str(pictures / "list.csv"), "--gallery", "drinks", "--embedder", str(embedder), "--stage"
    )
    assert done.exit_code == 1
    assert "line 6: gallery/9.png" in done.stderr
    assert "1 could not be used: 1 picture_missing" in done.stderr
    assert "it is staged" in done.stdout
    kept = store()
    assert (kept.manifest("drinks").version, kept.manifest("drinks", 2).item_count) == (1, 4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["none.csv", "--gallery", "x"], "no such file"),
        (["list.doc", "--gallery", "x"], "none of the files"),
        (["a.csv"], "name the gallery"),
        (["a.csv", "--gallery", "x"], "no picture and no line"),
        (["a.csv", "--gallery", "X"], "lower-case"),
        (["a.csv", "--gallery", "x", "--list", "b.csv"], "--list goes with"),
    ],
)
def test_what_cannot_be_imported_makes_no_gallery(
    words: list[str], said: str, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures)
    for name in ("a.csv", "list.doc"):
        (pictures / name).write_text("\n")
    done = run("gallery", "import", *words)
    assert done.exit_code != 0
    assert said in done.stderr
    assert store().names() == ()
