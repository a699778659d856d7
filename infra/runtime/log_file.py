"""A log file that never fails its writer: on a full or read-only disk lines are dropped, counted, and reported afterwards."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path
    from types import TracebackType


class LogFile:
    """Appends lines to `path`; a file above `max_bytes` is set aside as `….old.log`, in place of the one before.

    Nothing here raises OSError. One thread writes.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._file: FileIO | None = None
        self._size = 0
        self._dropped = 0
        self._cut = False  # the last line has no end

    def write(self, line: bytes) -> None:
        """Appends `line`, which has its own end, or drops it."""
        try:
            file = self._opened()
            if self._dropped:
                self._put(file, f"--- {self._dropped} lines could not be written here ---\n".encode())
                self._dropped = 0
            self._put(file, line)
        except OSError:
            self._dropped += 1
            self._close()  # what is open may be of a disk that was taken away

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _opened(self) -> FileIO:
        if self._file is not None and self._size > self._max_bytes:
            self._close()
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists() and self._path.stat().st_size > self._max_bytes:
                self._path.replace(self._path.with_suffix(".old.log"))
            self._file = self._path.open("ab", buffering=0)  # what a buffer kept would fail later, and elsewhere
            self._size = self._file.tell()
        return self._file

    def _put(self, file: FileIO, line: bytes) -> None:
        if self._cut:
            file.write(b"\n")
            self._cut = False
        written = file.write(line) or 0  # of the last bytes of a disk, a part
        self._size += written
        if written < len(line):
            self._cut = True
            raise OSError("the disk is full")

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
        self._file = None
