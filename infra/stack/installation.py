"""Keeps two installations on one Redis apart: a key prefix belongs to one object store.

The store holds a random id, Redis notes it under the prefix. Who comes with another store is refused: their jobs would
name pictures that the others' workers cannot find.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import socket
import time
from typing import TYPE_CHECKING

import redis

from contracts.errors import ServiceError
from infra.errors.photos import ObjectNotFound
from infra.errors.service import ConfigurationError, RedisMisconfigured, StorageUnavailable
from infra.objects.local import LocalStore
from infra.objects.opening import open_store
from infra.redis.check import check, explained
from infra.redis.client import open_client
from infra.runtime.logs import fatal

if TYPE_CHECKING:
    from collections.abc import Callable

    from infra.objects.store import ObjectStore
    from infra.runtime.settings import Settings

STORE_KEY = "shitu:store"
ID_KEY = "installation/id"
FIRST_PUT_S = 3.0  # the longest that a process starting next to us takes from its note in Redis to its put

log = logging.getLogger(__name__)


def verify(settings: Settings) -> None:
    """Checks Redis and that it belongs to this object store.

    Raises RedisMisconfigured or ConfigurationError where a setting must be changed; RedisUnavailable, StorageUnavailable
    where waiting may help.
    """
    if settings.redis_url is None:
        return
    check(settings.redis_url)
    with contextlib.closing(open_client(settings)) as client:
        claim(client, open_store(settings.objects, settings.data_dir), settings)


def verify_or_exit(settings: Settings, status: int = 1) -> None:
    """For a process at its start: ends it with one line where a setting must be changed, else only logs what is amiss."""
    try:
        verify(settings)
    except (RedisMisconfigured, ConfigurationError) as error:
        raise fatal(error.detail, status) from None
    except ServiceError as error:
        log.warning("started nevertheless: %s", error.detail)


class Ownership:
    """That the prefix belongs to this process's store: checked by `check` (`verify`, `claim`) until it was answered once.

    A process may start while Redis is away. What it found then is no answer, so it checks again before it does anything.
    """

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._known = False

    def require(self) -> None:
        """Raises what `check` raises: RedisMisconfigured or ConfigurationError if the prefix is another's."""
        if not self._known:
            self._check()
            self._known = True

    def foreign(self) -> str | None:
        """What must be changed, in words; None: the prefix is ours, or that is not known yet."""
        try:
            self.require()
        except (RedisMisconfigured, ConfigurationError) as error:
            return error.detail
        except (ServiceError, redis.RedisError):
            return None
        return None


def claim(client: redis.Redis, objects: ObjectStore, settings: Settings) -> None:
    """Notes that the prefix belongs to this store, at the first time. Raises RedisMisconfigured if it is another's."""
    here = _where(objects, settings)
    own = _id(objects)
    try:
        note = {"id": own or secrets.token_hex(16), "where": here}
        if client.get(STORE_KEY) is None and client.set(STORE_KEY, json.dumps(note), nx=True):
            _put_id(client, objects, note["id"], own)
            return
        noted = json.loads(client.get(STORE_KEY) or "{}")
    except redis.RedisError as error:
        raise explained(error) from error
    deadline = time.monotonic() + FIRST_PUT_S
    while own is None and noted.get("where") != here and time.monotonic() < deadline:
        time.sleep(0.1)  # another process may just be writing it, in a shared folder that has another name there
        own = _id(objects)
    if own is None and noted.get("where") == here:
        objects.put(ID_KEY, noted["id"].encode())  # its writer died in between, or the file was lost
    elif noted and noted.get("id") != own:
        raise RedisMisconfigured(
            f"Two installations share the Redis prefix {settings.redis_prefix!r}: it belongs to the objects in "
            f"{noted.get('where')}, and this process has those in {here}. Give one another SHITU_REDIS_PREFIX, or both "
            "the same SHITU_OBJECTS__URL or SHITU_DATA_DIR."
        )


def _put_id(client: redis.Redis, objects: ObjectStore, store_id: str, own: str | None) -> None:
    if own is not None:
        return
    try:
        objects.put(ID_KEY, store_id.encode())
    except StorageUnavailable:
        client.delete(STORE_KEY)  # or this very store would be refused once it can be written to
        raise


def _id(objects: ObjectStore) -> str | None:
    try:
        return objects.get(ID_KEY).decode("ascii", errors="replace").strip() or None
    except ObjectNotFound:
        return None


def _where(objects: ObjectStore, settings: Settings) -> str:
    if isinstance(objects, LocalStore):
        return f"{objects.folder} on {socket.gethostname()}"
    return settings.objects.url or "objects"
