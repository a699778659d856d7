"""List files: what is in them, and every bad line at once."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.names import LabelRefused, clean_label
from models.training.data.photos import MOST_LISTED, DatasetError, Photo
from models.training.data.readers.lists import read_list, split_line
from tests.models.training.data.readers.pictures import write_picture


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c d.png"):
        write_picture(tmp_path / name)
    return tmp_path


def test_photos_in_their_order_with_their_labels(root: Path) -> None:
    (root / "list.tsv").write_text("b.png\t 可乐 \nc d.png\tred can\na.png\tred can\textra\n", encoding="utf-8")
    photos = read_list(root, "list.tsv")
    assert photos[0] == Photo(root / "b.png", "b.png", "可乐")
    assert [(photo.name, photo.label) for photo in photos[1:]] == [("c d.png", "red can"), ("a.png", "red can")]
    assert [photo.id for photo in photos] == ["", "", "extra"]


def test_another_delimiter(root: Path) -> None:
    (root / "list.txt").write_text("a.png, 3, 1\nb.png, 4, 1", encoding="utf-8")
    assert [photo.label for photo in read_list(root, "list.txt", ", ")] == ["3", "4"]


def test_blanks_delimit_as_paddleclas_lists_have_them(root: Path) -> None:
    (root / "two.txt").write_text("a.png 3\nb.png red can\n", encoding="utf-8")
    assert [photo.label for photo in read_list(root, "two.txt", " ")] == ["3", "red can"]
    (root / "three.txt").write_text("a.png 3 7\nb.png red can 8\n", encoding="utf-8")
    photos = read_list(root, "three.txt", " ", with_id=True)
    assert [(photo.label, photo.id) for photo in photos] == [("3", "7"), ("red can", "8")]


def test_a_list_that_is_its_own_gallery_needs_its_third_column(root: Path) -> None:
    (root / "list.txt").write_text("a.png 3 7\nb.png 3\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"1 bad line\(s\): line 2: expected path' 'label' 'id"):
        read_list(root, "list.txt", " ", with_id=True)


def test_a_mark_of_utf8_and_windows_lines_are_no_part_of_paths_and_labels(root: Path) -> None:
    (root / "list.tsv").write_bytes(b"\xef\xbb\xbfa.png\tone\r\nb.png\ttwo\r\n\r\n")
    assert [(photo.name, photo.label) for photo in read_list(root, "list.tsv")] == [("a.png", "one"), ("b.png", "two")]


def test_all_bad_lines_are_named_at_once(root: Path) -> None:
    lines = ["a.png\tgood", "b.png", "nowhere.png\tx", "", "a.png\t ", "../secret\ty", "b.png\tgood", "\0\tz"]
    (root / "list.tsv").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DatasetError) as error:
        read_list(root, "list.tsv")
    message = error.value.detail
    assert message.startswith("list.tsv: 6 bad line(s): ")
    for part in (
        "line 2: expected path", "line 3: no file nowhere.png", "line 4: expected path", "line 5: no label",
        "line 6: no file ../secret", "line 8: no file",
    ):  # fmt: skip
        assert part in message
    assert "line 1:" not in message
    assert "line 7:" not in message


def test_a_list_of_nothing_but_bad_lines_is_counted_to_the_end(root: Path) -> None:
    (root / "list.tsv").write_text("x\n" * (MOST_LISTED + 7), encoding="utf-8")
    with pytest.raises(DatasetError) as error:
        read_list(root, "list.tsv")
    assert f"{MOST_LISTED + 7} bad line(s)" in error.value.detail
    assert error.value.detail.endswith("; and 7 more")


@pytest.mark.parametrize(("content", "message"), [(b"", "names no photos"), (b"\xff\xff", "not UTF-8")])
def test_no_list_of_photos(root: Path, content: bytes, message: str) -> None:
    (root / "list.tsv").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_list(root, "list.tsv")
    with pytest.raises(DatasetError, match=r"no list file .*other\.tsv"):
        read_list(root, "other.tsv")
    with pytest.raises(DatasetError, match="delimiter"):
        read_list(root, "list.tsv", "")


@settings(deadline=None)
@given(
    labels=st.lists(st.text(min_size=1).map(str.strip).filter(bool), min_size=1, max_size=8),
    delimiter=st.sampled_from(["\t", " ", ",", ", ", ";", "|", "::", "→"]),
)
def test_any_label_without_the_delimiter_comes_back_by_the_rule(labels: list[str], delimiter: str) -> None:
    labels = [label for label in labels if "\n" not in label and (delimiter.strip(" ") == "" or delimiter not in label)]
    labels = [label for label in labels if by_the_rule(label)] or ["x"]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "p.png").write_bytes(b"")
        text = "\n".join(f"p.png{delimiter}{label}" for label in labels)
        (root / "list.txt").write_text(text, encoding="utf-8")
        assert [photo.label for photo in read_list(root, "list.txt", delimiter)] == [clean_label(one) for one in labels]


def by_the_rule(label: str) -> bool:
    try:
        return bool(clean_label(label))
    except LabelRefused:
        return False


@settings(deadline=None)
@given(st.text(), st.sampled_from(["\t", " ", ", "]), st.booleans())
def test_any_line_is_split_or_short(line: str, delimiter: str, with_id: bool) -> None:
    name, label, mark = split_line(line, delimiter, with_id=with_id)
    assert (label is None) == (delimiter not in (line if delimiter.strip(" ") else line.strip(" ")))
    assert mark == "" or label is not None
    assert name in line
