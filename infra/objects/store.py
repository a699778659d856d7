"""Keeps named bytes, in a local folder or in an S3 bucket, behind one small protocol.

A key is a relative path of safe characters (`images/ab/abcd…`). A reader sees an object whole or not at all; a put
replaces what was there. Nothing else is asked of a store (no conditional puts, no rename), so that any S3 server will do.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from infra.errors import ConfigurationError, InvalidObjectKey, ObjectNotFound, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra.runtime.settings import ObjectSettings

# A disk that cannot be written to: full, over a quota or a file's limit, read-only, another user's, failing, gone.
DISK_ERRORS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
        *(errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE),
    }
)
MAX_KEY_CHARS = 512
# No part begins with a dot: that rules out `..` and leaves hidden names to the store itself.
_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}"
_KEY = re.compile(rf"{_PART}(/{_PART})*")
_PREFIX = re.compile(rf"({_PART}/)*({_PART})?")


class ObjectStore(Protocol):
    """Where pictures and galleries are. All methods may be used by many threads.

    Each raises InvalidObjectKey for a key that is none, and StorageUnavailable when the store fails.
    """

    def put(self, key: str, data: bytes) -> None:
        """Writes the object whole; durable when this returns."""

    def get(self, key: str) -> bytes:
        """The object's bytes. Raises ObjectNotFound."""

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""

    def delete(self, key: str) -> None:
        """Removes the object; one that is not there is no error."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys that start with `prefix`, in ascending order."""

    def put_image(self, image_bytes: bytes) -> str:
        """Keeps a picture under the hash of its content, once, and gives its key."""


def check_key(key: str) -> str:
    """`key`, if it may be one. Raises InvalidObjectKey."""
    if len(key) > MAX_KEY_CHARS or not _KEY.fullmatch(key):
        raise InvalidObjectKey("An object's key is a relative path of letters, digits, dots, dashes and underscores.")
    return key


def check_prefix(prefix: str) -> str:
    """`prefix`, if keys may start so. Raises InvalidObjectKey."""
    if len(prefix) > MAX_KEY_CHARS or not _PREFIX.fullmatch(prefix):
        raise InvalidObjectKey("No object's key starts like this.")
    return prefix


def image_digest(image_bytes: bytes) -> str:
    """The SHA-256 of a picture's content."""
    return hashlib.sha256(image_bytes).hexdigest()


def image_key(image_bytes: bytes) -> str:
    """`images/ab/abcd…`: the hash of the content, so that one picture is kept once; sharded for folders' sake."""
    return image_key_of(image_digest(image_bytes))


def preview_key(key: str) -> str:
    """Where a picture's rendering for browsers lies, if it needs one."""
    return f"previews/{key}"


def image_key_of(digest: str) -> str:
    """The key of the picture with this digest."""
    return f"images/{digest[:2]}/{digest}"


class LocalStore:
    """Objects as files below `folder`, which is made at the first put.

    An object is written under a hidden name beside its place, flushed to the disk, and renamed: a crash leaves the old
    object or the new one, and at worst a hidden file that nobody reads.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, key: str, data: bytes) -> None:
        path = self.folder / check_key(key)
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                part.replace(path)
                _sync_folder(path.parent)
            except BaseException:
                with contextlib.suppress(OSError):
                    part.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise _unavailable(error) from error

    def get(self, key: str) -> bytes:
        try:
            return (self.folder / check_key(key)).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ObjectNotFound("The object store has no such object.") from None
        except OSError as error:
            raise _unavailable(error) from error

    def exists(self, key: str) -> bool:
        try:
            return (self.folder / check_key(key)).is_file()
        except OSError as error:
            raise _unavailable(error) from error

    def delete(self, key: str) -> None:
        path = self.folder / check_key(key)
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                _sync_folder(path.parent)
        except (NotADirectoryError, IsADirectoryError):
            return
        except OSError as error:
            raise _unavailable(error) from error

    def list(self, prefix: str = "") -> Iterator[str]:
        start = check_prefix(prefix).rpartition("/")[0]
        try:
            yield from _keys_below(self.folder / start, f"{start}/" if start else "", prefix)
        except OSError as error:
            raise _unavailable(error) from error

    def put_image(self, image_bytes: bytes) -> str:
        key = image_key(image_bytes)
        if not self.exists(key):
            self.put(key, image_bytes)
        return key


def open_store(settings: ObjectSettings, data_dir: Path) -> ObjectStore:
    """The store that the settings name; without a URL the folder `objects` in the data folder.

    Opens no connection. Raises ConfigurationError for a URL of neither kind.
    """
    if settings.url is None:
        return LocalStore(data_dir / "objects")
    parts = urlsplit(settings.url)
    if parts.scheme == "file" and not parts.netloc:
        return LocalStore(type(data_dir)(unquote(parts.path)))
    if parts.scheme == "s3" and parts.netloc:
        from infra.objects.s3 import S3Store  # boto3 takes a quarter of a second that a local folder need not pay

        return S3Store(parts.netloc, parts.path.strip("/"), settings.endpoint_url, settings.region)
    raise ConfigurationError(["SHITU_OBJECTS__URL: expected file:///absolute/folder or s3://bucket/prefix"])


def _keys_below(folder: Path, base: str, prefix: str) -> Iterator[str]:
    # A folder sorts as if its name ended in "/": that is the ascending order of whole keys, as S3 lists them.
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry.name + ("/" if entry.is_dir() else "")) for entry in found)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in entries:
        key = base + name
        if name.startswith(".") or not (key.startswith(prefix) or prefix.startswith(key)):
            continue
        if name.endswith("/"):
            yield from _keys_below(folder / name, key, prefix)
        elif key.startswith(prefix):
            yield key


def _sync_folder(folder: Path) -> None:
    # A rename is durable only once the folder is.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unavailable(error: OSError) -> StorageUnavailable:
    reason = os.strerror(error.errno) if error.errno else "input/output error"
    return StorageUnavailable(f"The object store's folder cannot be used: {reason}.")
