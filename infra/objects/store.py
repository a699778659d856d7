"""The protocol of an object store, and the keys of its objects.

A key is a relative path of safe characters (`images/ab/abcd…`). A reader sees an object whole or not at all; a put
replaces what was there. Nothing else is required of a store (no conditional puts, no rename), so that any S3 server will do.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from infra.errors.service import InvalidObjectKey

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    def size(self, key: str) -> int:
        """The object's bytes, counted. Raises ObjectNotFound."""

    def delete(self, key: str) -> None:
        """Removes the object; one that is not there is no error."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """The keys that start with `prefix`, in ascending order."""

    def put_image(self, image_bytes: bytes) -> str:
        """Keeps a picture under the hash of its content, once, and gives its key. It counts as put now, were it there or not."""

    def delete_idle(self, key: str, since: float) -> bool:
        """Deletes the object unless it was put after `since` (seconds since 1970). True: it is not there any more."""


@runtime_checkable
class LinkingStore(Protocol):
    """A store whose server takes and gives objects by links that it signed for: no bytes pass through the service."""

    def link_to_put(self, key: str, size: int, media_type: str, valid_s: float) -> str:
        """A URL that takes a PUT of exactly so many bytes, sent with that Content-Type."""

    def link_to_get(self, key: str, media_type: str | None, valid_s: float) -> str:
        """A URL that gives the object; as `media_type`, if that is known."""


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
