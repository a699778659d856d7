"""The linter names every fault at once, whatever the format, and leaves what is right alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.training.data.lint import Finding, Layout, Report, kind_of, lint
from models.training.data.photos import DatasetError
from tests.models.training.data.readers.pictures import write_picture


def shop(root: Path, lines: list[str], name: str = "labels.tsv") -> Path:
    """A list and two pictures of each of two labels."""
    for number in range(4):
        write_picture(root / f"{number}.png", number)
    (root / name).write_text("\n".join(lines), encoding="utf-8")
    return root / name


GOOD = ["0.png\t可乐 zero", "1.png\t可乐 zero", "2.png\tb", "3.png\tb"]


def messages(report: Report, level: str) -> list[str]:
    return [f"{found.place}: {found.text}" for found in report.findings if found.level == level]


def test_a_good_list_has_no_findings(tmp_path: Path) -> None:
    path = shop(tmp_path, GOOD)
    assert lint([path]) == Report({str(path): "list"}, pictures=4, labels=2, boxes=0, findings=())


@pytest.mark.parametrize("delimiter", ["\t", " ", ", ", ",", ";", "|"])
def test_the_delimiter_is_found_out(tmp_path: Path, delimiter: str) -> None:
    report = lint([shop(tmp_path, [line.replace("\t", delimiter) for line in GOOD])])
    assert (report.pictures, report.labels, report.findings) == (4, 2, ())


def test_every_bad_line_and_picture_is_named_at_once(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:-900])
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "copy.png").write_bytes(write_picture(tmp_path / "0.png", 0).read_bytes())
    lines = [
        "gone.png\tb",
        "3.png",
        "cut.jpg\tb",
        "text.png\tb",
        "empty.png\tb",
        "copy.png\tb",
        "2.png\tb",
        "whole.jpg\tone",
    ]
    report = lint([shop(tmp_path, GOOD + lines)], threads=2)
    errors = messages(report, "error")
    assert report.errors == len(errors) == 6
    for part in (
        "labels.tsv: line 5: no file gone.png", "labels.tsv: line 6: expected path", "labels.tsv: cut.jpg: ",
        "labels.tsv: text.png: ", "labels.tsv: empty.png: The file is empty",
        "labels.tsv: 0.png (可乐 zero), labels.tsv: copy.png (b): the same picture under different labels",
    ):  # fmt: skip
        assert any(error.startswith(part) for error in errors), part
    assert messages(report, "warning") == [
        "labels.tsv: 2.png (b), labels.tsv: 2.png (b): the same picture more than once",
        "label one: has one picture: nothing to be matched with",
    ]


def test_the_same_picture_in_two_files_is_seen(tmp_path: Path) -> None:
    first = shop(tmp_path, GOOD)
    second = shop(tmp_path, ["0.png\tb", "1.png\t可乐 zero"], "other.tsv")
    report = lint([first, second])
    assert messages(report, "error") == [
        "labels.tsv: 0.png (可乐 zero), other.tsv: 0.png (b): the same picture under different labels"
    ]
    assert len(messages(report, "warning")) == 1


def test_what_can_not_be_read_does_not_hide_the_rest(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"a.png\t\xe9")
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    report = lint([tmp_path / "none.txt", tmp_path / "latin.txt", tmp_path / "empty.txt", shop(tmp_path, GOOD)])
    errors = messages(report, "error")
    assert len(errors) == 3
    assert "no file or folder" in errors[0]
    assert "not UTF-8" in errors[1]
    assert errors[2] == "empty.txt: names no pictures"
    assert report.pictures == 4


def test_layout_says_what_files_do_not(tmp_path: Path) -> None:
    for number in range(4):
        write_picture(tmp_path / "photos" / f"{number}.png", number)
    (tmp_path / "list.txt").write_text("\n".join(line.replace("\t", " ") for line in GOOD), encoding="utf-8")
    layout = Layout(root=tmp_path / "photos", delimiter=" ")
    assert lint([tmp_path / "list.txt"], layout).findings == ()
    three = Layout(root=tmp_path / "photos", delimiter=" ", with_id=True)
    assert lint([tmp_path / "list.txt"], three).errors == 2  # `可乐 zero` passes for a label and an id


def test_a_column_of_ids_taken_for_labels_is_reported(tmp_path: Path) -> None:
    for number in range(4):
        write_picture(tmp_path / f"{number}.png", number)
    (tmp_path / "cars.txt").write_text("".join(f"{n}.png {'ab'[n // 2]} {n}\n" for n in range(4)), encoding="utf-8")
    (warning, *_) = messages(lint([tmp_path / "cars.txt"], Layout(delimiter=" ")), "warning")[-1:]
    assert "--ids" in warning
    assert messages(lint([tmp_path / "cars.txt"], Layout(delimiter=" ", with_id=True)), "warning") == []
    (tmp_path / "colas.txt").write_text("0.png cola 1\n1.png cola 1\n2.png tea 2\n3.png tea 2\n", encoding="utf-8")
    assert messages(lint([tmp_path / "colas.txt"], Layout(delimiter=" ")), "warning") == []


def test_folders_and_sop(tmp_path: Path) -> None:
    for label in "ab":
        for number in range(2):
            write_picture(tmp_path / "folders" / label / f"{number}.png", number + 2 * (label == "b"))
    write_picture(tmp_path / "folders" / "stray.png", 9)
    for clutter in ("a/scan.pdf", "a/notes.txt", "a/._0.png", "__MACOSX/a/0.heic.x"):
        (tmp_path / "folders" / clutter).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folders" / clutter).write_bytes(b"x")
    report = lint([tmp_path / "folders"])
    assert messages(report, "warning") == ["folders: not read, for they are no pictures by their names: 1 .pdf"]
    assert (report.kinds, report.pictures, report.labels) == ({str(tmp_path / "folders"): "folders"}, 4, 2)
    assert messages(report, "error") == ["folders: stray.png: a picture in no label's folder"]
    lines = "image_id class_id super_class_id path\n1 1 1 a/0.png\n2 1 1 a/1.png\n2 2 1 b/0.png\n"
    (tmp_path / "folders" / "Ebay_test.txt").write_text(lines, encoding="utf-8")
    report = lint([tmp_path / "folders" / "Ebay_test.txt"])
    assert list(report.kinds.values()) == ["sop"]
    assert messages(report, "error") == ["Ebay_test.txt: line 4: image_id 2 was that of line 3"]


def coco(root: Path, boxes: list[list[float]], width: int = 12) -> Path:
    write_picture(root / "val2017" / "a.png", 1)
    write_picture(root / "val2017" / "b.png", 2)
    table = {
        "images": [
            {"id": 1, "file_name": "a.png", "width": width, "height": 9},
            {"id": 2, "file_name": "b.png", "width": 12, "height": 9},
        ],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": box} for box in boxes],
        "categories": [{"id": 1, "name": "can"}],
    }
    (root / "annotations").mkdir(exist_ok=True)
    path = root / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    return path


def test_boxes_that_are_empty_or_out_of_the_picture(tmp_path: Path) -> None:
    boxes = [[0, 0, 12.6, 9], [0, 0, 5, 5], [3, 3, 0, 4], [8, 2, 9, 3], [-4, 0, 6, 6]]
    report = lint([coco(tmp_path, boxes)])  # the pictures' folder is found by the file's name
    assert (report.pictures, report.labels, report.boxes) == (2, 1, 5)
    place = "instances_val2017.json: a.png"
    assert messages(report, "error") == [
        f"{place}: the box (3, 3, 3, 7) is empty",
        f"{place}: the box (8, 2, 17, 5) is out of the 12 x 9 pixels",
        f"{place}: the box (-4, 0, 2, 6) is out of the 12 x 9 pixels",
    ]
    assert messages(report, "warning") == ["instances_val2017.json: b.png: no boxes"]


def test_an_annotation_of_another_picture_size(tmp_path: Path) -> None:
    report = lint([coco(tmp_path, [[0, 0, 5, 5]], width=120)])
    assert report.findings[0] == Finding(
        "error",
        "instances_val2017.json: a.png",
        "the annotation says 120 x 9 pixels, the picture has 12 x 9",
    )


def test_voc(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.png")
    (tmp_path / "annotations").mkdir()
    box = "<xmin>1</xmin><ymin>1</ymin><xmax>30</xmax><ymax>9</ymax>"
    xml = f"<a><filename>a.png</filename><object><name>x</name><bndbox>{box}</bndbox></object></a>"
    (tmp_path / "annotations" / "a.xml").write_text(xml, encoding="utf-8")
    (tmp_path / "annotations" / "b.xml").write_text("<a><filename>b.png</filename></a>", encoding="utf-8")
    report = lint([tmp_path])
    assert list(report.kinds.values()) == ["voc"]
    assert sorted(error.split(": ", 1)[1] for error in messages(report, "error")) == [
        "a.png: the box (0, 0, 30, 9) is out of the 12 x 9 pixels",
        "b.xml: no file b.png",
    ]


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    lint([shop(tmp_path, GOOD)], progress=lambda *line: seen.append(line))
    assert seen == [("pictures checked", done, 4) for done in range(1, 5)]


def test_nothing_has_no_kind(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no file or folder"):
        kind_of(tmp_path / "nothing")
