"""Reads the SHITU_* environment variables once into frozen dataclasses, and reports every mistake in them at once.

`SHITU_WEB__PORT` is `settings.web.port`: two underscores step into a group. An empty variable counts as not set. The
dataclasses below are the one definition: pydantic checks the environment against their annotations, and nothing but
this module knows the environment. docs/settings.md describes them; a test keeps that page true.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from contracts import pictures
from infra.errors.service import ConfigurationError
from infra.runtime.setting_types import (
    Buckets,
    Count,
    Folder,
    Hosts,
    HttpUrl,
    Names,
    Networks,
    ObjectUrl,
    Origins,
    RedisUrl,
    RootPath,
    Roots,
    Schedule,
    Seconds,
    Secret,
)

PREFIX = "SHITU_"
UNPRINTED = ("redis_url", "secret", "key")  # may hold a password: never echoed in an error or a repr


@dataclass(frozen=True)
class ObjectSettings:
    """Where pictures and galleries are kept. Credentials come by boto3's own chain (AWS_*), never from here."""

    url: ObjectUrl | None = None  # None: the folder `objects` in the data folder
    endpoint_url: str | None = None  # an S3 server other than Amazon's
    region: str | None = None
    input_buckets: Buckets = ()  # whose pictures requests may name as s3://bucket/key; never the service's own

    public_endpoint_url: HttpUrl | None = None  # the S3 server as clients reach it; None: as the service does
    direct_links: bool = True  # whether links lead to the S3 server; else to the service itself
    link_s: Annotated[float, Field(ge=1, le=604_800)] = 900.0  # a link is valid; S3 signs for a week at most
    upload_s: Seconds = 86_400.0  # what was uploaded by a link can be named

    @property
    def own_bucket(self) -> str | None:
        """The bucket of the store itself; None: it is a folder."""
        parts = urlsplit(self.url or "")
        return parts.netloc if parts.scheme == "s3" else None


@dataclass(frozen=True)
class WebSettings:
    """The HTTP front."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000  # 0: any free port
    threads: Count = 160  # an open event stream holds one; three in four may
    max_body_bytes: Count = 64 * 1024 * 1024
    max_files: Count = 100
    upload_timeout_s: Seconds = 60.0  # in any such time a request must bring its share of bytes, or is cut off
    upload_min_bytes_per_s: Count = 8192
    max_wait_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30.0  # the most that `Prefer: wait=n` gets
    url_timeout_s: Seconds = 10.0
    url_concurrency: Count = 8  # pictures that one courier fetches at a time
    allowed_hosts: Hosts = ()  # of private networks, whose pictures may be fetched all the same
    root_path: RootPath = ""  # below which a proxy has the service
    trusted_proxies: Networks = ()  # whose X-Forwarded-* headers are believed
    cors_origins: Origins = ()  # whose pages may use the API
    published_on: str = ""  # the address at which a container engine publishes `port`; "": `host` is what others reach
    paddle_serving_gallery: str = ""  # searched by /recognition/prediction where it names none
    hosts: Hosts = ()  # names by which it is reached where no keys are, besides localhost, addresses and `host`


@dataclass(frozen=True)
class KeySettings:
    """Who may ask. `required` None: no key on loopback, and no start on any other address."""

    required: bool | None = None
    open_metrics: bool = False
    requests_per_minute: Annotated[int, Field(ge=0)] = 0  # of each key that has no limit of its own; 0: no limit
    open_jobs: Annotated[int, Field(ge=0)] = 0
    bytes_per_day: Annotated[int, Field(ge=0)] = 0
    session_s: Seconds = 43_200.0  # the page's sign-in ends when nothing came for so long


@dataclass(frozen=True)
class ImageSettings:
    """Which pictures are taken."""

    max_pixels: Count = pictures.MAX_PIXELS
    min_side_px: Count = pictures.MIN_SIDE_PX


@dataclass(frozen=True)
class GallerySettings:
    """What is kept of galleries."""

    keep_deleted_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 604_800.0  # a deleted one can be restored
    picture_grace_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3600.0  # from an upload to what names it
    import_roots: Roots = ()  # folders of the workers' machines and s3:// places that may be imported from
    import_max_bytes: Count = 2 * 1024 * 1024 * 1024  # of the files of one import


@dataclass(frozen=True)
class MilvusSettings:
    """The Milvus server for galleries of the index method "Milvus"; without `uri` there are none."""

    uri: HttpUrl | None = None  # http://host:19530, or https
    secret: str = field(default="", repr=False)  # its token, or user:password
    database: str = ""  # "": the server's default
    collections: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")] = (
        "shitu"  # what their names begin with
    )
    index_type: Literal["AUTOINDEX", "FLAT", "DISKANN"] = "AUTOINDEX"  # of new collections; FLAT compares every row
    timeout_s: Seconds = 10.0  # of one search or one write


@dataclass(frozen=True)
class WorkerSettings:
    """The processes that run the models. A model is a bundled or pulled name, or a folder; two may be "none"."""

    engine: Literal["auto", "openvino", "paddle"] = "auto"
    precision: Literal["auto", "fp32", "fp16", "bf16", "int8"] = "auto"
    threads: Count = 1  # math threads of one inference
    concurrency: Annotated[int, Field(ge=0)] = 0  # jobs at a time; 0: one for each core
    pool: Literal["auto", "threads", "solo", "prefork"] = "auto"  # auto: threads for OpenVINO, prefork for Paddle
    detector: Annotated[str, Field(min_length=1)] = "shitu-detector"
    embedder: Annotated[str, Field(min_length=1)] = "shitu-embedder"
    embedders: Names = ()  # further ones, for galleries that were made with them
    embedders_mb: Count = 512  # of memory for these, in each process
    classifier: Annotated[str, Field(min_length=1)] = "none"  # none is bundled
    cache_bytes: Annotated[int, Field(ge=0)] = 64 * 1024 * 1024  # answers to photos that come again; 0: none are kept
    shutdown_s: Seconds = 20.0  # how long a stopped worker may finish what it runs
    heartbeat_s: Seconds = 5.0  # how often it says that it lives and proves that it consumes


@dataclass(frozen=True)
class JobSettings:
    """How long a job may take at each step before the ledger acts."""

    lease_s: Seconds = 30.0
    queued_deadline_s: Seconds = 60.0  # longer than the usual wait: then a queued job is published again
    max_attempts: Count = 3
    retention_s: Seconds = 86_400.0
    keep_photos: bool = False  # when their jobs' records go
    result_bytes: Annotated[int, Field(ge=0)] = 262_144  # larger results go to the object store; 0: none does
    tombstone_s: Seconds = 604_800.0  # how long an expired job still answers 410
    sweep_interval_s: Seconds = 2.0
    function_queue_url: HttpUrl | None = None  # of SQS, whose function does the jobs about one photo; None: workers do
    longest_wait_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0  # 0: jobs are taken however long they wait


@dataclass(frozen=True)
class ScalingSettings:
    """How many workers are wanted: infra.jobs.scaling. `least` 0: none while there is nothing to do."""

    least: Annotated[int, Field(ge=0)] = 1
    target_wait_s: Seconds = 10.0  # within which a job should begin
    idle_s: Seconds = 60.0  # how long fewer must have been enough
    startup_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0  # of a worker; 0: as measured
    log_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0  # how often the keeper logs the load; 0: never


@dataclass(frozen=True)
class WebhookSettings:
    """How results are reported. The default schedule is the one of Standard Webhooks: 75 hours in all."""

    secret: Secret | None = field(default=None, repr=False)
    allowed_hosts: Hosts = ()  # of private networks, to which messages may go all the same
    timeout_s: Seconds = 20.0
    schedule_s: Schedule = (0.0, 5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
    max_attempts: Count = 10
    concurrency: Count = 16
    per_receiver: Count = 4  # of these to one receiver that answers quickly; one to any other
    disable_after_s: Seconds = 432_000.0  # of nothing but failures: the endpoint is called no more
    failed_retention_s: Seconds = 259_200.0  # how long what could not be delivered can be sent again


@dataclass(frozen=True)
class LogSettings:
    """What is written to standard error."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    format: Literal["json", "text"] = "json"


@dataclass(frozen=True)
class TracingSettings:
    """Where spans are sent: an OTLP/HTTP collector's base URL. The SDK's own OTEL_… variables say the rest."""

    otlp_endpoint: HttpUrl | None = None  # None: none are recorded


@dataclass(frozen=True)
class Settings:
    """All settings of the service. `redis_url` None: the launcher starts its own server."""

    data_dir: Folder = Path("var")
    redis_url: RedisUrl | None = field(default=None, repr=False)
    # Before every key in Redis, the queues' too: one for each installation.
    redis_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._:-]{0,62}[A-Za-z0-9])?$")] = "shitu"
    objects: ObjectSettings = field(default_factory=ObjectSettings)
    key: str | None = field(default=None, repr=False)  # what this machine's commands send to a service (`--server`)
    web: WebSettings = field(default_factory=WebSettings)
    keys: KeySettings = field(default_factory=KeySettings)
    images: ImageSettings = field(default_factory=ImageSettings)
    galleries: GallerySettings = field(default_factory=GallerySettings)
    milvus: MilvusSettings = field(default_factory=MilvusSettings)
    worker: WorkerSettings = field(default_factory=WorkerSettings)
    jobs: JobSettings = field(default_factory=JobSettings)
    scaling: ScalingSettings = field(default_factory=ScalingSettings)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    log: LogSettings = field(default_factory=LogSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)

    def to_env(self) -> dict[str, str]:
        """The variables that make `load_settings` give these settings again: what a child process is handed."""
        values = ((name, _value(self, path)) for name, path in variables().items())
        return {name: _text(value) for name, value in values if value is not None}


def load_settings(env: Mapping[str, str] | None = None) -> Settings:
    """The settings in `env` (None: this process's environment), with an absolute data folder.

    Raises ConfigurationError with a line for every value that is not valid and every SHITU_* variable that does not
    exist. REDIS_URL may be given without the prefix, as hosts do.
    """
    given = {name: value for name, value in (os.environ if env is None else env).items() if value != ""}
    known = variables()
    problems = [
        _unknown(name, known) for name in sorted(given) if name.upper().startswith(PREFIX) and name not in known
    ]
    bare, prefixed = given.get("REDIS_URL"), given.get(PREFIX + "REDIS_URL")
    if bare and prefixed and bare != prefixed:
        problems.append("REDIS_URL and SHITU_REDIS_URL differ: set only one")
    if bare:
        given.setdefault(PREFIX + "REDIS_URL", bare)
    given.setdefault(PREFIX + "DATA_DIR", str(Settings.data_dir))
    tree: dict[str, Any] = {}
    for name, path in known.items():
        if name in given:
            branch = tree
            for step in path[:-1]:
                branch = branch.setdefault(step, {})
            branch[path[-1]] = given[name]
    try:
        settings = _reader().validate_python(tree)
    except ValidationError as error:
        problems += _problems(error, known)
        raise ConfigurationError(problems) from None
    own = settings.objects.own_bucket
    if own is not None and own in {entry.partition("/")[0] for entry in settings.objects.input_buckets}:
        report = f"{own} is the service's own bucket, which no request may read"
        problems.append(f"{PREFIX}OBJECTS__INPUT_BUCKETS: {report}")
    if problems:
        raise ConfigurationError(problems)
    return settings


@cache
def _reader() -> TypeAdapter[Settings]:
    """What checks and converts a tree of texts. To be made it takes fifty times as long as to read by."""
    return TypeAdapter(Settings)


@cache
def variables() -> Mapping[str, tuple[str, ...]]:
    """Every variable's name and the path of its field: {"SHITU_WEB__PORT": ("web", "port"), ...}."""
    return MappingProxyType({PREFIX + "__".join(path).upper(): path for path in _paths(Settings)})


def _paths(group: type) -> Iterator[tuple[str, ...]]:
    kinds = get_type_hints(group)
    for member in fields(group):
        kind = kinds[member.name]
        if isinstance(kind, type) and is_dataclass(kind):
            yield from ((member.name, *rest) for rest in _paths(kind))
        else:
            yield (member.name,)


def _value(settings: Settings, path: tuple[str, ...]) -> Any:
    value: Any = settings
    for step in path:
        value = getattr(value, step)
    return value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(_text(part) for part in value)
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value)


def _unknown(name: str, known: Mapping[str, tuple[str, ...]]) -> str:
    # With every underscore single, SHITU_WEB_PORT is next to SHITU_WEB__PORT.
    flat = {candidate.replace("__", "_"): candidate for candidate in known}
    close = difflib.get_close_matches(name.upper().replace("__", "_"), flat, n=1, cutoff=0.7)
    hint = f" (did you mean {flat[close[0]]}?)" if close else ""
    return f"{name}: there is no such setting{hint}"


def _problems(error: ValidationError, known: Mapping[str, tuple[str, ...]]) -> list[str]:
    names = {path: name for name, path in known.items()}
    problems = []
    for found in error.errors(include_url=False):
        steps = tuple(str(step) for step in found["loc"])
        path = next((steps[:length] for length in (2, 1) if steps[:length] in names), steps)
        value = "" if path[-1] in UNPRINTED else f" (got {found['input']!r})"
        problems.append(f"{names.get(path, '.'.join(steps))}: {found['msg'].removeprefix('Value error, ')}{value}")
    return problems
