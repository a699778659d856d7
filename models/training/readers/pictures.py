"""Picture files looked at before they are needed: whole, readable, and which hold the same bytes."""

import hashlib
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from models.errors import ImageError
from models.image import decode
from models.training.photos import MOST_PIXELS, refuse_faults

Progress = Callable[[str, int, int], None]  # what, done, of


@dataclass(frozen=True)
class PictureFile:
    """A picture file as it is: its content's digest and its size, or why it can't be read."""

    digest: str
    size: tuple[int, int]  # width, height
    fault: str


def require_pictures(paths: Iterable[Path], progress: Progress | None = None, threads: int = 1) -> None:
    """Raises one DatasetError that names every file that is missing, cut short or no picture."""
    found = look_at(paths, progress, threads)
    refuse_faults("data", [f"{path}: {file.fault}" for path, file in found.items() if file.fault], "bad picture(s)")


def look_at(paths: Iterable[Path], progress: Progress | None = None, threads: int = 1) -> dict[Path, PictureFile]:
    """Decode every picture once, `threads` at a time; in sorted order."""
    wanted = sorted(set(paths))
    found: dict[Path, PictureFile] = {}
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is MOST_PIXELS
        for path, file in zip(wanted, pool.map(_look, wanted), strict=True):
            found[path] = file
            if progress is not None:
                progress("pictures looked at", len(found), len(wanted))
    return found


def _look(path: Path) -> PictureFile:
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
