"""A real Redis server for the whole run (one for each test process), emptied before each test that asks for it, and settings that point to it."""

from __future__ import annotations

import gc
import logging
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from werkzeug.routing import Rule

from infra.redis.client import connect
from infra.redis.server import RedisServer
from infra.runtime.logs import LogHandler
from infra.runtime.settings import Settings, load_settings

if TYPE_CHECKING:
    from tests.models.training.tiny import Run

ROOT = Path(__file__).parents[1]
WEBHOOK_SECRET = "whsec_" + "c2hpdHUtdGVzdHMtb25seS1zaGl0dS10ZXN0cy1vbmx5"


# Folders whose tests share what takes seconds to start: a running service, a browser, a Milvus server.
FOLDERS = ("tests/e2e", "tests/web/page", "tests/worker/milvus")
# Groups that take longest, which must not be the last to start: one process would work on them while the others wait.
LONGEST = ("tests/e2e", "tests/web/page", "trained")
# Session fixtures that train a network: the tests of all files that ask for one go to one process, so that it is trained once.
TRAINED = {"tiny_run", "tiny_artifact"}


def pytest_collection() -> None:
    """Collecting makes a million objects that stay: looking through them for garbage took two fifths of its time."""
    gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several test processes (`pytest -n 2 --dist loadgroup`), the tests of one group go to one, for they share fixtures.

    A file is a group, and so are the folders and files above. Each process has its own temporary folders and its own
    Redis. pytest-xdist reads the marks in this same hook: it must come after.
    """
    trained = {item.path for item in items if TRAINED.intersection(getattr(item, "fixturenames", ()))}
    groups: dict[pytest.Item, str] = {}
    for item in items:
        folder = item.path.parent.relative_to(ROOT).as_posix()
        groups[item] = folder if folder in FOLDERS else "trained" if item.path in trained else str(item.path)
        item.add_marker(pytest.mark.xdist_group(groups[item]))
    items.sort(key=lambda item: LONGEST.index(groups[item]) if groups[item] in LONGEST else len(LONGEST))


def pytest_collection_finish(session: pytest.Session) -> None:
    """What was collected stays, so that the collector need not look at it again.

    pytest-xdist passes a test's group on in its id. Where that fails, nothing but the time would show it.
    """
    gc.freeze()
    gc.enable()
    if hypothesis := sys.modules.get("hypothesis"):  # half a second to import, which many runs need not pay
        hypothesis.settings.register_profile(
            "busy", deadline=None
        )  # how long an example takes says how busy the machine is
        hypothesis.settings.load_profile("busy")
    if session.config.getoption("loadgroup", False) and (lost := [i for i in session.items if "@" not in i.nodeid]):
        raise pytest.UsageError(f"pytest-xdist does not group {len(lost)} tests: is this pytest too new for it?")


@pytest.fixture(autouse=True, scope="session")
def routes_are_compiled_once() -> Iterator[None]:
    """Most tests of the front end have an application of their own, and werkzeug compiles some expressions and functions for each route.

    They depend on nothing but the route, and took nine tenths of the time that an application took to be made.
    """
    compiled: dict[tuple[object, ...], Rule] = {}
    compile_rule = Rule.compile

    def once(rule: Rule) -> None:
        key = (rule.rule, rule.host, rule.subdomain, rule.merge_slashes, *(rule.defaults or {}).items())
        like = compiled.get(key)
        if like is None:
            compile_rule(rule)
            compiled[key] = rule
            return
        rule._parts, rule._trace, rule._converters = like._parts, like._trace, like._converters
        rule.arguments |= like.arguments
        rule._build = like._build.__func__.__get__(rule)  # type: ignore[attr-defined]  # bound methods, as werkzeug makes them
        rule._build_unknown = like._build_unknown.__func__.__get__(rule)  # type: ignore[attr-defined]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "compile", once)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_disk_is_waited_for() -> Iterator[None]:
    """Only a power cut loses what was written and not synced, and no test cuts the power; a gallery's pictures take 30 syncs.

    Processes that tests start sync as ever, and so does their Redis.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """What a test makes of its process's logging ends with it: else lines stand between those of a later test's command."""
    root = logging.getLogger()
    handlers, level, hooks = root.handlers[:], root.level, (sys.excepthook, threading.excepthook)
    yield
    for handler in root.handlers[:]:
        if isinstance(handler, LogHandler) and handler not in handlers:
            root.removeHandler(handler)
    root.setLevel(level)
    sys.excepthook, threading.excepthook = hooks


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One server for the whole run, on a unix socket. A test that kills a server starts its own."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of an empty Redis."""
    client = connect(redis_server.url)
    client.flushall()
    client.close()
    return redis_server.url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of an empty Redis."""
    client = connect(redis_url)
    yield client
    client.close()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of one real S3 server for the whole run: each test makes buckets of its own."""
    from tests.infra.s3_server import s3_server  # half a second of imports, which most runs of few tests need not pay

    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def s3_bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a new bucket there; the environment has credentials for it."""
    from tests.infra.s3_server import CREDENTIALS, new_bucket

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return new_bucket(s3_endpoint)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of the tiny recipe, made once. Do not write into its folder."""
    from tests.models.training.tiny import trained  # and with it PaddlePaddle

    return trained(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def tiny_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported embedder of that run. Do not write into it."""
    from tests.models.training.tiny import exported

    return exported(tmp_path_factory.getbasetemp())


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """Settings with a data folder of the test's own and the tests' Redis; change them with `dataclasses.replace`.

    A child process gets the same by `settings.to_env()`.
    """
    return load_settings(
        {"REDIS_URL": redis_url, "SHITU_DATA_DIR": str(tmp_path / "data"), "SHITU_WEBHOOKS__SECRET": WEBHOOK_SECRET}
    )
