"""Where the pictures of an import lie: a folder, an archive, a place in a bucket; all by names with slashes."""

from __future__ import annotations

import contextlib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from contracts.names import decode_name
from infra.errors.galleries import ImportForbidden, ImportRefused
from infra.errors.photos import ObjectNotFound
from worker.imports.lines import LineRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from infra.runtime.settings import ObjectSettings

UTF8_NAME = 0x800  # of a member's flags: its name is UTF-8; without it `zipfile` reads what it is not


class Place(Protocol):
    """Files by their names."""

    def names(self) -> Iterator[str]:
        """All of them, in an order that stays."""

    def read(self, name: str, most: int) -> bytes:
        """The bytes of one, at most so many. Raises LineRefused."""


class Folder:
    """A folder of this machine. Links are followed, as people link their pictures together, but not out of `roots`."""

    def __init__(self, root: Path, roots: Sequence[Path]) -> None:
        self._root, self._roots = root, roots

    def names(self) -> Iterator[str]:
        if not self._root.is_dir():
            raise ImportRefused("There is no such folder on the machine that does the import.")
        yield from self._below(self._root, "", ())

    def read(self, name: str, most: int) -> bytes:
        try:
            path = (self._root / name).resolve(strict=True)
            if not self._allowed(path):
                raise LineRefused("picture_missing", "It leads out of the folders that may be imported from.")
            with path.open("rb") as file:
                return _limited(file.read(most + 1), most)
        except (OSError, ValueError) as error:
            raise LineRefused("file_unreadable", getattr(error, "strerror", None) or "It cannot be read.") from error

    def _below(self, folder: Path, above: str, seen: tuple[Path, ...]) -> Iterator[str]:
        real = folder.resolve()
        if real in seen or not self._allowed(real):  # a link to a folder that it lies in, or to somewhere else
            return
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            return
        for entry in entries:
            if entry.is_dir():
                yield from self._below(entry, f"{above}{entry.name}/", (*seen, real))
            elif entry.is_file():
                yield f"{above}{entry.name}"

    def _allowed(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self._roots)


class Archive:
    """A zip. Its members are never written anywhere, so that their names lead nowhere."""

    def __init__(self, file: zipfile.ZipFile) -> None:
        self._file = file
        self._members = {_name(one): one for one in file.infolist() if not one.is_dir()}

    def names(self) -> Iterator[str]:
        yield from sorted(self._members)

    def read(self, name: str, most: int) -> bytes:
        member = self._members[name]
        if member.flag_bits & 0x1:
            raise LineRefused("file_encrypted", "It is encrypted; pack it without a password.")
        try:
            with self._file.open(member) as file:
                return _limited(file.read(most + 1), most)  # whatever its size is said to be
        except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError, RuntimeError) as error:
            raise LineRefused("file_unreadable", "The archive is damaged here, or packed in an unknown way.") from error
        except LineRefused:
            raise
        except Exception as error:  # zlib, bz2 and lzma raise errors of their own
            raise LineRefused("file_unreadable", "The archive is damaged here.") from error


class Bucket:
    """The objects below a prefix."""

    def __init__(self, bucket: str, prefix: str, settings: ObjectSettings) -> None:
        from infra.objects.s3 import S3Store  # boto3 takes a quarter of a second

        self._store = S3Store(bucket, prefix, settings.endpoint_url, settings.region)

    def names(self) -> Iterator[str]:
        yield from self._store.list()

    def read(self, name: str, most: int) -> bytes:
        try:
            return _limited(self._store.read(name, most + 1), most)
        except ObjectNotFound as error:
            raise LineRefused("file_unreadable", "It is not there any more.") from error


def place_of(source: str, roots: Sequence[str], settings: ObjectSettings) -> Place:
    """The folder or bucket that `source` names. Raises ImportForbidden unless it is within `roots`, ImportRefused."""
    parts = urlsplit(source)
    if parts.scheme == "s3":
        path = parts.path.strip("/")
        if not any(_within(f"s3://{parts.netloc}/{path}".rstrip("/"), root) for root in roots):
            raise ImportForbidden(_forbidden(source))
        return Bucket(parts.netloc, path, settings)
    if not source.startswith("/"):
        raise ImportRefused(f"{source!r} is neither an absolute folder nor an s3://bucket/prefix.")
    folder = Path(source).resolve()
    folders = [Path(root).resolve() for root in roots if root.startswith("/")]
    if not any(folder.is_relative_to(root) for root in folders):
        raise ImportForbidden(_forbidden(source))
    return Folder(folder, folders)


def _forbidden(source: str) -> str:
    return f"{source!r} is not below a place that SHITU_GALLERIES__IMPORT_ROOTS allows to import from."


def _within(place: str, root: str) -> bool:
    return place == root or place.startswith(root.rstrip("/") + "/")


def _name(member: zipfile.ZipInfo) -> str:
    """As it was meant: without the flag of UTF-8 a name is what the system that packed it had, which `zipfile` takes for CP437."""
    name = member.filename
    if not member.flag_bits & UTF8_NAME:
        with contextlib.suppress(UnicodeEncodeError):
            name = decode_name(name.encode("cp437"))
    return name.replace("\\", "/").lstrip("/")


def _limited(data: bytes, most: int) -> bytes:
    if len(data) > most:
        raise LineRefused("file_too_large", f"It has more than {most} bytes.")
    return data
