"""`shitu classify` on pictures, good and bad, with artifacts, official archives and weights."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from models.classifier import Classifier
from models.pictures.image import decode
from shitu.cli.classify import classify
from tests.models.programs import DIM, LABELS, artifact, official_archive


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {
        "artifact": artifact(base / "classifier", "classify", paddle_too=True),
        "official": official_archive(base / "official_classifier", "classify"),
        "embedder": artifact(base / "embedder", "embed"),
    }


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of two pictures, and a file that is none."""
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    for seed, name in ((1, "b.png"), (2, "more/a.png")):
        pixels = np.random.default_rng(seed).integers(0, 256, (50, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / name)
    (tmp_path / "pictures" / "readme.txt").write_text("no picture")
    return tmp_path / "pictures"


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(classify, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.mark.parametrize("engine", ["openvino", "paddle"])
def test_a_folder_s_pictures_are_answered_as_paddleclas_does(
    folders: dict[str, Path], pictures: Path, engine: str
) -> None:
    answer = run(pictures, "--model", folders["artifact"], "--engine", engine, "--top-k", 2, "--json")
    assert answer.exit_code == 0
    report = json.loads(answer.stdout)
    assert [Path(one["filename"]).name for one in report] == ["b.png", "a.png"]
    classifier = Classifier(folders["artifact"])
    for one in report:
        (found,) = classifier([decode(Path(one["filename"]).read_bytes())], 2)
        assert one["class_ids"] == list(found.class_ids)
        assert one["label_names"] == [LABELS[i] for i in found.class_ids]
        np.testing.assert_allclose(one["scores"], found.scores, atol=2e-5)


def test_a_class_map_names_the_classes_of_an_official_archive(
    folders: dict[str, Path], pictures: Path, tmp_path: Path
) -> None:
    class_map = tmp_path / "map.txt"
    class_map.write_text("".join(f"{i} kind [{i}] of thing\n" for i in range(DIM)))
    answer = run(pictures / "b.png", "--model", folders["official"], "--class-map", class_map)
    assert answer.exit_code == 0
    assert "official_classifier on openvino" in answer.stdout
    assert answer.stdout.count("] of thing") == 5
    assert answer.stdout.count("b.png") == 1
    class_map.write_text("0 alone\n")
    refused = run(pictures / "b.png", "--model", folders["official"], "--class-map", class_map)
    assert refused.exit_code == 1
    assert "does not name 1, 2, 3" in refused.stderr


def test_bad_pictures_are_reported_and_the_others_are_processed(folders: dict[str, Path], pictures: Path) -> None:
    text, gone = pictures / "readme.txt", pictures / "gone.jpg"
    answer = run(text, gone, pictures, "--model", folders["official"], "--json")
    assert answer.exit_code == 1
    assert len(json.loads(answer.stdout)) == 2
    assert f"{text}: " in answer.stderr
    assert "image_not_an_image" in answer.stderr
    assert f"{gone}: No such file" in answer.stderr


def test_what_can_t_classify_is_one_line(folders: dict[str, Path], pictures: Path, tmp_path: Path) -> None:
    answer = run(pictures, "--model", folders["embedder"])
    assert (answer.exit_code, "made to embed, not to classify" in answer.stderr) == (1, True)
    (tmp_path / "empty").mkdir()
    assert "no pictures in" in run(tmp_path / "empty", "--model", folders["official"]).stderr
    assert "no weights file 'x.pdparams'" in run(pictures, "--model", "x.pdparams").stderr
    assert "goes with .pdparams" in run(pictures, "--model", folders["official"], "--network", "PPLCNet_x1_0").stderr


def test_weights_are_exported_once_and_leave_the_answer_clean(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import paddle

    from models.nets.named import build

    paddle.seed(3)
    paddle.save(build("PPLCNet_x0_25", 4).state_dict(), str(tmp_path / "small.pdparams"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = run(pictures, "--model", tmp_path / "small.pdparams", "--json")
    printed = capfd.readouterr()
    assert "Paddle2ONNX" not in first.stdout + printed.out
    assert "Paddle2ONNX" in printed.err  # from C++
    report = json.loads(first.stdout)
    assert [sorted(one["class_ids"]) for one in report] == [[0, 1, 2, 3]] * 2
    (made,) = tmp_path.glob("cache/shitu/models/weights/*/classify")
    again = run(pictures, "--model", made, "--json", "--engine", "paddle")
    for one, other in zip(report, json.loads(again.stdout), strict=True):
        np.testing.assert_allclose(sorted(one["scores"]), sorted(other["scores"]), atol=2e-5)
