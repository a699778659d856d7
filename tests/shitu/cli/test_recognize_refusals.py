"""`shitu recognize`: photos, folders and options that can't be used are named."""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from shitu.cli.main import main
from tests.models.programs import artifact
from tests.shitu.cli.recognizing import SEEDS, gallery, photos, recognize, shots, surroundings

__all__ = ["gallery", "photos", "shots", "surroundings"]  # the fixtures


def test_a_bad_photo_is_reported_and_the_others_are_processed(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"not a picture")
    answer = recognize(tiny_artifact, gallery, photos, photos / "none.jpg", "--json", "--out", "out")
    assert answer.exit_code == 1
    assert [Path(one["photo"]).stem for one in json.loads(answer.stdout)] == sorted(SEEDS)
    lines = [line for line in answer.stderr.splitlines() if "photos/" in line]
    assert any("broken.png: " in line and "(image_" in line for line in lines)
    assert any("none.jpg: " in line and "(image_not_found)" in line for line in lines)
    assert len(list(Path("out").iterdir())) == 3


def test_no_pictures_and_no_model_are_reported(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    Path("nothing").mkdir()
    answer = recognize(tiny_artifact, gallery, "nothing")
    assert (answer.exit_code, answer.stderr.splitlines()[-1]) == (1, "Error: there are no pictures in nothing")
    unknown = recognize(Path("no-such-model"), gallery, photos)
    assert unknown.exit_code == 1
    assert "There is no model 'no-such-model'" in unknown.stderr


def test_no_answer_is_no_table(tiny_artifact: Path, gallery: Path) -> None:
    answer = recognize(tiny_artifact, gallery, "none.jpg")
    assert (answer.exit_code, answer.stdout) == (1, "")
    report = "none.jpg: no such file, or it can't be read (image_not_found)\n1 could not be used: 1 image_not_found\n"
    assert answer.stderr == report


def test_a_folder_that_can_not_be_made_is_one_line(tiny_artifact: Path, gallery: Path, photos: Path) -> None:
    Path("file").touch()
    answer = recognize(tiny_artifact, gallery, photos, "--out", "file/pictures")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr == "Error: file/pictures: Not a directory\n"


@pytest.mark.parametrize(
    ("more", "report"),
    [
        (("--rerank", 3), "--rerank needs --binary"),
        (("--threshold", 0.5, "--min-precision", 0.8), "--threshold decides instead of --min-precision"),
        (("--format", "paddleclas", "--verify", "always"), "decides by similarity alone"),
        (("--format", "paddleclas", "--min-precision", 0.8), "decides by similarity alone"),
        (("--json", "--format", "paddleclas"), "--json and --format paddleclas contradict each other"),
        (("--format", "table", "--json"), "--json and --format table contradict each other"),
        (("--whole-image", "never"), "--detector none and --whole-image never leave nothing to recognise"),
        (("--format", "paddleclas", "--top-k", 5), "--top-k goes with the other formats"),
        (("--format", "paddleclas", "--whole-image", "fallback"), "always searches the whole image"),
    ],
)
def test_options_that_contradict_each_other_are_refused(more: tuple[object, ...], report: str) -> None:
    answer = recognize(Path("no-such-model"), "nowhere", "photo.jpg", *more)
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert report in answer.stderr


@pytest.mark.parametrize("shape", ["table", "json", "paddleclas"])
def test_a_photo_whose_name_is_not_utf8_is_answered(tmp_path: Path, gallery: Path, photos: Path, shape: str) -> None:
    os.rename(photos / "milk.jpg", os.fsencode(photos) + b"/\xbf\xc9\xc0\xd6.jpg")  # noqa: PTH104 (bytes)
    (photos / "._cola.jpg").write_bytes(b"\0\5\x16\7")
    answer = recognize(artifact(tmp_path / "untrained", "embed", paddle_too=False), gallery, photos, "--format", shape)
    assert answer.exit_code == 0, answer.output
    if shape == "json":
        assert len(json.loads(answer.stdout)) == 3
        assert Path(json.loads(answer.stdout)[2]["photo"]).name == r"\xbf\xc9\xc0\xd6.jpg"


def test_boxes_are_looked_up_without_a_detector_and_wrong_ones_are_reported(
    tiny_artifact: Path, gallery: Path, photos: Path
) -> None:
    photo = photos / "cola.jpg"  # 64 x 64
    answer = recognize(tiny_artifact, gallery, photo, "--json", "--box", "0,0,64,64", "--box", "-5,0,32,40")
    assert answer.exit_code == 2  # --detector none is named by this helper, and means nothing together with boxes
    assert "--box looks up the boxes alone; --detector has no effect with it" in answer.stderr
    arguments = ["recognize", str(photo), "--gallery", str(gallery), "--embedder", str(tiny_artifact), "--json"]
    found = CliRunner().invoke(main, [*arguments, "--box", "0,0,64,64", "--box", "-5,0,32,40"])
    assert found.exit_code == 0, found.stderr
    (one,) = json.loads(found.stdout)
    boxes = {part["given"]: part["box"] for part in (*one["recognitions"], *one["dropped"])}
    assert boxes == {0: [0, 0, 64, 64], 1: [0, 0, 32, 40]}
    for box, report in (("1,2,3", "x1,y1,x2,y2"), ("9,0,9,9", "is empty"), ("a,b,c,d", "x1,y1,x2,y2")):
        wrong = CliRunner().invoke(main, [*arguments, "--box", box])
        assert wrong.exit_code == 2
        assert report in wrong.stderr
    beyond = CliRunner().invoke(main, [*arguments, "--box", "64,0,70,9"])
    assert beyond.exit_code == 1
    assert "64 x 64 pixels, upright; 0: [64, 0, 70, 9] holds no pixel of it (options_invalid)" in beyond.stderr
