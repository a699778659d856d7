"""A front end that listens, whose worker's part a thread does through the ledger, and both clients of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask

from infra.runtime.settings import Settings
from shitu import AsyncClient, Client
from shitu.client.exchange import Retries
from tests.shitu.front_end import listening
from web.app import create_app

QUICK = Retries(first_pause_s=0.01, longest_pause_s=0.05)


@dataclass(frozen=True)
class Served:
    """A front end at `url`."""

    url: str
    app: Flask


@pytest.fixture
def served(settings: Settings) -> Iterator[Served]:
    app = create_app(settings)
    with listening(app) as url:
        yield Served(url, app)


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.url, retries=QUICK) as made:
        yield made


Call = Callable[..., Any]


@pytest.fixture(params=["blocking", "awaiting"])
def call(request: pytest.FixtureRequest, served: Served) -> Iterator[Call]:
    """`call("galleries.items", ...)` by either client; what is listed comes as a list."""
    if request.param == "blocking":
        with Client(served.url, retries=QUICK) as client:

            def call(name: str, /, *args: Any, **kwargs: Any) -> Any:
                found = found_at(client, name)(*args, **kwargs)
                return list(found) if hasattr(found, "__next__") else found

            yield call
        return

    def run(name: str, /, *args: Any, **kwargs: Any) -> Any:
        async def main() -> Any:
            async with AsyncClient(served.url, retries=QUICK) as client:
                found = found_at(client, name)(*args, **kwargs)
                return [one async for one in found] if hasattr(found, "__anext__") else await found

        return asyncio.run(main())

    yield run


def found_at(client: object, name: str) -> Any:
    found: Any = client
    for part in name.split("."):
        found = getattr(found, part)
    return found
