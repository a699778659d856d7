"""What the tests of commands and of clients share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.runtime.settings import Settings
from tests.shitu.front_end import Hand


@pytest.fixture
def hand(settings: Settings) -> Iterator[Hand]:
    """A thread that ends every job, as a worker would."""
    running = Hand(settings)
    running.start()
    yield running
    running.stop()
