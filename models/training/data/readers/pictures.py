"""Picture files checked before they are needed, in full or at a glance: whole, readable, and which hold the same bytes."""

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from contracts.names import shown
from contracts.pictures import PictureRefusedError, look
from models.errors import ImageError
from models.pictures.image import decode
from models.training.data.photos import MOST_PIXELS, refuse_faults

Progress = Callable[[str, int, int], None]  # what, done, of
Found = TypeVar("Found")
AT_ONCE = 1024  # files waiting for a thread: a million of them would fill the memory
HEAD_BYTES = 1024 * 1024  # more than a camera writes before its picture
ENDINGS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82", "GIF": b";"}  # of whole files, by the formats' specifications


@dataclass(frozen=True)
class PictureFile:
    """A picture file as it is: its content's digest and its size, or why it can't be read."""

    digest: str
    size: tuple[int, int]  # width, height
    fault: str


def require_pictures(paths: Iterable[Path], progress: Progress | None = None, threads: int = 1) -> None:
    """Raises one DatasetError that names every file that is missing, cut short or no picture. Decodes them all."""
    found = checked(paths, progress, threads)
    _refuse({path: file.fault for path, file in found.items()})


def require_files(paths: Iterable[Path], progress: Progress | None = None, threads: int = 1) -> None:
    """As `require_pictures`, by each file's header and end alone: for sets of which the pictures are too many to decode.

    What begins as a JPEG, PNG or GIF picture and ends as one is taken for whole: damage in its middle is only found when
    it is read. Whatever else there is, is decoded.
    """
    _refuse(_each(_glance, paths, progress, threads))


def faults_of(paths: Iterable[Path], progress: Progress | None = None, threads: int = 1) -> dict[Path, str]:
    """What `require_files` would refuse, and why."""
    return {path: fault for path, fault in _each(_glance, paths, progress, threads).items() if fault}


def checked(paths: Iterable[Path], progress: Progress | None = None, threads: int = 1) -> dict[Path, PictureFile]:
    """Decode every picture once, `threads` at a time; in sorted order."""
    return _each(_check, paths, progress, threads)


def _each(
    look: Callable[[Path], Found], paths: Iterable[Path], progress: Progress | None, threads: int
) -> dict[Path, Found]:
    """What `look` finds of every file, in sorted order."""
    wanted = sorted(set(paths))
    found: dict[Path, Found] = {}
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            for path, file in zip(some, pool.map(look, some), strict=True):
                found[path] = file
                if progress is not None:
                    progress("pictures checked", len(found), len(wanted))
    return found


def _refuse(faults: dict[Path, str]) -> None:
    refuse_faults("data", [f"{shown(path)}: {fault}" for path, fault in faults.items() if fault], "bad picture(s)")


def _check(path: Path) -> PictureFile:
    try:
        data = path.read_bytes()
    except OSError as error:
        return PictureFile("", (0, 0), f"can't be read: {error.strerror}")
    digest = hashlib.sha256(data).hexdigest()
    try:
        height, width = decode(data, max_pixels=MOST_PIXELS, min_side_px=1).shape[:2]
    except ImageError as error:
        return PictureFile(digest, (0, 0), error.detail)
    return PictureFile(digest, (width, height), "")


def _glance(path: Path) -> str:
    """What is wrong with the file; empty where nothing seems to be."""
    try:
        whole = _seems_whole(path)
    except Exception:  # broken data makes Pillow raise whatever its parser stumbled over; decoding finds out what it is
        whole = False
    return "" if whole else _check(path).fault


def _seems_whole(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            seen = look(file.read(HEAD_BYTES))
        except PictureRefusedError:
            return False
        ending = ENDINGS.get(seen.format, b"")
        file.seek(-max(1, len(ending)), os.SEEK_END)
        return bool(ending) and file.read() == ending and seen.width * seen.height <= MOST_PIXELS
