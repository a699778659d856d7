"""Uploads by link: a client sends a picture's bytes to the object store, and then names the upload in a request.

The bytes lie below `uploads/` until a request names them; then they are where every photo is, and the upload only remembers
under which key, so that a repeated request finds them and an erasure leaves no second copy. A record lapses by itself; its
bytes are the keeper's to delete, and those without a record (Redis lost its data, or they came far too late) too.

    shitu:upload:{id}   hash   owner, size, media_type, name, times, and key: where the bytes are once a request has named them
    shitu:uploads       zset   ids by when their bytes are to be deleted
    shitu:link:{hash}   string where a link of the service itself leads; lapses with the link
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra.errors.photos import ObjectNotFound
from infra.errors.uploads import UploadExpired, UploadFinished, UploadIncomplete, UploadMismatch, UploadNotFound
from infra.jobs.records import ALPHABET, new_id
from infra.redis.client import server_time
from infra.redis.durability import wait_until_written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from infra.objects.store import ObjectStore

PREFIX = "upl"
FOLDER = "uploads/"
UPLOADS = "shitu:uploads"
UPLOAD_ID = re.compile(rf"{PREFIX}_[0-7][{ALPHABET}]{{25}}")
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
TAKING_S = 300  # bytes that come take no longer to be stored; then another try may begin
LATE_S = 3600.0  # what began before the end of its link may still come


@dataclass(frozen=True)
class UploadRecord:
    """One upload. Times are seconds since 1970; `key` is "" until a request has named it."""

    id: str
    owner: str
    size: int
    media_type: str
    name: str
    created_at: float
    link_until: float
    expires_at: float
    key: str = ""

    @property
    def object_key(self) -> str:
        """Where its bytes lie until a request names them."""
        return FOLDER + self.id


class Uploads:
    """The uploads of one object store and one Redis; may be used by many threads. `now` as in JobLedger.

    Every method raises redis.RedisError, and StorageUnavailable when the store fails.
    """

    def __init__(
        self,
        client: redis.Redis,
        objects: ObjectStore,
        link_s: float,
        kept_s: float,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._redis = client
        self._objects = objects
        self._link_s = link_s
        self._kept_s = max(kept_s, link_s)
        self._now = now

    def create(self, owner: str, size: int, media_type: str, name: str) -> tuple[UploadRecord, str]:
        """A new upload of `size` bytes, and the token that a link of the service itself bears."""
        now, token = self._time(), secrets.token_urlsafe(32)
        made = UploadRecord(
            new_id(PREFIX, now), owner, size, media_type, name, now, now + self._link_s, now + self._kept_s
        )
        fields: dict[Any, Any] = {
            "owner": owner, "size": size, "media_type": media_type, "name": name, "created_at": repr(now),
            "link_until": repr(made.link_until), "expires_at": repr(made.expires_at), "token": _hash(token),
        }  # fmt: skip
        with self._redis.pipeline() as pipe:
            pipe.zadd(UPLOADS, {made.id: made.expires_at})  # first: whoever dies here leaves nothing that stays
            pipe.hset(_key(made.id), mapping=fields)
            pipe.expire(_key(made.id), int(self._kept_s) + 1)
            pipe.execute()
        wait_until_written(self._redis)
        return made, token

    def find(self, upload_id: str, owner: str) -> UploadRecord:
        """The upload, for the key that made it. Raises UploadNotFound, also for another key's."""
        found = self._record(upload_id)
        if found is None or not hmac.compare_digest(found[0].owner.encode(), owner.encode()):
            raise UploadNotFound(f"There is no upload {upload_id}: its id is wrong, or it has expired.")
        return found[0]

    def has_bytes(self, upload: UploadRecord) -> bool:
        """Whether its bytes have come."""
        return bool(upload.key) or self._objects.exists(upload.object_key)

    def expected(self, upload_id: str, token: str) -> UploadRecord:
        """What a link of the service itself is for. Raises UploadNotFound, UploadExpired, UploadFinished."""
        found = self._record(upload_id)
        if found is None or not hmac.compare_digest(found[1], _hash(token)):
            raise UploadNotFound("There is no such link for an upload, or it has expired.")
        if self._time() > found[0].link_until:
            raise UploadExpired("The link's time is over; ask for a new upload.")
        if self.has_bytes(found[0]):
            raise UploadFinished("The bytes have come already: a link takes them once.")
        return found[0]

    def receive(self, upload: UploadRecord, data: bytes) -> None:
        """Stores the bytes that came by a link of the service itself, once. Raises UploadMismatch, UploadFinished, UploadIncomplete."""
        if len(data) != upload.size:
            raise UploadMismatch(f"{len(data)} bytes came, and the link is for {upload.size}.")
        taking = f"{_key(upload.id)}:taking"
        if not self._redis.set(taking, 1, nx=True, ex=TAKING_S):  # who dies here frees it by the time that passes
            raise UploadIncomplete("The bytes are coming at this moment by another request.", retry_after_s=1)
        try:
            if self.has_bytes(upload):
                raise UploadFinished("The bytes have come already: a link takes them once.")
            self._objects.put(upload.object_key, data)
        finally:
            self._redis.delete(taking)

    def read(self, upload: UploadRecord, max_bytes: int) -> bytes:
        """The uploaded bytes, for a request that names them.

        Raises UploadIncomplete before they came, UploadMismatch for another number of bytes, UploadExpired where what an
        earlier request made of them is gone.
        """
        key = upload.key
        if not key:
            try:
                size = self._objects.size(upload.object_key)
                if size != upload.size or size > max_bytes:
                    raise UploadMismatch(f"{size} bytes were uploaded, and the link was for {upload.size}.")
                return self._objects.get(upload.object_key)
            except ObjectNotFound:
                key = self.find(upload.id, upload.owner).key  # another request may have named it meanwhile
        if not key:
            raise UploadIncomplete(f"The bytes of the upload {upload.id} have not come; PUT them to its url first.")
        try:
            return self._objects.get(key)
        except ObjectNotFound:
            raise UploadExpired("What was uploaded was used, and is not kept any more.") from None

    def used(self, upload_id: str, key: str) -> None:
        """The bytes are now kept under `key`: the copy of the upload goes."""
        if self._redis.exists(_key(upload_id)):
            self._redis.hset(_key(upload_id), "key", key)
            self._redis.expire(_key(upload_id), int(self._kept_s) + 1)  # never a record that stays
        self._objects.delete(FOLDER + upload_id)

    def remove_due(self, limit: int = 100) -> int:
        """Deletes the bytes of uploads that can't be named any more; how many, at most `limit`."""
        due = self._redis.zrangebyscore(UPLOADS, "-inf", self._time() - LATE_S, start=0, num=limit)
        for upload_id in map(str, due):
            self._objects.delete(FOLDER + upload_id)
            self._redis.zrem(UPLOADS, upload_id)
        return len(due)

    def stored(self) -> Iterator[str]:
        """The keys of all that is stored of uploads, read bit by bit."""
        return self._objects.list(FOLDER)

    def check_stored(self, stored: Iterator[str], limit: int = 500) -> bool:
        """Deletes those of the next `limit` of `stored` that no record can name any more; False when there are no more."""
        keys = list(itertools.islice(stored, limit))
        for key in keys:
            if self._redis.zscore(UPLOADS, key.removeprefix(FOLDER)) is None:
                self._objects.delete_idle(key, self._time() - self._kept_s - LATE_S)
        return bool(keys)

    # Links of the service itself to pictures, where the store has none.

    def link(self, key: str) -> tuple[str, float]:
        """A token that opens this one object, and until when (seconds since 1970)."""
        token = secrets.token_urlsafe(32)
        self._redis.set(f"shitu:link:{_hash(token).decode()}", key, ex=int(self._link_s))
        return token, self._time() + int(self._link_s)

    def linked(self, token: str) -> str:
        """The key of the object that the token opens. Raises ObjectNotFound."""
        found = self._redis.get(f"shitu:link:{_hash(token).decode()}") if TOKEN.fullmatch(token) else None
        if not found:
            raise ObjectNotFound("There is no such link, or its time is over.")
        return str(found)

    def _record(self, upload_id: str) -> tuple[UploadRecord, bytes] | None:
        if not UPLOAD_ID.fullmatch(upload_id):
            return None
        found = {str(name): str(value) for name, value in self._redis.hgetall(_key(upload_id)).items()}
        if "expires_at" not in found or float(found["expires_at"]) < self._time():
            return None
        record = UploadRecord(
            upload_id,
            found["owner"],
            int(found["size"]),
            found["media_type"],
            found["name"],
            float(found["created_at"]),
            float(found["link_until"]),
            float(found["expires_at"]),
            found.get("key", ""),
        )
        return record, found["token"].encode()

    def _time(self) -> float:
        return server_time(self._redis) if self._now is None else self._now()


def _key(upload_id: str) -> str:
    return f"shitu:upload:{upload_id}"


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).hexdigest().encode()
