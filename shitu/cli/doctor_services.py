"""What `shitu doctor` checks of Redis and the object store, one function a check.

Nothing is changed, but for a probe in Redis that lapses and one in the object store that is deleted at once.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any

import redis

from contracts.errors import ServiceError
from infra.errors.photos import ObjectNotFound
from infra.errors.service import ConfigurationError, RedisMisconfigured
from infra.galleries.milvus import open_milvus
from infra.galleries.store import GalleryStore
from infra.objects.local import LocalStore
from infra.objects.opening import open_store
from infra.redis.check import check as check_server
from infra.redis.check import explained, unready
from infra.redis.client import connect
from infra.redis.server import find_binary, install_command, running
from infra.stack.installation import ID_KEY, STORE_KEY
from models.artifacts.folders import resolve
from models.embedder import identity_of
from models.errors import ModelError
from shitu.cli.doctor_checks import Finding, nearest, writable
from shitu.cli.settings import masked_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.objects.store import ObjectStore
    from infra.runtime.settings import Settings

OBJECT_REMEDY = (
    "see SHITU_OBJECTS__* and the AWS_* variables in docs/settings.md; the folder or bucket must take writes"
)
OBJECT_REMEDIES = {
    "bucket_missing": "make the bucket, or correct its name in SHITU_OBJECTS__URL and SHITU_OBJECTS__REGION",
    "storage_refused": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_PROFILE) of a user that may read, write, list and delete there",
    "storage_unreachable": "correct SHITU_OBJECTS__ENDPOINT_URL, or see whether that server runs and can be reached from here",
}


def check_redis(settings: Settings) -> Iterator[Finding]:
    """Whether the Redis of the settings can serve and keeps what it is given; without one, whether there is one to start."""
    if settings.redis_url is None:
        try:
            binary = find_binary()
        except ServiceError as error:
            yield Finding("redis", "fail", error.detail, f"{install_command()}, or set REDIS_URL")
            return
        version = ".".join(map(str, binary.version))
        own = running(settings.data_dir / "redis")
        if own is None:
            yield Finding("redis", "ok", f"REDIS_URL is not set: `shitu up` starts {binary.path} ({version})")
            return
        yield Finding("redis", "ok", f"`shitu up` is running on {settings.data_dir}, with {binary.path} ({version})")
        with contextlib.closing(connect(own, settings.redis_prefix)) as client:
            yield from _workers(client, settings)
        return
    url = masked_url(settings.redis_url)
    try:
        check_server(settings.redis_url)
        with contextlib.closing(connect(settings.redis_url, settings.redis_prefix)) as client:
            problem = unready(client)
            if problem is not None:
                yield Finding("redis", "fail", f"{url}: {problem}", 'docs/runbook.md, "How durable Redis is"')
                return
            report = _reported(client, "server")
            yield Finding(
                "redis", "ok", f"{url}: version {report.get('redis_version', 'unknown')} answers and takes writes"
            )
            yield from _durable(client)
            yield from _own_store(client, settings)
            yield from _workers(client, settings)
    except ServiceError as error:
        wrong = isinstance(error, RedisMisconfigured)
        yield Finding(
            "redis", "fail", error.detail, "correct REDIS_URL" if wrong else "start that Redis, or correct REDIS_URL"
        )
    except redis.RedisError as error:
        yield Finding("redis", "fail", explained(error).detail, "look at that server's log")


def check_objects(settings: Settings) -> Iterator[Finding]:
    """Whether the object store takes and gives."""
    try:
        objects = open_store(settings.objects, settings.data_dir)
        if isinstance(objects, LocalStore) and not objects.folder.is_dir():
            parent = nearest(objects.folder)
            yield writable("objects", parent, f"{objects.folder} is not there yet, and can be made in {parent}")
        else:
            _probe(objects)
            where = objects.folder if isinstance(objects, LocalStore) else masked_url(settings.objects.url or "")
            yield Finding("objects", "ok", f"{where}: takes and gives")
        yield from _galleries(objects, settings)
    except ServiceError as error:
        yield Finding(
            "objects", "fail", f"{error.detail} ({error.code})", OBJECT_REMEDIES.get(error.code, OBJECT_REMEDY)
        )


def check_milvus(settings: Settings) -> Iterator[Finding]:
    """Whether the Milvus server answers; nothing where none is named."""
    if settings.milvus.uri is None:
        return
    remedy = "correct SHITU_MILVUS__URI and SHITU_MILVUS__SECRET, or see whether that server runs and can be reached"
    try:
        server = open_milvus(settings.milvus)
        if server is not None:
            server.partitions(server.collection("doctor"))  # there is none, but it answers
            yield Finding("milvus", "ok", f"{settings.milvus.uri}: answers")
    except ConfigurationError as error:
        yield Finding("milvus", "fail", error.problems[0], "pip install 'shitu[milvus]'")
    except ServiceError as error:
        yield Finding("milvus", "fail", f"{error.detail} ({error.code})", remedy)


def _reported(client: redis.Redis, section: str) -> dict[str, Any]:
    with contextlib.suppress(redis.ResponseError):  # a rented server may forbid the command
        report: dict[str, Any] = client.info(section)
        return report
    return {}


def _durable(client: redis.Redis) -> Iterator[Finding]:
    persistence = _reported(client, "persistence")
    if "aof_enabled" not in persistence:
        yield Finding(
            "redis", "warn", "it does not say whether it keeps what it holds", "ask whoever runs it for appendonly yes"
        )
    elif not persistence["aof_enabled"]:
        yield Finding(
            "redis", "warn", "without an append-only file accepted jobs are lost with its process", "appendonly yes"
        )
    else:
        yield Finding("redis", "ok", "it appends every write to a file (appendonly yes), and never evicts (noeviction)")


def _own_store(client: redis.Redis, settings: Settings) -> Iterator[Finding]:
    """Whether the key prefix belongs to this object store, as far as both say."""
    noted = client.get(STORE_KEY)
    with contextlib.suppress(ServiceError):
        own = open_store(settings.objects, settings.data_dir).get(ID_KEY).decode("ascii", errors="replace").strip()
        if noted is not None and own not in str(noted):
            report = f"its prefix {settings.redis_prefix!r} belongs to another object store"
            yield Finding("redis", "fail", report, "another SHITU_REDIS_PREFIX, or that store by SHITU_OBJECTS__URL")


def _workers(client: redis.Redis, settings: Settings) -> Iterator[Finding]:
    from infra.jobs.ledger import JobLedger

    ready = len(JobLedger(client, settings.jobs, settings.webhooks).presence.workers())
    if ready:
        yield Finding("workers", "ok", f"{ready} are ready")
    else:
        yield Finding("workers", "warn", "none has said that it is ready", "start one: `shitu worker`")


def _probe(objects: ObjectStore) -> None:
    """Raises ServiceError."""
    key, data = f"health/doctor-{secrets.token_hex(8)}", secrets.token_bytes(32)
    objects.put(key, data)
    try:
        if objects.get(key) != data:
            raise ObjectNotFound("The object store does not give back what it was given.")
    finally:
        objects.delete(key)


def _galleries(objects: ObjectStore, settings: Settings) -> Iterator[Finding]:
    """Whether the workers have the embedders of the galleries; without it a gallery is refused."""
    store = GalleryStore(objects)
    names = store.names()
    worker = settings.worker
    embedders = (worker.embedder, *worker.embedders)
    digests: list[str | None] = [None]
    try:
        digests += [identity_of(resolve(name), worker.engine, worker.precision).digest for name in embedders]
    except ModelError:  # the check of models reports it
        names = ()
    other = [name for name in names if store.manifest(name).embedder_digest not in digests]
    served = ", ".join(embedders)
    if other:
        report = f"{len(other)} of {len(names)} were made with another embedder than {served}: {', '.join(other[:5])}"
        yield Finding("galleries", "warn", report, 'docs/galleries.md, "Changing the embedder"')
    elif names:
        yield Finding("galleries", "ok", f"{len(names)}, all for the embedder {served}")
