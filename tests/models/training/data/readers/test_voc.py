"""VOC XML: boxes from 0 with the end excluded, every bad file named, and no document types."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.training.data.photos import DatasetError
from models.training.data.readers.voc import parse_xml, read_voc
from tests.models.training.data.readers.pictures import write_picture

SIZE = "<size><width>12</width><height>9</height><depth>3</depth></size>"


def thing(box: str, name: str = "瓶") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=True)
    inner = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return f"<object><name>{name}</name><bndbox>{inner}</bndbox></object>"


def write(root: Path, name: str, inner: str, before: str = "") -> None:
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / name).write_text(f"{before}<annotation>{inner}</annotation>", encoding="utf-8")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.png", "b.png")):
        write_picture(tmp_path / "images" / name, number)
    write(tmp_path, "a.xml", f"<filename>a.png</filename>{SIZE}{thing('1 1 12 9')}{thing('3.5 2 4 5', 'can')}")
    write(tmp_path, "b.xml", "<filename> b.png </filename>")
    return tmp_path


def test_boxes_are_from_0_with_the_end_excluded(root: Path) -> None:
    first, second = read_voc(root)
    assert (first.path, first.width, first.height) == (root / "images" / "a.png", 12, 9)
    np.testing.assert_array_equal(first.boxes, [[0, 0, 12, 9], [2.5, 1, 4, 5]])
    assert first.categories == ("瓶", "can")
    assert not first.crowd.any()
    assert (second.name, second.width, second.boxes.shape) == ("b.png", 0, (0, 4))


def test_all_bad_files_are_named_at_once(root: Path) -> None:
    write(root, "c.xml", "<filename>gone.png</filename>")
    write(root, "d.xml", "<filename>a.png</filename>" + thing("1 1 x 9"))
    write(root, "e.xml", "<filename>a.png</filename><object><bndbox><xmin>1</xmin></bndbox></object>")
    write(root, "f.xml", "")
    write(root, "g.xml", "<filename>a.png")
    write(root, "h.xml", "<filename>b.png</filename>" + thing("5 5 4 9"))
    write(root, "i.xml", "<filename>a.png</filename>" + thing("1 1 nan 9"))
    with pytest.raises(DatasetError) as error:
        read_voc(root)
    message = error.value.detail
    assert "7 bad annotation(s)" in message
    for part in (
        "c.xml: no file gone.png", "d.xml: xmax is 'x', no number", "e.xml: ymin is '', no number",
        "f.xml: no filename", "g.xml: is not XML", "b.png: an empty box", "i.xml: xmax is nan",
    ):  # fmt: skip
        assert part in message


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;">]>'
THIEF = '<!DOCTYPE a [<!ENTITY d SYSTEM "file:///etc/hostname">]>'


@pytest.mark.parametrize("before", [BOMB, THIEF, '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">'])
def test_a_document_type_is_refused(root: Path, before: str) -> None:
    write(root, "z.xml", "<filename>&d;</filename>", before)
    with pytest.raises(DatasetError, match=r"z\.xml: has a document type"):
        read_voc(root)


def test_no_annotations(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no annotations/\*\.xml"):
        read_voc(tmp_path)


@settings(deadline=None)
@given(st.binary() | st.text(alphabet="<>&/a1!?[]\"' =DOCTYPE", max_size=60).map(str.encode))
def test_any_bytes_are_an_element_or_one_error(data: bytes) -> None:
    with contextlib.suppress(DatasetError):
        assert isinstance(parse_xml(data).tag, str)
