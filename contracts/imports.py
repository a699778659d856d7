"""What imports ask for and answer, as JSON: the `request` and `result` of a job, the lines of its report.

Also which files make an import together, decided by their names: the web, the worker and the command line agree on it.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, NotRequired

from typing_extensions import TypedDict

from contracts.jobs import JobError, JobState, described
from contracts.options import Crop
from contracts.results import ModelUsed
from contracts.usage import GalleryUsed

if TYPE_CHECKING:
    from collections.abc import Sequence

LIST_ENDINGS = (".csv", ".tsv", ".txt", ".list", ".lst")
ID_MAP_ENDINGS = (".pkl", ".yaml", ".yml")
LineStatus = Literal["added", "duplicate", "rejected"]
FileKind = Literal["archive", "list", "index", "id_map"]
WANTED = (
    "send a zip of pictures in a folder for each label; a list (.csv, .tsv, .txt) of pictures and labels, with a zip of "
    "the pictures next to it if it names files; vector.index with id_map.pkl or id_map.yaml, with or without such a zip; "
    "or a file of `shitu gallery export`"
)


def kind_of_file(name: str) -> FileKind | None:
    """What a file is by its name; None: nothing that can be imported."""
    ending = PurePosixPath(name.replace("\\", "/")).suffix.lower()
    if ending == ".zip":
        return "archive"
    if ending in LIST_ENDINGS:
        return "list"
    if ending == ".index":
        return "index"
    return "id_map" if ending in ID_MAP_ENDINGS else None


def kinds_of_files(names: Sequence[str]) -> dict[FileKind, int]:
    """The place of each kind among the files of one import. Raises ValueError that says what belongs together."""
    found: dict[FileKind, int] = {}
    for place, name in enumerate(names):
        kind = kind_of_file(name)
        if kind is None:
            raise ValueError(f"{name!r} is none of the files that can be imported: {WANTED}")
        if kind in found:
            raise ValueError(f"{names[found[kind]]!r} and {name!r} are two of a kind; an import takes one of each")
        found[kind] = place
    if ("index" in found) != ("id_map" in found):
        raise ValueError("vector.index and id_map.pkl (or id_map.yaml) belong together: send both")
    if "index" in found and "list" in found:
        raise ValueError("an index and a list are two imports")
    if not found:
        raise ValueError(f"there is no file; {WANTED}")
    return found


@described
class ImportFile(TypedDict):
    """One file of the request."""

    name: str
    bytes: int
    sha256: str


@described
class ImportJobRequest(TypedDict):
    """What was requested: either `files` or `source`."""

    gallery: str
    files: list[ImportFile]
    source: str | None
    """A folder of the workers' machines, or an s3:// place."""
    list: str | None
    """With `source`: the list in it that says which of its pictures have which labels; null: its folders say it."""
    delimiter: str | None
    """Between the columns of a list; null: it is found out."""
    crop: Crop
    activate: bool


@described
class ImportCounts(TypedDict):
    """How many lines there were, and what became of them."""

    total: int
    added: int
    duplicate: int
    rejected: int


@described
class ImportLine(TypedDict):
    """What became of one line of a list, one picture of an archive or folder, or one entry of an index."""

    line: int
    """Its number, from 1."""
    source: str
    """The path or URL."""
    label: str
    status: LineStatus
    item_id: str | None
    error: JobError | None


@described
class CheckedVectors(TypedDict):
    """Whether the vectors of an index are this service's embedder's."""

    pictures: int
    """How many pictures were embedded to see it; 0: the index came without pictures, nobody knows."""
    similarity: float | None
    """The median similarity of a picture to its own vector."""


@described
class ImportResult(TypedDict):
    """What an import did. Each line is in its report."""

    gallery: GalleryUsed
    """The version that was made, or where nothing was new the one in force."""
    activated: bool
    """Whether that version is in force; false: it is staged."""
    counts: ImportCounts
    reasons: dict[str, int]
    """How many lines were rejected, by the code of the error."""
    rejected: list[ImportLine]
    """The first hundred of the rejected lines; all are in the report."""
    checked: NotRequired[CheckedVectors]
    """Of an index."""
    models: dict[str, ModelUsed | None]


@described
class ImportJob(JobState):
    """An import. While it runs, `progress` has `done`, `total` and `rejected`."""

    request: ImportJobRequest
    result: ImportResult | None


@described
class ImportPage(TypedDict):
    """Imports, the newest first; `next_after` is the `after` of the next page, null on the last."""

    imports: list[ImportJob]
    next_after: str | None


@described
class ImportReport(TypedDict):
    """Some lines of a report, in their order."""

    lines: list[ImportLine]
    total: int
    """How many there are with this status."""
    next_after: str | None
