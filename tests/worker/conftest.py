"""An opened worker process without models, on the tests' Redis, with leases short enough to watch them lapse."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from infra.jobs.queue import Queue, make_celery
from infra.runtime.settings import JobSettings, Settings
from models import verification
from worker.process import Process

LEASE_S = 0.9


@pytest.fixture(autouse=True, scope="package")
def features_are_found_once() -> Iterator[None]:
    """Most tests that enrol do so with the same few pictures; finding the local features took half of their time."""
    found: dict[tuple[object, ...], Any] = {}
    find_places = verification.find_places

    def once(picture: NDArray[np.uint8]) -> Any:
        key = (picture.shape, picture.tobytes())
        if key not in found:
            found[key] = find_places(picture)
        return tuple(part.copy() for part in found[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "find_places", once)
        yield


@pytest.fixture
def process(settings: Settings) -> Process:
    """What tasks work with, minus the networks."""
    jobs = JobSettings(lease_s=LEASE_S, queued_deadline_s=5, sweep_interval_s=0.05)
    short = dataclasses.replace(settings, jobs=jobs)
    return Process(short, Queue(make_celery(short)), {"recognize"}, None)
