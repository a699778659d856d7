"""Names, labels and lists as old browsers, archives, phones and Windows write them; all made here, by code."""

import codecs
import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from werkzeug.http import parse_options_header

from contracts.names import shown, spellings
from models.classifier import read_class_map
from models.errors import ArtifactError
from models.recognition.paddleclas import _item
from models.training.data.photos import DatasetError
from models.training.data.readers.coco import parse_coco
from models.training.data.readers.lists import parse_list, read_list
from models.training.data.readers.voc import parse_voc
from shitu.cli.main import main
from shitu.cli.searched import Passed, found_photos, labelled_photos
from tests.web.pictures import picture
from web.requests.multipart import LenientDecoder

NFC, NFD = "caf\u00e9", "cafe\u0301"
GBK = "可乐".encode("gbk")


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (b'filename="' + GBK + b'.jpg"', "可乐.jpg"),
        (b"filename=" + GBK + b".jpg", "可乐.jpg"),
        (b"filename=my photo.jpg", "my photo.jpg"),
        (b"filename*=UTF-8''%E5%8F%AF%E4%B9%90.jpg", "可乐.jpg"),
        (b"filename*=GBK''%BF%C9%C0%D6.jpg", "可乐.jpg"),
        (b"filename*=utf-8''%BF%C9%C0%D6.jpg", "可乐.jpg"),  # a charset that is not true
        (b"filename*=no-such''%BF%C9%C0%D6.jpg", "可乐.jpg"),
        (b"filename=\"x.jpg\"; filename*=GB18030'zh'%BF%C9.jpg", "可.jpg"),
        (b"filename*=ISO-8859-1''caf%E9.jpg", "caf\u00e9.jpg"),
        (b'filename="=?gbk?B?v8nA1i5qcGc=?="', "可乐.jpg"),
        (b'filename="=?UTF-8?Q?caf=C3=A9_?= =?utf-8?b?MS5qcGc=?="', "caf\u00e9 1.jpg"),
        (b'filename="=?UTF-8?B?!?="', "=?UTF-8?B?!?="),
        (b'filename="C:\\photos\\new\\1.jpg"', "C:\\photos\\new\\1.jpg"),
        (b'filename="a\\"b%22.jpg"', 'a"b".jpg'),
        (b'filename="a;b=c.jpg"', "a;b=c.jpg"),
        (b'filename=""', ""),
        (b"filename*0=ab; filename*1=c.jpg", "abc.jpg"),
    ],
)  # fmt: skip
def test_a_forms_file_keeps_its_name(sent: bytes, name: str) -> None:
    headers = LenientDecoder(b"b")._parse_headers(b'Content-Disposition: form-data; name="images"; ' + sent)
    kind, parameters = parse_options_header(headers["Content-Disposition"])
    assert (kind, parameters) == ("form-data", {"name": "images", "filename": name})


def test_a_part_without_a_file_stays_one() -> None:
    headers = LenientDecoder(b"b")._parse_headers(b'Content-Disposition: form-data; name="a; filename=\\"b\\""')
    assert parse_options_header(headers["Content-Disposition"])[1] == {"name": 'a; filename="b"'}


def test_what_is_shown_does_nothing_to_a_terminal() -> None:
    assert shown("a\x1b[31m\n\u202egpj.exe\udcbf") == r"a\x1b[31m\n\u202egpj.exe\xbf"
    assert shown(NFD) == NFD
    assert shown("te\u200ba") == r"te\u200ba"
    answer = CliRunner().invoke(main, ["gallery", "add", "no\x1b[31m\udcbf", "--gallery", "x"])
    assert answer.exit_code == 2
    assert "\x1b" not in answer.stderr
    assert r"no\x1b[31m" in answer.stderr


def test_a_path_may_stand_on_the_disk_in_another_form() -> None:
    assert spellings("tea/1.jpg") == ("tea/1.jpg",)
    assert {f"{NFC}/1.jpg", f"{NFD}/1.jpg"} < set(spellings(f"{NFD}\\1.jpg"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, name in enumerate((f"{NFD}/1.jpg", f"{NFC}/2.jpg", "tea/3.jpg")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(picture(seed=number))
    return tmp_path


@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: text.encode("utf-8-sig"),
        lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
        lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    ],
    ids=["utf-8", "utf-8 with a mark", "utf-16 LE", "utf-16 BE"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_of_another_system_is_read(photos: Path, encode: Callable[[str], bytes], end: str) -> None:
    lines = [f"{NFC}/1.jpg\t{NFD}\t7", f"{NFD}\\2.jpg\t {NFC} ", "tea\\3.jpg\ttea"]
    (photos / "list.txt").write_bytes(encode(end.join([*lines, ""])))
    found = read_list(photos, "list.txt")
    assert [photo.label for photo in found] == [NFC, NFC, "tea"]
    assert all(photo.path.is_file() for photo in found)
    assert found[0].id == "7"


def test_a_list_in_gbk_is_refused_by_name_and_bad_lines_are_shown(photos: Path) -> None:
    (photos / "list.txt").write_bytes(b"tea/3.jpg\t" + GBK)
    with pytest.raises(DatasetError, match=r"list\.txt is not UTF-8 text .*; save it in UTF-8"):
        read_list(photos, "list.txt")
    (photos / "list.txt").write_text("tea/\x1b3.jpg\ttea\ntea/3.jpg\tte\u200ba\n" + "x" * 5000 + "\ta\n")
    _, faults = parse_list(photos, "list.txt")
    assert faults[0] == r"line 1: no file tea/\x1b3.jpg"
    assert "U+200B" in faults[1]
    assert len(faults) == 3


def test_categories_are_labels_by_the_rule(photos: Path) -> None:
    kinds = [{"id": 1, "name": f" {NFD}"}, {"id": 2, "name": "te\u200ba"}, {"id": 3}]
    notes = [{"image_id": 1, "category_id": number, "bbox": [0, 0, 9, 9]} for number in (1, 2, 3)]
    table = {"images": [{"id": 1, "file_name": f"{NFC}/1.jpg"}], "annotations": notes, "categories": kinds}
    (photos / "coco.json").write_text(json.dumps(table))
    (coco,), faults = parse_coco(photos, "coco.json", ".")
    assert coco.categories == (NFC, "", "")
    assert [fault.partition(":")[0] for fault in faults] == ["categories[1]"]

    (photos / "annotations").mkdir()
    for number, name in enumerate((NFD, "te\u200ba")):
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
        text = f"<annotation><filename>{NFC}/1.jpg</filename><object><name>{name}</name>{box}</object></annotation>"
        (photos / "annotations" / f"{number}.xml").write_text(text, encoding="utf-8")
    (voc,), faults = parse_voc(photos, ".")
    assert voc.categories == (NFC,)
    assert voc.path.is_file()
    assert len(faults) == 1


def test_a_class_map_is_held_to_the_rule(tmp_path: Path) -> None:
    file = tmp_path / "map.txt"
    file.write_bytes(f"0 {NFD}\r\n1 tea\u0020\n2\n".encode("utf-8-sig"))
    assert read_class_map(file) == {0: NFC, 1: "tea", 2: ""}
    file.write_text("0 te\u2028a\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"map\.txt: line 1: a label must have no control characters"):
        read_class_map(file)


def test_nothing_of_a_folder_goes_by_in_silence(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "loose.jpg").write_bytes(picture())
    gbk = os.fsencode(photos) + b"/" + GBK
    Path(os.fsdecode(gbk)).mkdir()
    (Path(os.fsdecode(gbk)) / "1.jpg").write_bytes(picture())
    (photos / "linked").symlink_to(photos / "tea")
    (photos / "tea" / "up").symlink_to(photos)  # never followed for ever
    for clutter in ("._3.jpg", "@eaDir/3.jpg/SYNOPHOTO_THUMB_M.jpg", "desktop.ini"):
        (photos / "tea" / clutter).parent.mkdir(parents=True, exist_ok=True)
        (photos / "tea" / clutter).write_bytes(b"x")
    (photos / "tea" / "scan.pdf").write_bytes(b"%PDF-1.7")
    passed = Passed()
    found = labelled_photos(photos, passed)
    assert sorted(label for _, label in found) == [NFC, NFC, "linked", "tea"]
    assert passed.refused["without a label"] == 1
    assert passed.refused["label_invalid"] == 1
    assert passed.endings[".pdf"] >= 1
    assert passed.bad
    passed.report()
    report = capsys.readouterr().err
    assert "loose.jpg: a picture in no label's folder" in report
    assert r"\xbf\xc9\xc0\xd6/1.jpg: a label must be valid UTF-8" in report
    assert "could not be used: 1 label_invalid, 1 without a label" in report


def test_the_two_forms_of_a_label_are_one_and_a_name_of_either_is_found(photos: Path) -> None:
    assert {unicodedata.normalize("NFC", path.parent.name) for path in found_photos([photos])} == {NFC, "tea"}
    assert {label for _, label in labelled_photos(photos, Passed())} == {NFC, "tea"}


@pytest.mark.parametrize(
    ("line", "path", "label"),
    [
        ("gallery/1.jpg\tgreen tea\t7\r", "gallery/1.jpg", "green tea"),  # a third column is no part of the label
        ("\ufeffgallery/1.jpg\ttea", "gallery/1.jpg", "tea"),
        ("gallery/1.jpg green tea", "gallery/1.jpg", "green tea"),
        ("gallery/my 1.jpg\t tea ", "gallery/my 1.jpg", "tea"),
    ],
)
def test_a_line_of_paddleclas(line: str, path: str, label: str) -> None:
    item = _item(1, line, None)
    assert (item.path, item.label) == (path, label)
