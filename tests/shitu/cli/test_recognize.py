"""`shitu recognize`: what it answers, in every shape."""

import ast
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from models.evaluation.calibrate_embedder import write
from models.galleries.calibration import Calibration
from models.vectors import unit_rows
from shitu.cli.main import main
from shitu.cli.recognized import likely
from tests.models.programs import artifact
from tests.shitu.cli.recognizing import SEEDS, gallery, photos, recognize, shots, surroundings

__all__ = ["gallery", "photos", "shots", "surroundings"]  # the fixtures


def test_a_folder_of_photos_as_json(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    answer = recognize(tiny_artifact, gallery, photos, "--json")
    assert answer.exit_code == 0, answer.output
    report = json.loads(answer.stdout)
    assert [Path(one["photo"]).stem for one in report] == sorted(SEEDS)
    for one in report:
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


def test_what_is_not_similar_enough_is_reported_with_the_reason(
    tiny_artifact: Path, gallery: Path, photos: Path
) -> None:
    answer = recognize(tiny_artifact, gallery, photos / "milk.jpg", "--threshold", 1)
    assert answer.exit_code == 0, answer.output
    assert "nothing_recognized" in answer.stdout


@pytest.fixture
def doubtful(tiny_artifact: Path, tmp_path: Path) -> Path:
    """The tiny embedder with a calibration that is never sure: how sure its own is of noise changes with its training."""
    folder = tmp_path / "doubtful"
    shutil.copytree(tiny_artifact, folder)
    dim = json.loads((folder / "manifest.json").read_bytes())["output"]["dim"]
    unknowns = unit_rows(np.random.default_rng(0).normal(size=(20, dim)).astype(np.float32))
    write(folder, Calibration("embedder", (0.0, 0.0, 0.0, 0.0)), unknowns, {})
    return folder


def test_what_is_not_sure_enough_is_guessed(doubtful: Path, gallery: Path, photos: Path) -> None:
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(photos / "noise.png")
    sure = recognize(doubtful, gallery, photos / "noise.png", "--min-precision", 0.999, "--verify", "always")
    assert sure.exit_code == 0, sure.output
    assert "? " in sure.stdout
    assert any(f"{label} 0." in sure.stdout for label in SEEDS)
    assert "answers from probability 0.999 on, for a precision of 0.999, calibrated by the embedder" in sure.stdout
    assert any(f"({label}/front.png)" in sure.stdout for label in SEEDS)
    assert "inliers" in sure.stdout
    report = json.loads(recognize(doubtful, gallery, photos / "noise.png", "--min-precision", 0.999, "--json").stdout)
    (dropped,) = report[0]["dropped"]
    assert dropped["reason"] == "below_min_precision"
    assert [one["label"] for one in dropped["candidates"]]
    assert report[0]["decision"]["probability_threshold"] == 0.999
    by_similarity = recognize(doubtful, gallery, photos / "noise.png", "--threshold", 0.99)
    assert "answers from similarity 0.99 on" in by_similarity.stdout


def test_table_json_and_paddleclas_agree(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    (report,) = json.loads(recognize(tiny_artifact, gallery, photos / "milk.jpg", "--json").stdout)
    (one,) = report["recognitions"]
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


def test_labels_that_no_font_writes_are_reported(
    tiny_artifact: Path, gallery: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.pictures.fonts.faces", lambda: ("",))
    (gallery / "cola").rename(gallery / "可乐")
    answer = recognize(tiny_artifact, gallery, photos, "--out", "out", "--json")
    assert answer.exit_code == 0, answer.output
    assert "out/cola.png: #1 is 可乐" in answer.stderr.splitlines()
    assert answer.stderr.count("#1 is") == 1
    assert {one["recognitions"][0]["label"] for one in json.loads(answer.stdout)} == {"可乐", "green tea", "milk"}


def test_what_is_all_but_certain_is_no_one() -> None:
    assert [likely(value) for value in (0.984, 0.986, 0.9951, 0.99999)] == ["0.98", "0.99", "0.99", "0.99"]


def test_a_detector_finds_the_objects(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    detector = artifact(Path("detector"), "detect", paddle_too=False)
    arguments = ["--detector", str(detector), "--embedder", str(tiny_artifact), "--gallery", str(gallery), "--json"]
    answer = CliRunner().invoke(main, ["recognize", *arguments, "--whole-image", "never", str(photos / "cola.jpg")])
    assert answer.exit_code == 0, answer.output
    (one,) = json.loads(answer.stdout)
    objects = [*one["recognitions"], *one["dropped"]]
    assert objects
    assert {one["source"] for one in objects} == {"detection"}


@pytest.mark.parametrize("more", [(), ("--rerank", 3)])
def test_by_binary_codes_the_right_labels_come_too(
    tiny_artifact: Path, gallery: Path, photos: Path, more: tuple[object, ...]
) -> None:
    answer = recognize(tiny_artifact, gallery, photos, "--json", "--binary", *more)
    assert answer.exit_code == 0, answer.output
    for one in json.loads(answer.stdout):
        assert one["recognitions"][0]["label"] == Path(one["photo"]).stem


def test_json_may_be_requested_twice(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    answer = recognize(tiny_artifact, gallery, photos / "milk.jpg", "--json", "--format", "json")
    assert answer.exit_code == 0, answer.output
    assert len(json.loads(answer.stdout)) == 1
