"""Lists as people have them: delimiters, encodings, columns, rows of names, and paths of other machines."""

from __future__ import annotations

import pytest

from worker.imports.lines import Line, Names, lines_of_folders, lines_of_list
from worker.imports.lists import read_list

TWO = [(1, "a/1.jpg", "cola"), (2, "a/2.jpg", "green tea")]


@pytest.mark.parametrize(
    "data",
    [
        b"a/1.jpg\tcola\na/2.jpg\tgreen tea\n",
        b"a/1.jpg,cola\na/2.jpg,green tea",
        b'"a/1.jpg";"cola"\r\n"a/2.jpg";"green tea"\r\n',
        b"a/1.jpg|cola\na/2.jpg|green tea\n",
        b"a/1.jpg cola\na/2.jpg green tea\n",
        b"a/1.jpg\tcola\t17\na/2.jpg\tgreen tea\t18\n",
        b"\xef\xbb\xbfa/1.jpg\tcola\na/2.jpg\tgreen tea\n",
        "a/1.jpg\tcola\na/2.jpg\tgreen tea\n".encode("utf-16"),
    ],
    ids=["tab", "comma", "quotes", "bar", "blank", "third column", "mark", "utf-16"],
)
def test_lists_in_all_forms_are_read(data: bytes) -> None:
    assert [(one.line, one.source, one.label) for one in read_list(data)] == TWO


@pytest.mark.parametrize(
    ("data", "delimiter", "expected"),
    [
        (
            b"label,url\ncola,http://x/1\n\n,\ntea,http://x/2\n",
            None,
            [(2, "http://x/1", "cola"), (5, "http://x/2", "tea")],
        ),
        (b'path,label\n"a, b.jpg","cola ""zero"""\n', None, [(2, "a, b.jpg", 'cola "zero"')]),
        ("图/1.jpg 可乐\n".encode("gbk"), None, [(1, "图/1.jpg", "可乐")]),
        (b"my photos/1 a.JPG red wine\n", None, [(1, "my photos/1 a.JPG", "red wine")]),
        (b"1.jpg::cola\n2.jpg\n", "::", [(1, "1.jpg", "cola"), (2, "2.jpg", None)]),
        (b"", None, []),
    ],
    ids=["names of columns", "quoted", "gbk", "path with blanks", "given", "empty"],
)
def test_odd_lists_are_read(data: bytes, delimiter: str | None, expected: list[tuple[int, str, str | None]]) -> None:
    assert [(one.line, one.source, one.label) for one in read_list(data, delimiter)] == expected


def listed(data: bytes, names: list[str] | None) -> list[Line]:
    return list(lines_of_list(read_list(data), names))


def test_a_bad_line_does_not_refuse_the_rest() -> None:
    data = b"a\\1.jpg\tcola\nno.jpg\ttea\nx.jpg\n\tmilk\na/1.jpg\tbad\x07\nhttp://x/1.jpg\twine\n../../etc/1.jpg\tout\n"
    found = listed(data, ["a/1.jpg"])
    assert [line.code for line in found] == [
        "", "picture_missing", "label_missing", "list_line_invalid", "label_invalid", "", "picture_missing",
    ]  # fmt: skip
    assert (found[0].at, found[5].at) == ("a/1.jpg", "http://x/1.jpg")
    assert [line.code for line in listed(data, None)][:2] == ["picture_missing"] * 2


def test_paths_of_another_machine_and_of_a_packed_folder_are_found() -> None:
    names = Names(["drinks/a/1.jpg", "drinks/list.txt"])
    for path in (
        "a/1.jpg",
        "./a/1.jpg",
        "a\\1.jpg",
        "drinks/a/1.jpg",
        "D:\\data\\drinks\\a\\1.jpg",
        "/home/me/a/1.jpg",
    ):
        assert names.find(path) == "drinks/a/1.jpg", path
    assert names.find("b/1.jpg") is None
    assert Names(["1.jpg", "a/2.jpg"]).find("/home/me/other/1.jpg") is None  # another picture of the same name


def test_pictures_in_folders_have_the_names_of_their_folders() -> None:
    names = ["d/cola/1.jpg", "__MACOSX/d/._1.jpg", "d/readme.txt", "d/tea/x.doc", "loose.png", "d/.hidden/1.jpg"]
    found = list(lines_of_folders(names))
    assert [(line.source, line.label, line.code) for line in found] == [
        ("d/cola/1.jpg", "cola", ""), ("d/tea/x.doc", "tea", "not_a_picture"), ("loose.png", "", "label_missing"),
    ]  # fmt: skip
