"""`shitu detect` and `shitu embed` on photos, good and bad, with artifacts and official archives."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from models.detector import Detector
from models.embedder import Embedder
from models.export.precisions import add_precisions
from models.pictures.image import decode
from shitu.cli.run import detect, embed
from tests.models.programs import DIM, artifact, official_archive


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {
        "detect": artifact(base / "detector", "detect", paddle_too=True),
        "embed": artifact(base / "embedder", "embed", paddle_too=True),
        "official detect": official_archive(base / "official_detector", "detect"),
        "official embed": official_archive(base / "official_embedder", "embed"),
    }


@pytest.fixture
def photos(tmp_path: Path) -> list[str]:
    """Two pictures."""
    names = []
    for seed, size in ((1, (90, 130)), (2, (64, 48))):
        picture = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        names.append(str(tmp_path / f"photo{seed}.png"))
        Image.fromarray(picture).save(names[-1])
    return names


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def run(command: object, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments, catch_exceptions=False)


@pytest.mark.parametrize("model", ["detect", "official detect"])
@pytest.mark.parametrize("engine", ["openvino", "paddle"])
def test_detect_prints_what_the_detector_finds_as_json(
    folders: dict[str, Path], photos: list[str], model: str, engine: str
) -> None:
    answer = run(detect, *photos, "--model", str(folders[model]), "--engine", engine, "--json", "--max-detections", "3")
    assert answer.exit_code == 0
    report = json.loads(answer.stdout)
    assert [entry["photo"] for entry in report] == photos
    for entry in report:
        expected = Detector(folders["detect"])(decode(Path(entry["photo"]).read_bytes()), max_detections=3)
        assert len(expected) > 0
        for detection, found in zip(expected, entry["detections"], strict=True):
            assert found["confidence"] == pytest.approx(detection.confidence, abs=1e-3)
            assert np.abs(np.subtract(found["box"], detection.box)).max() <= 1


def test_detect_prints_a_table_and_saves_pictures(folders: dict[str, Path], photos: list[str], tmp_path: Path) -> None:
    answer = run(detect, *photos, "--model", str(folders["detect"]), "--out", str(tmp_path / "out"))
    assert answer.exit_code == 0
    assert "tiny-detect in fp32 on openvino" in answer.stdout
    assert "photo1.png" in answer.stdout
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["photo1.jpg", "photo2.jpg"]


def test_pictures_of_the_same_name_are_saved_apart(folders: dict[str, Path], photos: list[str], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    namesake = str(tmp_path / "other" / Path(photos[0]).name)
    Path(photos[1]).rename(namesake)
    answer = run(detect, photos[0], namesake, "--model", str(folders["detect"]), "--out", str(tmp_path / "out"))
    assert answer.exit_code == 0
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["photo1-2.jpg", "photo1.jpg"]


def test_nothing_found_is_an_answer(folders: dict[str, Path], photos: list[str]) -> None:
    answer = run(detect, photos[0], "--model", str(folders["detect"]), "--threshold", "1")
    assert answer.exit_code == 0
    assert "nothing found" in answer.stdout


def test_bad_photos_are_reported_and_the_others_are_processed(
    folders: dict[str, Path], photos: list[str], tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.jpg").touch()
    bad = [str(tmp_path / name) for name in ("text.jpg", "empty.jpg", "missing.jpg")]
    answer = run(detect, *bad, *photos, str(tmp_path), "--model", str(folders["detect"]), "--json")
    assert answer.exit_code == 1
    report = json.loads(answer.stdout)
    assert [("error" in entry) for entry in report] == [True, True, True, False, False, True]
    assert len(answer.stderr.splitlines()) == 4
    assert f"{bad[0]}: This is not a picture that can be read." in answer.stderr


@pytest.mark.parametrize("model", ["embed", "official embed"])
@pytest.mark.parametrize("engine", ["openvino", "paddle"])
def test_embed_writes_the_vectors(
    folders: dict[str, Path], photos: list[str], tmp_path: Path, model: str, engine: str
) -> None:
    out = tmp_path / "deep" / "vectors"
    answer = run(embed, *photos, "--model", str(folders[model]), "--engine", engine, "--out", str(out))
    assert answer.exit_code == 0
    expected = Embedder(folders["embed"])([decode(Path(photo).read_bytes()) for photo in photos])
    np.testing.assert_allclose(np.load(out, allow_pickle=False), expected, atol=1e-5)


def test_the_precision_is_chosen_and_reported(photos: list[str], tmp_path: Path) -> None:
    folder = artifact(tmp_path / "lower", "embed")
    add_precisions(folder, ["fp16"], [decode(Path(photo).read_bytes()) for photo in photos])
    answer = run(embed, *photos, "--model", str(folder), "--precision", "fp16")
    assert answer.exit_code == 0, answer.output
    assert "tiny-embed in fp16 on openvino" in answer.output
    refused = run(embed, *photos, "--model", str(folder), "--precision", "int8")
    assert refused.exit_code == 1
    assert "not made for int8, only for fp32, fp16" in refused.stderr


def test_embed_leaves_bad_photos_out(folders: dict[str, Path], photos: list[str], tmp_path: Path) -> None:
    out = tmp_path / "vectors.npy"
    answer = run(embed, "missing.jpg", photos[0], "--model", str(folders["embed"]), "--out", str(out))
    assert answer.exit_code == 1
    assert np.load(out).shape == (1, DIM)
    assert answer.stderr == "missing.jpg: No such file or directory.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nothing"], "There is no model 'nothing'"),
        (["--model", "{embed}"], "is no detector but made to embed"),
        (["--model", "{empty}"], "neither manifest.json nor inference.pdmodel"),
    ],
)
def test_a_model_that_can_not_run_is_one_line(
    folders: dict[str, Path], photos: list[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    given = [text.format(embed=folders["embed"], empty=tmp_path / "empty") for text in arguments]
    answer = run(detect, *photos, *given)
    assert answer.exit_code == 1
    assert message in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_without_a_model_the_bundled_ones_run(photos: list[str]) -> None:
    for command, network in ((detect, "shitu-detector"), (embed, "shitu-embedder")):
        answer = run(command, photos[0])
        assert answer.exit_code == 0
        assert network in answer.output


@pytest.mark.parametrize(("command", "option"), [(detect, "--out"), (embed, "--out")])
def test_a_place_that_can_not_be_written_is_one_line(
    command: object, option: str, folders: dict[str, Path], photos: list[str]
) -> None:
    task = "detect" if command is detect else "embed"
    answer = run(command, photos[0], "--model", str(folders[task]), option, f"{photos[1]}/deep/x")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith(f"Error: {photos[1]}")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize(("command", "task"), [(detect, "detect"), (embed, "embed")])
def test_no_answer_is_no_table(command: object, task: str, folders: dict[str, Path], tmp_path: Path) -> None:
    answer = run(command, str(tmp_path), "--model", str(folders[task]))
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr == f"{tmp_path}: Is a directory.\n"
