"""A worker of an older version beside this one's: each does the jobs that the other's processes accepted.

PREVIOUS is the oldest version whose processes may run beside today's on one Redis and one store. Whoever gives that up
moves it, and says so in CHANGELOG.md. Its code is taken out of the repository; where that lacks it (a shallow clone,
a source archive), the test is skipped. Its packages are today's.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from infra.jobs.ledger import open_ledger
from infra.jobs.queue import Queue, make_celery
from infra.jobs.records import JobStatus
from infra.jobs.scripts import job_key
from infra.redis.client import connect
from infra.stack.commands import ROOT
from infra.stack.launcher import Stack
from infra.stack.supervisor import ChildProcess
from tests.e2e.conftest import stack_settings
from tests.e2e.service import Service, encode, labels, pattern, wait_for
from tests.e2e.test_kill_worker import OPTIONS, slow_photo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from infra.runtime.settings import Settings

pytestmark = pytest.mark.slow

GALLERY = "mixed"
PREVIOUS = "8281f43f3e7f2b541027d997280d94594b7741ad"
PACKAGES = ("contracts", "infra", "models", "shitu", "web", "worker")
LATER = "of_a_later_version"
# What the older version's front does, by its own code: a photo kept, a job accepted and handed over.
ACCEPT = """
import json, pathlib, sys
from contracts.jobs import JobKind
from infra.jobs.ledger import open_ledger
from infra.jobs.photos import Photos
from infra.jobs.queue import Queue, make_celery
from infra.objects.opening import open_store
from infra.redis.client import open_client
from infra.runtime.settings import load_settings
assert pathlib.Path(sys.modules["infra.jobs.ledger"].__file__).is_relative_to(sys.argv[1])
settings = load_settings()
key = Photos(open_client(settings), open_store(settings.objects, settings.data_dir)).keep(pathlib.Path(sys.argv[2]).read_bytes())
request = {"gallery": "mixed", "image": {"key": key, "name": "a.jpg", "width": 160, "height": 160, "format": "JPEG"}, "options": {}}
job = open_ledger(settings).create(JobKind.RECOGNITION, request)
assert Queue(make_celery(settings)).publish(job.kind, job.id)
print(job.id)
"""


BECOME_WORKER = """
import os
from infra.runtime.settings import load_settings
from infra.stack.commands import worker_command
command = worker_command(load_settings())
os.execv(command[0], command)
"""


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the older version's packages."""
    folder = tmp_path_factory.mktemp("older")
    git = ("git", "-C", str(ROOT))
    if subprocess.run([*git, "cat-file", "-e", f"{PREVIOUS}^{{commit}}"], capture_output=True, check=False).returncode:
        pytest.skip(f"the repository here does not have the version {PREVIOUS}")
    archive = subprocess.run([*git, "archive", PREVIOUS, *PACKAGES], capture_output=True, check=True, timeout=60)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """This version's front, courier and keeper; each test starts the workers that it wants."""
    settings = stack_settings(tmp_path_factory.mktemp("stack"), SHITU_WORKER__CONCURRENCY="1")
    with Stack(settings, workers=0) as running:
        yield running


@pytest.fixture(scope="module")
def service(stack: Stack) -> Service:
    own = Service(stack.base_url)
    own.create_gallery(GALLERY)
    return own


def environment(folder: Path, settings: Settings) -> dict[str, str]:
    """An older version refuses settings that it does not know: it gets those that an operator would have set then."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SHITU_")}
    return {
        **inherited,
        "REDIS_URL": str(settings.redis_url),
        "SHITU_DATA_DIR": str(settings.data_dir),
        "SHITU_WORKER__CONCURRENCY": "1",
        "SHITU_JOBS__LEASE_S": str(settings.jobs.lease_s),
        "SHITU_WORKER__HEARTBEAT_S": str(settings.worker.heartbeat_s),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(folder),
    }


@contextlib.contextmanager
def older_worker(folder: Path, stack: Stack, log: Path) -> Iterator[ChildProcess]:
    """A running worker of the older version, with its models loaded."""
    command = (sys.executable, "-P", "-c", BECOME_WORKER)
    env = environment(folder, stack.settings)
    process = ChildProcess("older", command, env, log, lambda _name, _line: None, folder=folder)
    process.start()
    try:
        presence = open_ledger(stack.settings).presence
        wait_for(lambda: any(one.name.endswith(f":{process.pid}") for one in presence.workers()), timeout_s=60)
        yield process
    finally:
        process.stop(30)


@contextlib.contextmanager
def new_worker(stack: Stack) -> Iterator[None]:
    """A running worker of this version."""
    stack.add_worker()
    presence = open_ledger(stack.settings).presence
    wait_for(lambda: bool(presence.workers()), timeout_s=60)
    yield
    stack.retire_one()
    wait_for(lambda: "worker" not in stack.processes)


def ended_by(log: Path) -> set[str]:
    """The jobs whose ends this worker recorded."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return {line["job_id"] for line in lines if line.get("message") == "attempt ended" and line["recorded"]}


def test_an_older_worker_does_what_this_version_accepts_and_keeps_what_it_does_not_know(
    stack: Stack, service: Service, older: Path, tmp_path: Path
) -> None:
    log, photo = tmp_path / "older.log", encode(pattern(1))
    with older_worker(older, stack, log), contextlib.closing(connect(str(stack.settings.redis_url))) as client:
        service.enroll(GALLERY, {"pattern 1": photo})
        asked = service.accepted(service.ask(photo, GALLERY))
        done = service.finished(asked)
        assert set(labels(done["result"])) == {"pattern 1"}
        assert asked["id"] in ended_by(log)

        ledger = open_ledger(stack.settings)
        job = ledger.create("recognition", {**done["request"], LATER: {"deep": True}})
        client.hset(job_key(job.id), LATER, "kept")
        assert Queue(make_celery(stack.settings)).publish(job.kind, job.id)
        ended = service.finished(job.to_dict())
        assert (ended["status"], ended["request"][LATER]) == ("succeeded", {"deep": True})
        assert client.hget(job_key(job.id), LATER) == "kept"
        assert job.id in ended_by(log)


def test_this_version_does_what_an_older_one_accepted_or_left(
    stack: Stack, service: Service, older: Path, tmp_path: Path
) -> None:
    log = tmp_path / "older.log"
    (tmp_path / "photo.jpg").write_bytes(encode(pattern(1, 170)))
    command = (sys.executable, "-P", "-c", ACCEPT, str(older), str(tmp_path / "photo.jpg"))
    env = environment(older, stack.settings)
    said = subprocess.run(command, env=env, cwd=older, capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 0, said.stderr
    accepted = {"links": {"self": f"/v1/recognitions/{said.stdout.strip()}"}}
    assert service.get(accepted["links"]["self"])["status"] == "queued"

    with new_worker(stack):
        assert set(labels(service.finished(accepted)["result"])) == {"pattern 1"}
    with older_worker(older, stack, log) as process:
        ledger = open_ledger(stack.settings)
        left = service.accepted(service.ask(slow_photo(0), GALLERY, options=OPTIONS))
        wait_for(lambda: ledger.get(left["id"]).status is not JobStatus.QUEUED)
        process.kill()
        assert ledger.get(left["id"]).status is JobStatus.PROCESSING, "it was faster than its kill"
    with new_worker(stack):
        done = service.finished(left)
        assert (done["status"], done["attempts"]) == ("succeeded", 2)


def test_no_job_is_lost_while_workers_are_replaced(stack: Stack, service: Service, older: Path, tmp_path: Path) -> None:
    """Both run for a while, then the older one is stopped as a rolling update stops it, with jobs in its hands."""
    log = tmp_path / "older.log"
    with older_worker(older, stack, log) as process, new_worker(stack):
        jobs = [service.accepted(service.ask(encode(pattern(1, 180 + n)), GALLERY, options=OPTIONS)) for n in range(40)]
        wait_for(lambda: bool(ended_by(log)))
        process.stop(30)
        assert {service.finished(job)["status"] for job in jobs} == {"succeeded"}
        by_older = ended_by(log)
        assert 0 < len(by_older) < len(jobs)
        assert {service.get(job["links"]["self"])["attempts"] for job in jobs} == {1}
