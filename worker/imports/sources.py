"""What is imported: its lines, and what is to be had of each. Two kinds: pictures to embed, and vectors that came embedded."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

import numpy as np

from contracts.errors import ServiceError
from contracts.imports import ID_MAP_ENDINGS, kinds_of_files
from contracts.names import shown
from contracts.pictures import ENDINGS
from infra.errors.galleries import ImportRefused
from infra.errors.photos import FetchFailed
from infra.galleries import bundles
from infra.galleries.store import item_id
from infra.net.fetch import fetch
from infra.objects.store import image_key_of
from models.recognition.paddleclas import read_paddlex, read_their_gallery
from worker.imports.lines import URL, Line, LineRefused, Names, labelled, lines_of_folders, lines_of_list
from worker.imports.lists import read_list
from worker.imports.places import Archive, Folder, Place, place_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from infra.galleries.bundles import Bundle
    from infra.galleries.staging import Stage
    from infra.galleries.store import Item
    from infra.runtime.settings import Settings
    from models.recognition.paddleclas import PaddleClasItem

MOST_LINES = 1_000_000
FETCH_TRIES = 3
FIRST_PAUSE_S = 0.5
TOO_MANY_REQUESTS = 429


class Pictures(Protocol):
    """Lines whose pictures are to be embedded. `remote`: reading waits for another machine."""

    remote: bool

    def lines(self) -> list[Line]:
        """All of them. Raises ImportRefused."""

    def read(self, line: Line) -> bytes:
        """The picture of a line. Raises LineRefused."""


@dataclass(frozen=True)
class Made:
    """An item that came with its vector, and its picture if that came too."""

    item: Item
    embedding: NDArray[np.float32]  # (D,)
    view: NDArray[np.float32] | None
    features: bytes
    picture: bytes | None


@dataclass(frozen=True)
class Listed:
    """Pictures of a place, by its folders or by a list."""

    place: Place | None
    entries: bytes | None
    delimiter: str | None
    settings: Settings
    remote: bool

    def lines(self) -> list[Line]:
        if self.entries is None:
            return limited(lines_of_folders(self.place.names() if self.place else ()))
        names = None if self.place is None else self.place.names()
        return limited(lines_of_list(read_list(self.entries, self.delimiter), names))

    def read(self, line: Line) -> bytes:
        most = self.settings.web.max_body_bytes
        if URL.match(line.at):
            return self._fetched(line.at, most)
        if self.place is None:
            raise LineRefused("picture_missing", "There is no such file among those that came with it.")
        return self.place.read(line.at, most)

    def _fetched(self, url: str, most: int) -> bytes:
        web = self.settings.web
        for left in reversed(range(FETCH_TRIES)):
            try:
                return fetch(url, timeout_s=web.url_timeout_s, max_bytes=most, allowed=web.allowed_hosts)
            except ServiceError as error:
                if not left or not _passing(error):
                    raise LineRefused(error.code, error.detail, retryable=error.retryable) from None
                time.sleep(FIRST_PAUSE_S * (FETCH_TRIES - left))
        raise AssertionError("the last try returns or raises")


@dataclass(frozen=True)
class Index:
    """A PaddleClas or PaddleX index, with its pictures or without."""

    entries: Sequence[PaddleClasItem]
    rows: NDArray[np.float32]  # (N, D)
    place: Place | None
    most: int

    def lines(self) -> list[Line]:
        known = None if self.place is None else Names(self.place.names())
        return limited(self._line(row, entry, known) for row, entry in enumerate(self.entries))

    def _line(self, row: int, entry: PaddleClasItem, known: Names | None) -> Line:
        line = labelled(Line(row + 1, shown(entry.path or f"entry {entry.id}"), entry.label, row=row))
        if line.code or known is None or not entry.path:
            return line
        name = known.find(entry.path)
        if name is None:
            return line.refused("picture_missing", "There is no such file among those that came with it.")
        return replace(line, at=name)

    def stand_ins(self) -> set[str]:
        """The digests that its items have where their pictures did not come."""
        return {entry.stand_in(row) for entry, row in zip(self.entries, self.rows, strict=True)}

    def made(self, line: Line, item: Item) -> Made:
        """What the index has of a line; `item` has what all items share. Raises LineRefused."""
        row = self.rows[line.row or 0]
        entry = self.entries[line.row or 0]
        data = self.place.read(line.at, self.most) if self.place is not None and line.at else None
        # Where the picture of an item that came without it would be, there is none.
        sha256 = entry.stand_in(row) if data is None else hashlib.sha256(data).hexdigest()
        known = replace(
            item, id=item_id(sha256, line.label), label=line.label, sha256=sha256, image_key=image_key_of(sha256)
        )
        return Made(known, row, None, b"", data)


@dataclass(frozen=True)
class Carried:
    """A gallery that `shitu gallery export` wrote."""

    bundle: Bundle
    file: zipfile.ZipFile

    def lines(self) -> list[Line]:
        items = enumerate(self.bundle.items)
        return limited(labelled(Line(row + 1, item.id, item.label, row=row)) for row, item in items)

    def made(self, line: Line, item: Item) -> Made:
        """What the bundle has of a line; `item` is when it is added. Raises LineRefused."""
        row, bundle = line.row or 0, self.bundle
        theirs = bundle.items[row]
        try:
            data = bundles.picture(self.file, theirs)
        except ImportRefused as error:
            raise LineRefused(error.code, error.detail) from None
        known = replace(
            theirs,
            id=item_id(theirs.sha256, line.label, theirs.box),  # the one in the file is of the label as it was then
            label=line.label,
            image_key=image_key_of(theirs.sha256),
            added_at=item.added_at,
        )
        view = None if bundle.views is None else bundle.views[row]
        features = b"" if bundle.features is None else bundle.features[row]
        return Made(known, bundle.embeddings[row], view, features, data)


Source = Listed | Index | Carried


@contextmanager
def opened_files(
    names: Sequence[str], paths: Sequence[Path], delimiter: str | None, settings: Settings, root: Path | None = None
) -> Iterator[Source]:
    """What the files are together; `root`: where a list's or an index's paths begin, without an archive. Raises ImportRefused."""
    try:
        kinds = kinds_of_files(names)
    except ValueError as error:
        raise ImportRefused(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
    with contextlib.ExitStack() as stack:
        archive: Place | None = None if root is None else Folder(root, [Path("/")])
        if "archive" in kinds:
            path = paths[kinds["archive"]]
            if len(kinds) == 1 and is_bundle(path):
                file = stack.enter_context(bundles.opened(path))
                yield Carried(bundles.read(file), file)
                return
            archive = Archive(stack.enter_context(_zip(path)))
        if "index" in kinds:
            index, id_map = paths[kinds["index"]].read_bytes(), paths[kinds["id_map"]].read_bytes()
            yield _index(index, id_map, names[kinds["id_map"]], archive, settings, delimiter)
        elif "list" in kinds:
            yield Listed(archive, paths[kinds["list"]].read_bytes(), delimiter, settings, remote=True)
        else:
            assert archive is not None  # noqa: S101 - one of the four kinds is there
            yield _of_place(archive, None, delimiter, settings, remote=False)


@contextmanager
def opened_source(source: str, list_name: str | None, delimiter: str | None, settings: Settings) -> Iterator[Source]:
    """A folder or bucket that a client names. Raises ImportForbidden, ImportRefused, StorageUnavailable."""
    place = place_of(source, settings.galleries.import_roots, settings.objects)
    yield _of_place(place, list_name, delimiter, settings, remote=source.startswith("s3:"))


@contextmanager
def opened_place(source: str, list_name: str | None, delimiter: str | None, settings: Settings) -> Iterator[Source]:
    """The same for who runs the command on this machine, and may read what they may read."""
    roots = [source] if source.startswith("s3:") else ["/"]
    place = place_of(source, roots, settings.objects)
    yield _of_place(place, list_name, delimiter, settings, remote=source.startswith("s3:"))


@contextmanager
def opened_stage(
    stage: Stage, files: Sequence[dict[str, object]], delimiter: str | None, settings: Settings
) -> Iterator[Source]:
    """The files that were sent with a request. Raises ImportRefused."""
    with tempfile.TemporaryDirectory(prefix="shitu-import-") as folder:
        paths = []
        for number, about in enumerate(files):
            path, digest = Path(folder) / str(number), hashlib.sha256()
            with path.open("wb") as file:
                for part in stage.parts(number):
                    file.write(part)
                    digest.update(part)
            if digest.hexdigest() != about["sha256"]:
                raise ImportRefused("What was sent is not there whole any more; send it again.")
            paths.append(path)
        with opened_files([str(about["name"]) for about in files], paths, delimiter, settings) as source:
            yield source


def limited(lines: Iterator[Line]) -> list[Line]:
    """The lines. Raises ImportRefused for none, and for too many."""
    found: list[Line] = []
    for line in lines:
        if len(found) == MOST_LINES:
            raise ImportRefused(f"An import takes at most {MOST_LINES} lines; do it in several.")
        found.append(line)
    if not found:
        raise ImportRefused("There is no picture and no line in it.")
    return found


def _of_place(
    place: Place, list_name: str | None, delimiter: str | None, settings: Settings, *, remote: bool
) -> Source:
    most = settings.galleries.import_max_bytes
    if list_name is not None:
        found = Names(place.names()).find(list_name)
        if found is None:
            raise ImportRefused(f"There is no list {list_name!r} in it.")
        return Listed(place, _whole(place, found, most), delimiter, settings, remote)
    names = list(place.names())
    index = [name for name in names if name.rpartition("/")[2] == "vector.index"]
    if len(index) == 1:
        folder = index[0].removesuffix("vector.index")
        maps = [name for name in names if name.startswith(folder) and name[len(folder) :] in _ID_MAPS]
        if maps:
            if not any(PurePosixPath(name).suffix.lower() in ENDINGS for name in names):
                return _index(
                    _whole(place, index[0], most), _whole(place, maps[0], most), maps[0], None, settings, delimiter
                )
            return _index(
                _whole(place, index[0], most), _whole(place, maps[0], most), maps[0], place, settings, delimiter
            )
    return Listed(place, None, delimiter, settings, remote)


_ID_MAPS = {f"{stem}{ending}" for stem in ("id_map", "index_info") for ending in ID_MAP_ENDINGS}


def _whole(place: Place, name: str, most: int) -> bytes:
    try:
        return place.read(name, most)
    except LineRefused as error:
        raise ImportRefused(f"{shown(name)}: {error.message}") from None


def _index(
    index: bytes, id_map: bytes, map_name: str, place: Place | None, settings: Settings, delimiter: str | None
) -> Index | Listed:
    """An index; of binary codes no embedding can be had back, so their pictures are embedded again, as of a list."""
    with tempfile.TemporaryDirectory(prefix="shitu-index-") as folder:
        (Path(folder) / "vector.index").write_bytes(index)
        pickled = map_name.lower().endswith(".pkl")
        (Path(folder) / ("id_map.pkl" if pickled else "id_map.yaml")).write_bytes(id_map)
        if pickled:
            entries, found = read_their_gallery(Path(folder), delimiter)
            if found.distance == "hamming":
                if place is None:
                    raise ImportRefused(
                        "The index holds binary codes (dist_type hamming), of which no embedding can be had back: send its pictures with it."
                    )
                listed = "".join(f"{entry.path}\t{entry.label}\n" for entry in entries)
                return Listed(place, listed.encode("utf-8", "surrogatepass"), "\t", settings, remote=False)
            rows = found.rows
        else:
            entries, rows = read_paddlex(Path(folder))
    return Index(entries, rows, place, settings.web.max_body_bytes)


def is_bundle(path: Path) -> bool:
    """Whether a file says of itself that `shitu gallery export` wrote it, or has lost what said so."""
    try:
        with zipfile.ZipFile(path) as file:
            if {bundles.ITEMS, bundles.EMBEDDINGS} & file.NameToInfo.keys():
                return True
            member = file.NameToInfo.get(bundles.MANIFEST)
            if member is None or member.file_size > bundles.MOST_MANIFEST_BYTES:
                return False
            about = json.loads(file.read(member))
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError, EOFError):
        return False
    return isinstance(about, dict) and about.get("kind") == bundles.KIND


@contextmanager
def _zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        file = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise ImportRefused("The zip cannot be read: it is damaged, or no zip.") from error
    with file:
        yield file


def _passing(error: ServiceError) -> bool:
    """Whether the same fetch may go well a moment later."""
    if not error.retryable:
        return False
    status = error.extra.get("status") if isinstance(error, FetchFailed) else None
    return not isinstance(status, int) or status == TOO_MANY_REQUESTS or status >= 500
