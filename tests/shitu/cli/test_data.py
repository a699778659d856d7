"""`shitu data lint` as a user meets it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shitu.cli.data import data
from tests.models.training.data.readers.pictures import write_picture


def run(*arguments: str) -> Result:
    return CliRunner().invoke(data, ["lint", *arguments])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for number in range(2):
        write_picture(tmp_path / f"{number}.png", number)
    (tmp_path / "list.txt").write_text("0.png;可乐\n1.png;可乐\n", encoding="utf-8")
    return tmp_path / "list.txt"


def test_good_data_ends_with_0(path: Path) -> None:
    answer = run(str(path))
    assert answer.exit_code == 0
    assert answer.stdout.splitlines()[-2:] == ["1 x list: 2 pictures, 1 labels", "0 errors, 0 warnings"]
    assert "pictures checked: 2/2" in answer.stderr


def test_bad_data_ends_with_1_and_every_fault(path: Path) -> None:
    (path.parent / "1.png").write_bytes(b"broken")
    path.write_text(path.read_text(encoding="utf-8") + "gone.png;b\nshort\n", encoding="utf-8")
    answer = run(str(path), "--threads", "1")
    assert answer.exit_code == 1
    lines = [line for line in answer.stdout.splitlines() if line.startswith("error: ")]
    assert len(lines) == 3
    assert "error: list.txt: line 3: no file gone.png" in lines
    assert answer.stdout.splitlines()[-1] == "3 errors, 0 warnings"


def test_json_is_one_object(path: Path) -> None:
    path.write_text("0.png\tx\n1.png\n", encoding="utf-8")
    answer = run(str(path), "--json", "--delimiter", r"\t", "--kind", "list")
    assert answer.exit_code == 1
    report = json.loads(answer.stdout)
    assert (report["pictures"], report["labels"], report["errors"]) == (1, 1, 1)
    assert report["kinds"] == {str(path): "list"}
    assert [found["level"] for found in report["findings"]] == ["error", "warning"]
    assert report["findings"][0]["place"] == "list.txt"


def test_a_missing_file_is_reported_in_one_line(tmp_path: Path) -> None:
    answer = run(str(tmp_path / "none.txt"))
    assert answer.exit_code == 1
    assert answer.stdout.splitlines()[0].startswith("error: none.txt: no file or folder")


def test_images_are_found_where_they_are_said_to_be(tmp_path: Path) -> None:
    write_picture(tmp_path / "elsewhere" / "a.png")
    table = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "bbox": [0, 0, 5, 5]}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(table), encoding="utf-8")
    assert run(str(tmp_path / "boxes.json")).exit_code == 1
    assert run(str(tmp_path / "boxes.json"), "--images", "elsewhere").exit_code == 0
    assert run(str(tmp_path / "boxes.json"), "--root", str(tmp_path / "elsewhere"), "--images", ".").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "report"),
    [
        (("--kind", "folders", "--ids"), "--ids is about list data, not folders"),
        (("--images", "pictures"), "--images is about coco, voc data, not list"),
    ],
)
def test_an_option_about_other_data_is_refused(path: Path, arguments: tuple[str, ...], report: str) -> None:
    answer = run(str(path), *arguments)
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert report in answer.stderr


def test_pseudo_boxes_without_the_teacher_or_with_an_odd_number_end_in_one_line(path: Path) -> None:
    folder, out = str(path.parent), str(path.parent / "boxes.json")
    (path.parent / "tabs.txt").write_text("0.png\tx\n1.png\tx\n", encoding="utf-8")
    odd = CliRunner().invoke(data, ["pseudo-boxes", "tabs.txt=many", "--data", folder, "--out", out])
    assert odd.exit_code == 2
    assert "'tabs.txt=many': what follows the = is no number" in odd.output
    lost = CliRunner().invoke(data, ["pseudo-boxes", "tabs.txt", "--data", folder, "--out", out, "--no-saliency"])
    assert lost.exit_code == 1
    assert "Error: the teacher picodet_s_416_coco.onnx can't be read" in lost.output
