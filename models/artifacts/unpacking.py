"""Unpacks a downloaded archive into a folder and trusts nothing in it: plain files only, few, bounded, and inside the folder."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from models.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_FILES = 64
MAX_BYTES = 1 << 30
CHUNK_BYTES = 1 << 20
DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError,
    ValueError,
)  # fmt: skip


def unpack(archive: Path, folder: Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
    """The files of a tar (plain or compressed) or zip, without its folders, in `folder`, which exists and is empty.

    Models are flat: a name that occurs twice is an error. Raises ArtifactError: archive_unsafe.
    """
    left = max_bytes
    count = 0
    try:
        for path, stream in _members(archive):
            count += 1
            if count > max_files:
                raise ArtifactError(f"The archive holds more than {max_files} files.", "archive_unsafe")
            name = _plain_name(path)
            if name is None:
                continue
            with (folder / name).open("xb") as target:
                while chunk := stream.read(CHUNK_BYTES):
                    left -= len(chunk)
                    if left < 0:
                        raise ArtifactError(f"The archive unpacks to more than {max_bytes} bytes.", "archive_unsafe")
                    target.write(chunk)
    except FileExistsError as error:
        raise ArtifactError("The archive holds the same file twice.", "archive_unsafe") from error
    except DAMAGED as error:
        raise ArtifactError("The archive can't be unpacked.", "archive_unsafe") from error
    except OSError as error:
        if (
            error.errno is not None
        ):  # the disk's trouble; gzip and bz2 report damaged data as an OSError without a number
            raise
        raise ArtifactError("The archive can't be unpacked.", "archive_unsafe") from error


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Path and content of every file; folders are skipped, whatever else a member can be is an error."""
    if zipfile.is_zipfile(archive) and not tarfile.is_tarfile(archive):
        yield from _zip_members(archive)
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isdir():
                _plain_name(member.name)
                continue
            stream = tar.extractfile(member) if member.isreg() and not member.issparse() else None
            if stream is None:
                raise ArtifactError(f"The archive holds a link or a device, {member.name!r}.", "archive_unsafe")
            yield member.name, stream
        # gzip's checksum comes after the tar's own end and is compared only there.
        if tar.fileobj is not None and len(tar.fileobj.read(CHUNK_BYTES)) == CHUNK_BYTES:
            raise ArtifactError("The archive continues after its end.", "archive_unsafe")


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            kind = entry.external_attr >> 28  # the upper bits of a Unix mode: 0 unknown, 4 folder, 8 file
            if entry.is_dir():
                _plain_name(entry.filename)
                continue
            if kind not in {0, 8}:
                raise ArtifactError(f"The archive holds a link or a device, {entry.filename!r}.", "archive_unsafe")
            with packed.open(entry) as stream:
                yield entry.filename, stream


def _plain_name(path: str) -> str | None:
    """The file name at the end of a path that stays inside; None for what Macs add next to every file."""
    parts = PurePosixPath(path).parts
    if path.startswith(("/", "\\")) or ".." in parts or "\\" in path or ":" in path or "\0" in path:
        raise ArtifactError(f"The archive holds a path that leaves its folder, {path!r}.", "archive_unsafe")
    name = parts[-1] if parts else ""
    return None if name.startswith("._") or not name else name
