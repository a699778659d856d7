"""Objects as files in a local folder, each one written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from typing import TYPE_CHECKING

from infra.errors.photos import ObjectNotFound
from infra.errors.service import StorageUnavailable
from infra.objects.store import check_key, check_prefix, image_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A disk that cannot be written to: full, over a quota or a file's limit, read-only, another user's, failing, gone.
DISK_ERRORS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
        *(errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE),
    }
)


class LocalStore:
    """Objects as files below `folder`, which is made at the first put.

    An object is written under a hidden name next to its place, flushed to the disk, and renamed: a crash leaves the old
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

    def size(self, key: str) -> int:
        path = self.folder / check_key(key)
        try:
            if path.is_file():
                return path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            raise _unavailable(error) from error
        raise ObjectNotFound("The object store has no such object.")

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
        try:
            os.utime(self.folder / key)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            self.put(key, image_bytes)
        except OSError as error:
            raise _unavailable(error) from error
        return key

    def delete_idle(self, key: str, since: float) -> bool:
        path = self.folder / check_key(key)
        aside = path.with_name(f".{path.name}.leaving")  # a put that comes now finds nothing, and writes its own
        try:
            for found in (aside, path):  # the first is there if a process died here
                if not found.exists():
                    continue
                if found is path:
                    if path.stat().st_mtime > since:
                        return False
                    path.rename(aside)
                if aside.stat().st_mtime > since and not path.exists():
                    aside.rename(path)
                    return False
                aside.unlink()
                _sync_folder(path.parent)
            return not path.exists()
        except (FileNotFoundError, NotADirectoryError):
            return not path.exists()
        except OSError as error:
            raise _unavailable(error) from error


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
