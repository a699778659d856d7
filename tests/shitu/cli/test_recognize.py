"""`shitu recognize`: photos against a folder or a stored gallery, without a server."""

import ast
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from infra.errors import StorageUnavailable
from infra.galleries import GalleryStore
from infra.gallery_files import Item, item_id
from infra.objects import open_store
from infra.settings import load_settings
from models.embedder import Embedder
from models.enrolment import packed_features
from models.synth.designs import design_product
from models.synth.products import packshot
from shitu.cli.main import main
from shitu.cli.recognized import likely
from tests.models.programs import artifact

SEEDS = {"cola": 3, "green tea": 40, "milk": 77}


@pytest.fixture(scope="module")
def shots() -> dict[str, Image.Image]:
    return {
        label: Image.fromarray(packshot(design_product(seed), 64)).resize((64, 64)) for label, seed in SEEDS.items()
    }


@pytest.fixture
def gallery(tmp_path: Path, shots: dict[str, Image.Image]) -> Path:
    """A folder with a sub-folder for each label."""
    for label, shot in shots.items():
        folder = tmp_path / "gallery" / label
        folder.mkdir(parents=True)
        shot.save(folder / "front.png")
    return tmp_path / "gallery"


@pytest.fixture
def photos(tmp_path: Path, shots: dict[str, Image.Image]) -> Path:
    """A folder of photos, one of each product, named by its label."""
    (tmp_path / "photos").mkdir()
    for label, shot in shots.items():
        shot.save(tmp_path / "photos" / f"{label}.jpg", quality=90)
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("SHITU_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def recognize(artifact_folder: Path, gallery: object, *arguments: object) -> Result:
    """Of the whole image, so that what is seen is the embedder's doing."""
    fixed = ["--detector", "none", "--threads", "1", "--embedder", str(artifact_folder), "--gallery", str(gallery)]
    return CliRunner().invoke(main, ["recognize", *fixed, *map(str, arguments)])


def test_a_folder_of_photos_as_json(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    answer = recognize(tiny_artifact, gallery, photos, "--json")
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert [Path(one["photo"]).stem for one in told] == sorted(SEEDS)
    for one in told:
        assert one["image"] == {"width": 64, "height": 64}
        (found,) = one["recognitions"]
        assert found["label"] == Path(one["photo"]).stem
        assert found["similarity"] > 0.75  # a re-photographed product, by a network trained for seconds
        assert found["box"] == [0, 0, 64, 64]
        assert found["matches"][0]["item_id"] == f"{found['label']}/front.png"


def test_a_table(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    answer = recognize(tiny_artifact, gallery, *sorted(photos.iterdir()))
    assert answer.exit_code == 0, answer.output
    rows = {line.split("│")[3].strip(): line for line in answer.stdout.splitlines() if line.startswith("│")}
    assert set(rows) == set(SEEDS)
    assert "green tea.jpg" in rows["green tea"]
    assert "0, 0, 64, 64" in rows["green tea"]


def test_what_is_not_similar_enough_is_told_with_the_reason(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    answer = recognize(tiny_artifact, gallery, photos / "milk.jpg", "--threshold", 1)
    assert answer.exit_code == 0, answer.output
    assert "nothing_recognized" in answer.stdout


def test_what_is_not_sure_enough_is_guessed(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(photos / "noise.png")
    # "always", for whether the tiny embedder is in doubt changes with how it is trained
    sure = recognize(tiny_artifact, gallery, photos / "noise.png", "--min-precision", 0.999, "--verify", "always")
    assert sure.exit_code == 0, sure.output
    assert "? " in sure.stdout
    assert any(f"{label} 0." in sure.stdout for label in SEEDS)
    assert "answers from probability 0.999 on, for a precision of 0.999, calibrated by the embedder" in sure.stdout
    assert any(f"({label}/front.png)" in sure.stdout for label in SEEDS)
    assert "inliers" in sure.stdout
    told = json.loads(
        recognize(tiny_artifact, gallery, photos / "noise.png", "--min-precision", 0.999, "--json").stdout
    )
    (dropped,) = told[0]["dropped"]
    assert dropped["reason"] == "below_min_precision"
    assert [one["label"] for one in dropped["candidates"]]
    assert told[0]["decision"]["probability_threshold"] == 0.999
    by_similarity = recognize(tiny_artifact, gallery, photos / "noise.png", "--threshold", 0.99)
    assert "answers from similarity 0.99 on" in by_similarity.stdout


def test_table_json_and_paddleclas_agree(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    (told,) = json.loads(recognize(tiny_artifact, gallery, photos / "milk.jpg", "--json").stdout)
    (one,) = told["recognitions"]
    (line,) = [
        line
        for line in recognize(tiny_artifact, gallery, photos / "milk.jpg").stdout.splitlines()
        if "milk.jpg" in line
    ]
    cells = [cell.strip() for cell in line.split("│")[1:-1]]
    assert cells[2:5] == [one["label"], f"{min(one['probability'], 0.99):.2f}", f"{one['similarity']:.2f}"]
    (theirs,) = ast.literal_eval(
        recognize(tiny_artifact, gallery, photos / "milk.jpg", "--format", "paddleclas").stdout.strip()
    )
    assert (theirs["rec_docs"], theirs["bbox"]) == (one["label"], one["box"])
    assert theirs["rec_scores"] == pytest.approx(one["similarity"], abs=1e-5)


def test_a_folder_with_enough_pictures_calibrates_itself(tiny_artifact: Path, tmp_path: Path, photos: Path) -> None:
    for label in range(12):
        folder = tmp_path / "many" / f"label {label:02}"
        folder.mkdir(parents=True)
        for number in range(1 + label % 2):
            shot = packshot(design_product(200 + 4 * label), 64 + 16 * number)
            Image.fromarray(shot).resize((64, 64)).save(folder / f"{number}.png")
    (few,) = json.loads(recognize(tiny_artifact, tmp_path / "many", photos / "cola.jpg", "--json").stdout)
    assert few["decision"]["calibration"] == "embedder"  # 18 pictures are too few
    for label in range(12, 20):
        folder = tmp_path / "many" / f"label {label}"
        folder.mkdir()
        Image.fromarray(packshot(design_product(200 + 4 * label), 64)).save(folder / "0.png")
    (more,) = json.loads(recognize(tiny_artifact, tmp_path / "many", photos / "cola.jpg", "--json").stdout)
    assert more["decision"]["calibration"] == "gallery"
    assert more["decision"]["calibration_queries"] >= 26


def test_the_format_of_paddleclas(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    answer = recognize(tiny_artifact, gallery, photos / "milk.jpg", "--format", "paddleclas")
    assert answer.exit_code == 0, answer.output
    (found,) = ast.literal_eval(answer.stdout.strip())
    assert set(found) == {"bbox", "rec_docs", "rec_scores"}
    assert found["bbox"] == [0, 0, 64, 64]
    assert found["rec_docs"] == "milk"


def test_pictures_are_saved_each_under_a_name_of_its_own(tiny_artifact: Path, gallery: Path, tmp_path: Path) -> None:
    # The gallery's own pictures are all called front.png.
    answer = recognize(tiny_artifact, gallery, gallery, "--out", tmp_path / "out" / "deep")
    assert answer.exit_code == 0, answer.output
    saved = sorted(path.name for path in (tmp_path / "out" / "deep").iterdir())
    assert saved == ["front-2.png", "front-3.png", "front.png"]
    first = np.asarray(Image.open(tmp_path / "out" / "deep" / "front.png"))
    assert (first != np.asarray(Image.open(gallery / "cola" / "front.png"))).any()


def test_labels_that_no_font_writes_are_told(
    tiny_artifact: Path, gallery: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shitu.cli.annotate.FONTS", ())
    (gallery / "cola").rename(gallery / "可乐")
    answer = recognize(tiny_artifact, gallery, photos, "--out", "out", "--json")
    assert answer.exit_code == 0, answer.output
    assert "out/cola.png: #1 is 可乐" in answer.stderr.splitlines()
    assert answer.stderr.count("#1 is") == 1
    assert {one["recognitions"][0]["label"] for one in json.loads(answer.stdout)} == {"可乐", "green tea", "milk"}


def test_a_bad_photo_is_told_and_the_others_go_on(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"not a picture")
    answer = recognize(tiny_artifact, gallery, photos, photos / "none.jpg", "--json", "--out", "out")
    assert answer.exit_code == 1
    assert [Path(one["photo"]).stem for one in json.loads(answer.stdout)] == sorted(SEEDS)
    lines = [line for line in answer.stderr.splitlines() if "photos/" in line]
    assert any("broken.png: " in line and "(image_" in line for line in lines)
    assert any("none.jpg: " in line and "(image_not_found)" in line for line in lines)
    assert len(list(Path("out").iterdir())) == 3


def enrolled(tiny_artifact: Path, shots: dict[str, Image.Image]) -> GalleryStore:
    """A stored gallery "drinks" with the shots' embeddings and local features, but not their pictures."""
    embed = Embedder(tiny_artifact)
    settings = load_settings()
    store = GalleryStore(open_store(settings.objects, settings.data_dir))
    store.create("drinks")
    rows = embed([np.asarray(shot) for shot in shots.values()])
    items = []
    for number, label in enumerate(shots):
        sha256 = f"{number:064d}"
        items.append(Item(item_id(sha256, label), label, f"images/00/{sha256}", sha256, None, "2026-01-01T00:00:00Z"))
    features = [packed_features(np.asarray(shot)) for shot in shots.values()]
    store.add("drinks", items, rows, embed.digest, features=features)
    return store


def test_a_stored_gallery(tiny_artifact: Path, photos: Path, shots: dict[str, Image.Image]) -> None:
    enrolled(tiny_artifact, shots)
    answer = recognize(tiny_artifact, "drinks", photos / "cola.jpg", "--json", "--verify", "always")
    assert answer.exit_code == 0, answer.output
    (one,) = json.loads(answer.stdout)
    assert one["recognitions"][0]["label"] == "cola"
    assert one["recognitions"][0]["verification"]["inliers"] > 4
    other = artifact(Path("other"), "embed", paddle_too=False)
    refused = recognize(other, "drinks", photos / "cola.jpg")
    assert refused.exit_code == 1
    assert "'drinks' was made with another embedder than tiny-embed" in refused.stderr


def test_damaged_features_cost_a_warning_and_only_where_they_are_read(
    tiny_artifact: Path, photos: Path, shots: dict[str, Image.Image]
) -> None:
    enrolled(tiny_artifact, shots)
    (file,) = Path("data").rglob("*.features.bin")
    file.write_bytes(b"damaged")
    always = recognize(tiny_artifact, "drinks", *sorted(photos.iterdir()), "--json", "--verify", "always")
    assert always.exit_code == 0, always.output
    assert always.stderr.count("Features are made from pictures instead.") == 1
    told = json.loads(always.stdout)
    assert [one["decision"]["verified"] for one in told] == [0, 0, 0]  # nor are there pictures
    for more in (("--verify", "never"), ("--format", "paddleclas")):
        answer = recognize(tiny_artifact, "drinks", photos / "cola.jpg", *more)
        assert (answer.exit_code, answer.stderr) == (0, "")


def test_a_store_that_fails_costs_the_photo_not_the_others(
    tiny_artifact: Path, photos: Path, shots: dict[str, Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled(tiny_artifact, shots)
    load, asked = GalleryStore.load_features, list[str]()

    def failing_once(store: GalleryStore, name: str, version: int | None = None) -> dict[str, bytes]:
        asked.append(name)
        if len(asked) == 1:
            raise StorageUnavailable("no answer")
        return load(store, name, version)

    monkeypatch.setattr(GalleryStore, "load_features", failing_once)
    answer = recognize(tiny_artifact, "drinks", *sorted(photos.iterdir()), "--json", "--verify", "always")
    assert answer.exit_code == 1
    assert [Path(one["photo"]).stem for one in json.loads(answer.stdout)] == ["green tea", "milk"]
    assert "cola.jpg: " in answer.stderr


def test_what_is_all_but_certain_is_no_one() -> None:
    assert [likely(value) for value in (0.984, 0.986, 0.9951, 0.99999)] == ["0.98", "0.99", "0.99", "0.99"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere", "gallery_not_found"),
        ("no such/gallery", "there is no folder"),
        ("empty", "no sub-folders with pictures"),
    ],
)
def test_no_such_gallery_is_one_line(tiny_artifact: Path, photos: Path, name: str, told: str) -> None:
    Path("empty").mkdir()
    answer = recognize(tiny_artifact, name, photos / "cola.jpg")
    assert answer.exit_code == 1
    assert answer.stdout == ""
    assert answer.stderr.startswith("Error: ")
    assert told in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_bad_picture_in_the_gallery_is_named(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    (gallery / "milk" / "back.png").write_bytes(b"\x89PNG")
    answer = recognize(tiny_artifact, gallery, photos / "cola.jpg")
    assert answer.exit_code == 1
    assert "milk/back.png: " in answer.stderr


def test_no_pictures_and_no_model_are_told(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    Path("nothing").mkdir()
    answer = recognize(tiny_artifact, gallery, "nothing")
    assert (answer.exit_code, answer.stderr.splitlines()[-1]) == (1, "Error: there are no pictures in nothing")
    unknown = recognize(Path("no-such-model"), gallery, photos)
    assert unknown.exit_code == 1
    assert "There is no model 'no-such-model'" in unknown.stderr


def test_a_detector_finds_the_bodies(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    detector = artifact(Path("detector"), "detect", paddle_too=False)
    arguments = ["--detector", str(detector), "--embedder", str(tiny_artifact), "--gallery", str(gallery), "--json"]
    answer = CliRunner().invoke(main, ["recognize", *arguments, "--whole-image", "never", str(photos / "cola.jpg")])
    assert answer.exit_code == 0, answer.output
    (one,) = json.loads(answer.stdout)
    bodies = [*one["recognitions"], *one["dropped"]]
    assert bodies
    assert {body["source"] for body in bodies} == {"detection"}


def test_no_answer_is_no_table(tiny_artifact: Path, gallery: Path) -> None:
    answer = recognize(tiny_artifact, gallery, "none.jpg")
    assert (answer.exit_code, answer.stdout) == (1, "")
    told = "none.jpg: no such file, or it can't be read (image_not_found)\n1 could not be used: 1 image_not_found\n"
    assert answer.stderr == told


def test_a_folder_that_can_not_be_made_is_one_line(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    Path("file").touch()
    answer = recognize(tiny_artifact, gallery, photos, "--out", "file/pictures")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr == "Error: file/pictures: Not a directory\n"


@pytest.mark.parametrize("more", [(), ("--rerank", 3)])
def test_by_signs_the_right_labels_come_too(
    tiny_artifact: Path, gallery: Path, photos: Path, more: tuple[object, ...]
) -> None:
    answer = recognize(tiny_artifact, gallery, photos, "--json", "--binary", *more)
    assert answer.exit_code == 0, answer.output
    for one in json.loads(answer.stdout):
        assert one["recognitions"][0]["label"] == Path(one["photo"]).stem


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--rerank", 3), "--rerank goes with --binary"),
        (("--threshold", 0.5, "--min-precision", 0.8), "--threshold decides instead of --min-precision"),
        (("--format", "paddleclas", "--verify", "always"), "decides by similarity alone"),
        (("--format", "paddleclas", "--min-precision", 0.8), "decides by similarity alone"),
        (("--json", "--format", "paddleclas"), "--json and --format paddleclas contradict each other"),
        (("--format", "table", "--json"), "--json and --format table contradict each other"),
        (("--whole-image", "never"), "--detector none and --whole-image never leave nothing to recognise"),
        (("--format", "paddleclas", "--top-k", 5), "--top-k goes with the other formats"),
        (("--format", "paddleclas", "--whole-image", "fallback"), "always asks for the whole image"),
    ],
)
def test_options_that_contradict_each_other_are_refused(more: tuple[object, ...], told: str) -> None:
    answer = recognize(Path("no-such-model"), "nowhere", "photo.jpg", *more)
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert told in answer.stderr


def test_json_may_be_asked_for_twice(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    answer = recognize(tiny_artifact, gallery, photos / "milk.jpg", "--json", "--format", "json")
    assert answer.exit_code == 0, answer.output
    assert len(json.loads(answer.stdout)) == 1


@pytest.mark.parametrize("shape", ["table", "json", "paddleclas"])
def test_a_photo_whose_name_is_not_utf8_is_answered(tmp_path: Path, gallery: Path, photos: Path, shape: str) -> None:
    os.rename(photos / "milk.jpg", os.fsencode(photos) + b"/\xbf\xc9\xc0\xd6.jpg")  # noqa: PTH104 (bytes)
    (photos / "._cola.jpg").write_bytes(b"\0\5\x16\7")
    answer = recognize(artifact(tmp_path / "untrained", "embed", paddle_too=False), gallery, photos, "--format", shape)
    assert answer.exit_code == 0, answer.output
    if shape == "json":
        assert len(json.loads(answer.stdout)) == 3
        assert Path(json.loads(answer.stdout)[2]["photo"]).name == r"\xbf\xc9\xc0\xd6.jpg"


def test_bad_pictures_of_a_gallery_folder_are_counted_and_the_others_used(
    tmp_path: Path, gallery: Path, photos: Path
) -> None:
    (gallery / "milk" / "back.png").write_bytes(b"\x89PNG")
    (gallery / "milk" / "IMG.mov").write_bytes(b"")
    answer = recognize(
        artifact(tmp_path / "untrained", "embed", paddle_too=False), gallery, photos / "cola.jpg", "--json"
    )
    assert answer.exit_code == 1
    assert len(json.loads(answer.stdout)) == 1
    assert "1 could not be used: 1 image_" in answer.stderr
