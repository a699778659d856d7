"""A real Redis server for the whole run (one for each test process), emptied before each test that asks for it, and settings that point to it."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from infra.redis.client import connect
from infra.redis.server import RedisServer
from infra.runtime.logs import LogHandler
from infra.runtime.settings import Settings, load_settings

WEBHOOK_SECRET = "whsec_" + "c2hpdHUtdGVzdHMtb25seS1zaGl0dS10ZXN0cy1vbmx5"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of several test processes (`pytest -n 2 --dist loadgroup`), the tests of one file go to one, for they share fixtures.

    The end-to-end tests share a whole running service, hence a folder goes to one. Each process has its own temporary
    folders and its own Redis.
    """
    for item in items:
        end_to_end = item.path.parent.name == "e2e"
        item.add_marker(pytest.mark.xdist_group(str(item.path.parent if end_to_end else item.path)))


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


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """Settings with a data folder of the test's own and the tests' Redis; change them with `dataclasses.replace`.

    A child process gets the same by `settings.to_env()`.
    """
    return load_settings(
        {"REDIS_URL": redis_url, "SHITU_DATA_DIR": str(tmp_path / "data"), "SHITU_WEBHOOKS__SECRET": WEBHOOK_SECRET}
    )
