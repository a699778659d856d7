"""One running service for all end-to-end tests: embedded Redis, web, worker with the bundled networks, courier, keeper.

The models are the settings' (the bundled ones); SHITU_WORKER__DETECTOR and SHITU_WORKER__EMBEDDER name others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.runtime.settings import Settings, load_settings
from infra.stack.launcher import Stack
from tests.e2e.service import Service
from tests.models.programs import artifact

IMPATIENT = {
    "SHITU_WEB__PORT": "0",
    "SHITU_WEB__MAX_FILES": "30",
    "SHITU_WEB__MAX_BODY_BYTES": str(8 * 1024 * 1024),
    "SHITU_WEBHOOKS__ALLOWED_HOSTS": "127.0.0.1",  # the receiver of these tests is on loopback
    "SHITU_WEBHOOKS__SCHEDULE_S": "0,0.2,0.5,1",
    "SHITU_WEB__ALLOWED_HOSTS": "localhost",  # by this name, and no other, photos may be fetched from these tests' servers
    "SHITU_WORKER__CONCURRENCY": "2",
    "SHITU_WORKER__HEARTBEAT_S": "1",
    "SHITU_JOBS__LEASE_S": "2",
    "SHITU_JOBS__QUEUED_DEADLINE_S": "20",
    "SHITU_JOBS__SWEEP_INTERVAL_S": "0.2",
}


def stack_settings(data_dir: Path, **changes: str) -> Settings:
    """Settings under which a lost job is found in seconds instead of minutes."""
    chosen = {name: value for name, value in os.environ.items() if name.startswith("SHITU_WORKER__")}
    return load_settings({**IMPATIENT, **chosen, **changes, "SHITU_DATA_DIR": str(data_dir)})


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The running processes, with a classifier (none is bundled) and a second embedder. A test that kills some starts its own."""
    folder = tmp_path_factory.mktemp("models")
    changes = {
        "SHITU_WORKER__CLASSIFIER": str(artifact(folder / "classifier", "classify")),
        "SHITU_WORKER__EMBEDDERS": str(artifact(folder / "tiny", "embed")),
    }
    with Stack(stack_settings(tmp_path_factory.mktemp("stack"), **changes)) as running:
        yield running


@pytest.fixture(scope="package")
def service(stack: Stack) -> Service:
    """The service's client."""
    return Service(stack.base_url)
