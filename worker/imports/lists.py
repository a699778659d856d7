"""List files as people have them: path or URL, and label, in any encoding and with any delimiter.

Theirs of PaddleClas are `path label` or `path<tab>label`, with further columns that nobody needs here; a spreadsheet's is
CSV with quotes, often with a first row of names, from Windows with a byte-order mark, or in GBK.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts.names import decode_name
from contracts.pictures import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

QUOTED = ",;"  # delimiters of spreadsheets, which quote
TRIED = "\t,;|"
LOOKED_AT = 200  # lines, to find the delimiter
LEAST_SHARE = 0.8  # of them that have it
FILES = {
    "path",
    "file",
    "filename",
    "file_name",
    "image",
    "image_path",
    "img",
    "img_path",
    "picture",
    "photo",
    "url",
    "uri",
}
LABELS = {"label", "labels", "class", "class_name", "name", "product", "category"}
_AFTER_PICTURE = re.compile(
    rf"^(.+?(?:{'|'.join(re.escape(one) for one in sorted(ENDINGS))}))[ \u3000]+(.+)$", re.IGNORECASE
)


@dataclass(frozen=True)
class ListLine:
    """One line of a list that is not blank: its number from 1, what it names, and its label; None: it has no such column."""

    line: int
    source: str
    label: str | None


def read_list(data: bytes, delimiter: str | None = None) -> Iterator[ListLine]:
    """The lines of a list. `delimiter` None: tab, comma, semicolon, bar or blanks, whichever the lines have."""
    text = decoded(data)
    chosen = delimiter or found_delimiter(text)
    rows = _spreadsheet(text, chosen) if chosen in QUOTED else _plain(text, chosen)
    first, columns = True, (0, 1)
    for number, row in rows:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if first and (named := _named(cells)) is not None:
            columns, first = named, False
            continue
        first = False
        file, label = columns
        yield ListLine(number, cells[file] if file < len(cells) else "", cells[label] if label < len(cells) else None)


def decoded(data: bytes) -> str:
    """The text: by its byte-order mark, else UTF-8, else GB18030."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # what Windows' Notepad calls Unicode
        return data.decode("utf-16", "replace")
    return decode_name(data.removeprefix(codecs.BOM_UTF8))


def found_delimiter(text: str) -> str:
    """What most of the first lines have between their columns; a blank where that is nothing else."""
    lines = [line for line in text.splitlines()[:LOOKED_AT] if line.strip()]
    for one in TRIED:
        if lines and sum(one in line for line in lines) >= LEAST_SHARE * len(lines):
            return one
    return " "


def _plain(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    # A label may hold any character but LF, so nothing else ends a line.
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.removesuffix("\r").strip("\ufeff")
        if delimiter.strip(" "):
            yield number, line.split(delimiter)
        elif (found := _AFTER_PICTURE.match(line.strip())) is not None:  # a path with blanks in it
            yield number, [found[1], found[2]]
        else:
            yield number, line.strip().split(None, 1)


def _spreadsheet(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    rows = csv.reader(io.StringIO(text.replace("\x00", "\ufffd"), newline=""), delimiter=delimiter)
    while True:
        number = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:  # a cell that never ends: reported as a line without a label
            yield number, ["?"]
            continue
        yield number, row


def _named(cells: list[str]) -> tuple[int, int] | None:
    """Which columns are file and label, if this is a row of names."""
    names = [cell.lower().lstrip("\ufeff") for cell in cells]
    files = [at for at, name in enumerate(names) if name in FILES]
    labels = [at for at, name in enumerate(names) if name in LABELS and at not in files[:1]]
    return (files[0], labels[0]) if files and labels else None
