"""The lines of an import: each picture that it names, by the line of a list, its place in an archive, or an entry of an index."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from contracts.names import LabelRefused, clean_label, is_clutter, readable_label, shown, spellings
from contracts.pictures import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from worker.imports.lists import ListLine

URL = re.compile(r"https?://", re.IGNORECASE)
_ABSOLUTE = re.compile(r"^(?:[A-Za-z]:)?[\\/]")
SIDECARS = frozenset(
    (".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".html", ".log", ".ini",
     ".index", ".pkl", ".npy", ".bin")
)  # fmt: skip


class LineRefused(Exception):  # noqa: N818 - it says what happened to the line
    """One line cannot be used, the others can."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code, self.message, self.retryable = code, message, retryable


@dataclass(frozen=True)
class Line:
    """A line that may be used (`at`: the name or URL to read, or the row of an index), or one that is refused already."""

    line: int
    source: str  # as it is shown
    label: str
    at: str = ""
    row: int | None = None
    code: str = ""
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For the plan."""
        return asdict(self)

    def refused(self, code: str, message: str) -> Line:
        """The same line, which cannot be used."""
        return Line(self.line, self.source, self.label, code=code, message=message)


def lines_of_folders(names: Iterable[str]) -> Iterator[Line]:
    """A line for each picture, under the name of its folder; what systems leave there is passed over."""
    number = 0
    for name in names:
        path = PurePosixPath(name)
        ending = path.suffix.lower()
        if is_clutter(path.parts) or ending in SIDECARS:
            continue
        number += 1
        label = path.parts[-2] if len(path.parts) > 1 else ""
        line = labelled(Line(number, shown(name), label, name))
        if ending not in ENDINGS:
            line = line.refused("not_a_picture", "It is no picture by its name.")
        elif not label:
            line = line.refused("label_missing", "It lies in no folder that names its label.")
        yield line


def lines_of_list(entries: Iterable[ListLine], names: Iterable[str] | None) -> Iterator[Line]:
    """A line for each of a list; `names` are the files that may be meant, None: none came with it."""
    known = None if names is None else Names(names)
    for entry in entries:
        line = Line(entry.line, shown(entry.source), entry.label or "", entry.source)
        if not entry.source:
            yield line.refused("list_line_invalid", "The line names no picture: expected a path or URL, and a label.")
        elif entry.label is None or not entry.label:
            yield line.refused("label_missing", "The line has no label: expected a path or URL, and a label.")
        elif URL.match(entry.source):
            yield labelled(line)
        else:
            yield labelled(_found(line, entry.source, known))


def labelled(line: Line) -> Line:
    """The line with its label by the rule, or refused."""
    if line.code:
        return line
    try:
        label = clean_label(line.label)
    except LabelRefused as error:
        report = Line(line.line, line.source, readable_label(line.label) if line.label else "", line.at, line.row)
        return report.refused("label_invalid", f"{str(error)[:1].upper()}{str(error)[1:]}.")
    return Line(line.line, line.source, label, line.at, line.row)


def _found(line: Line, path: str, known: Names | None) -> Line:
    if known is None:
        report = "It names a file, and none came with the list; send a zip of them with it, or name URLs."
        return line.refused("picture_missing", report)
    name = known.find(path)
    if name is None:
        return line.refused("picture_missing", "There is no such file among those that came with it.")
    return Line(line.line, line.source, line.label, name)


class Names:
    """The files of a place, to be found as lists name them: in any spelling, below a folder that holds everything, absolute."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        tops = {name.partition("/")[0] for name in self._names if not is_clutter(name.split("/"))}
        single = next(iter(tops)) if len(tops) == 1 else ""
        self._top = f"{single}/" if single and single not in self._names else ""

    def find(self, path: str) -> str | None:
        """The name of the file that a list calls `path`."""
        for way in spellings(path.strip()):
            written = way.removeprefix("./")
            for name in (written, self._top + written):
                if name in self._names:
                    return name
            if _ABSOLUTE.match(way):
                # Of another machine: what is below the folder that was sent is the longest end that is there.
                parts = [part for part in re.split(r"[\\/]", way) if part and not part.endswith(":")]
                for start in range(len(parts) - 1):
                    ending = "/".join(parts[start:])
                    if ending in self._names or self._top + ending in self._names:
                        return ending if ending in self._names else self._top + ending
        return None
