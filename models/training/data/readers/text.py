"""Text files as data sets have them: UTF-8 with or without a mark, or UTF-16 with one; lines by LF or CRLF only."""

import codecs
from pathlib import Path

from contracts.names import shown
from models.training.data.photos import DatasetError


def read_lines(path: Path) -> list[str]:
    """The lines of a file, blank ones at its end left out. A label may hold any character but LF, so nothing else ends a line.

    Raises DatasetError for a missing file or another encoding.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"no list file {shown(path)}") from error
    utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # what Windows' Notepad calls Unicode
    try:
        text = data.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        kind = "UTF-16" if utf_16 else "UTF-8"
        raise DatasetError(f"{shown(path.name)} is not {kind} text (byte {error.start}); save it in UTF-8") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines
