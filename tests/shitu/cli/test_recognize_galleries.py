"""`shitu recognize`: the gallery is a stored one or a folder, and what can be wrong with it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infra.errors.service import StorageUnavailable
from infra.galleries.files import Item, item_id
from infra.galleries.store import GalleryStore
from infra.objects.opening import open_store
from infra.runtime.settings import load_settings
from models.embedder import Embedder
from models.enrolment import packed_features
from models.synth.designs import design_product
from models.synth.products import packshot
from tests.models.programs import artifact
from tests.shitu.cli.recognizing import gallery, photos, recognize, shots, surroundings

__all__ = ["gallery", "photos", "shots", "surroundings"]  # the fixtures


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
    report = json.loads(always.stdout)
    assert [one["decision"]["verified"] for one in report] == [0, 0, 0]  # nor are there pictures
    for more in (("--verify", "never"), ("--format", "paddleclas")):
        answer = recognize(tiny_artifact, "drinks", photos / "cola.jpg", *more)
        assert (answer.exit_code, answer.stderr) == (0, "")


def test_a_store_that_fails_costs_the_photo_not_the_others(
    tiny_artifact: Path, photos: Path, shots: dict[str, Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled(tiny_artifact, shots)
    load, loaded = GalleryStore.load_features, list[str]()

    def failing_once(store: GalleryStore, name: str, version: int | None = None) -> dict[str, bytes]:
        loaded.append(name)
        if len(loaded) == 1:
            raise StorageUnavailable("no answer")
        return load(store, name, version)

    monkeypatch.setattr(GalleryStore, "load_features", failing_once)
    answer = recognize(tiny_artifact, "drinks", *sorted(photos.iterdir()), "--json", "--verify", "always")
    assert answer.exit_code == 1
    assert [Path(one["photo"]).stem for one in json.loads(answer.stdout)] == ["green tea", "milk"]
    assert "cola.jpg: " in answer.stderr


@pytest.mark.parametrize(
    ("name", "report"),
    [
        ("nowhere", "gallery_not_found"),
        ("no such/gallery", "there is no folder"),
        ("empty", "no sub-folders with pictures"),
    ],
)
def test_no_such_gallery_is_one_line(tiny_artifact: Path, photos: Path, name: str, report: str) -> None:
    Path("empty").mkdir()
    answer = recognize(tiny_artifact, name, photos / "cola.jpg")
    assert answer.exit_code == 1
    assert answer.stdout == ""
    assert answer.stderr.startswith("Error: ")
    assert report in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_bad_picture_in_the_gallery_is_named(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    (gallery / "milk" / "back.png").write_bytes(b"\x89PNG")
    answer = recognize(tiny_artifact, gallery, photos / "cola.jpg")
    assert answer.exit_code == 1
    assert "milk/back.png: " in answer.stderr


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
