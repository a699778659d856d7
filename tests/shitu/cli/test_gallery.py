"""`shitu gallery add | remove`: stored galleries change between searches."""

from __future__ import annotations

import json
import os
from pathlib import Path

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
from models.galleries.gallery import Gallery
from models.pictures.image import decode
from shitu.cli.main import main
from tests.models.programs import artifact

LABELS = ["green tea", "cola", "milk", "cola"]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedder with random parameters: it distinguishes pictures, that is all."""
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


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def store() -> GalleryStore:
    settings = load_settings()
    return GalleryStore(open_store(settings.objects, settings.data_dir))


def refused(answer: Result, report: str) -> None:
    assert answer.exit_code == 1
    assert report in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert store().names() == ()


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
    report = [one["label"] for one in json.loads(found.stdout)[0]["recognitions"]]
    return report[0] if report else None


def every_way(photo: Path, embedder: Path) -> set[str | None]:
    """The label by float embeddings, by binary codes, by those re-ranked, and by each kind of Hamming index."""
    _, items, rows = store().load("drinks")
    query = Embedder(embedder)([decode(photo.read_bytes())])
    galleries: list[Gallery] = [
        BinaryGallery(items, rows.reshape(len(items), query.shape[1]), kind=kind, rerank=rerank)
        for kind in KINDS
        for rerank in (0, 3)
    ]
    found = [near[0].item.label if near else None for held in galleries for (near,) in [held.search(query, 1)]]
    ways = ((), ("--binary",), ("--binary", "--rerank", 3))
    return {*found, *(nearest(photo, embedder, *more) for more in ways)}


def test_a_gallery_changed_between_searches_is_searched_by_binary_codes_as_it_is(
    folder: Path, tiny_artifact: Path
) -> None:
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


def test_what_is_left_is_fitted_again(embedder: Path, pictures: Path, tmp_path: Path) -> None:
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


def test_a_picture_that_cannot_be_used_is_reported_and_the_others_are_added(folder: Path, embedder: Path) -> None:
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


def test_what_cannot_be_added_or_removed_is_reported_in_one_line(
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


def test_a_folder_that_is_not_utf8_is_reported_and_the_forms_of_a_label_are_one(folder: Path, embedder: Path) -> None:
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


def test_a_list_is_imported_as_one_version_and_bad_lines_are_reported(pictures: Path, embedder: Path) -> None:
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


@pytest.mark.parametrize(
    ("name", "lines", "encoding"),
    [
        ("gallery.txt", "gallery/{at}.png\t{label}", "utf-8"),
        ("gallery.lst", "gallery\\{at}.png\t{label}\t17\r", "utf-8-sig"),  # from Windows, with a third column
        ("gallery.csv", 'gallery/{at}.png,"{label}"', "utf-8"),
        ("gallery.list", "gallery/{at}.png {label}", "utf-8"),
    ],
)
def test_a_list_is_a_gallery_wherever_a_folder_is(
    pictures: Path, embedder: Path, name: str, lines: str, encoding: str
) -> None:
    listed = pictures / name
    text = "\n".join(lines.format(at=at, label=label) for at, label in enumerate(LABELS))
    listed.write_bytes(text.encode(encoding))
    assert added(listed, embedder).stdout == "4 items added to 'drinks'; version 2 has 4\n"
    assert [item.label for item in store().items("drinks")] == LABELS
    assert "0 items added" in added(listed, embedder).stdout
    found = run("recognize", pictures / "gallery" / "2.png", "--gallery", listed, "--detector", "none",
                "--embedder", embedder, "--threads", 1, "--threshold", -1, "--json")  # fmt: skip
    assert found.exit_code == 0, found.output
    (recognition,) = json.loads(found.stdout)[0]["recognitions"]
    assert recognition["label"] == "milk"


def test_lines_of_a_list_that_cannot_be_used_are_reported(pictures: Path, embedder: Path) -> None:
    listed = pictures / "gallery.txt"
    listed.write_text("gallery/0.png\tcola\ngallery/9.png\tmilk\ngallery/1.png\n", encoding="utf-8")
    answer = added(listed, embedder)
    assert answer.exit_code == 1
    assert "1 items added to 'drinks'" in answer.stdout
    assert "gallery.txt:2: there is no file gallery/9.png (image_not_found)" in answer.stderr
    assert "gallery.txt:3: the line has no label" in answer.stderr
    listed.write_text("no list\n", encoding="utf-8")
    refusal = added(listed, embedder)
    assert refusal.exit_code == 1
    assert "is no list of pictures" in refusal.stderr
