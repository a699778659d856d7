"""Text files as data sets have them: UTF-8 with or without a mark, lines by LF or CRLF only."""

from pathlib import Path

from models.training.photos import DatasetError


def read_lines(path: Path) -> list[str]:
    """The lines of a file, blank ones at its end left out. A label may hold any character but LF, so nothing else ends a line.

    Raises DatasetError for a missing file or another encoding.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"no list file {path}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path.name} is not UTF-8 text (byte {error.start})") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines
