"""A list file where a folder of labelled pictures is meant: lines of a path and a label, as PaddleClas' galleries have them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from contracts.names import LabelRefused, clean_label, shown, spellings

if TYPE_CHECKING:
    from shitu.cli.searched import Passed


def listed_photos(file: Path, passed: Passed) -> list[tuple[Path, str]]:
    """The pictures of a list's lines, and their labels; paths are relative to the list's folder.

    Any delimiter and encoding, further columns, a byte-order mark, Windows' separators (worker.imports.lists). A line
    that can't be used is counted in `passed`. Raises ClickException if none can be.
    """
    from worker.imports.lists import read_list

    try:
        data = file.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{shown(file)}: {error.strerror}") from error
    found = []
    for line in read_list(data):
        place = Path(f"{file}:{line.line}")
        if line.label is None:
            passed.refuse(place, "the line has no label", "without a label")
            continue
        try:
            label = clean_label(line.label)
        except LabelRefused as error:
            passed.refuse(place, f"{error} (label_invalid)", "label_invalid")
            continue
        path = _on_disk(file.parent, line.source)
        if path is None:
            passed.refuse(place, f"there is no file {shown(line.source)} (image_not_found)", "image_not_found")
            continue
        found.append((path, label))
    if not found:
        raise click.ClickException(f"{shown(file)} is no list of pictures: none of its lines names a file and a label")
    return found


def _on_disk(folder: Path, written: str) -> Path | None:
    for way in spellings(written):
        try:
            if (folder / way).is_file():
                return folder / way
        except (OSError, ValueError):  # a name that no file system takes
            continue
    return None
