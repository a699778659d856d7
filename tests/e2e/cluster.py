"""The service on several hosts (tests.e2e.hosts): front, courier, keeper, Redis and S3 in the core, a worker on each host."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from contracts.jobs import JobKind
from infra.jobs.ledger import JobLedger, open_ledger
from infra.jobs.records import JobStatus
from infra.redis.server import find_binary, wait_until_ready
from infra.stack.commands import ROOT, child_environment, handed_on, worker_command
from infra.stack.launcher import Stack
from infra.stack.supervisor import ChildProcess, bind
from tests.e2e.conftest import stack_settings
from tests.e2e.hosts import CORE_ADDRESS, Host, Network, freeze, thaw
from tests.e2e.service import Service, wait_for
from tests.infra.s3_server import CREDENTIALS, new_bucket, s3_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STARTED_WITHIN_S = 60.0
TASK = (
    f"Task {JobKind.RECOGNITION.task}["  # Celery's lines about a message, before the worker looks at the job and after
)


@dataclass
class Worker:
    """A worker on a host, with a log that is read as it grows."""

    host: Host
    process: ChildProcess
    log: Path

    @property
    def pid(self) -> int:
        pid = self.process.pid
        assert pid is not None, self.process.last_words()
        return pid

    def said(self) -> list[dict[str, Any]]:
        """The lines of its log, as far as they are complete."""
        if not self.log.exists():
            return []
        lines = self.log.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def received(self) -> int:
        """How many messages about recognitions it has taken."""
        texts = [str(line.get("message", "")) for line in self.said()]
        return sum(text.startswith(TASK) and text.endswith(" received") for text in texts)

    def idle(self) -> bool:
        """Whether every task that it took about a recognition has ended, if only by an error."""
        texts = [str(line.get("message", "")) for line in self.said()]
        about = [text for text in texts if text.startswith(TASK)]
        return self.received() == sum(" succeeded in " in text or " raised " in text for text in about)

    def threads(self) -> int:
        """How many it has: one more than before while an attempt holds a lease, which a thread renews."""
        return len(list(Path(f"/proc/{self.pid}/task").iterdir()))

    def attempts(self, job_id: str | None = None) -> list[dict[str, Any]]:
        """The attempts that it ended, of one job or of all: `outcome`, `recorded`, `duration_ms`."""
        ended = [line for line in self.said() if line.get("message") == "attempt ended"]
        return [line for line in ended if job_id in {None, line["job_id"]}]


@dataclass
class Cluster:
    """The running service. `service` and `ledger` are for callers inside the core's network."""

    network: Network
    stack: Stack
    folder: Path
    workers: dict[str, Worker]

    def __post_init__(self) -> None:
        self.service = Service(self.stack.base_url)
        self.ledger: JobLedger = open_ledger(self.stack.settings)

    def start(self, name: str) -> Worker:
        """Starts a worker on the host of this name, with a data folder of its own; returns when it takes jobs."""
        host, folder = self.network.hosts[name], self.folder / name
        settings = replace(self.stack.settings, data_dir=folder / "data")
        env = {**handed_on(settings), **child_environment(1), "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics")}
        (folder / "metrics").mkdir(parents=True, exist_ok=True)
        log = folder / f"worker-{len(list(folder.glob('*.log')))}.log"
        command = (*host.words(), *worker_command(settings))
        process = ChildProcess(name, command, env, log, lambda _name, _line: None, folder=ROOT)
        process.start()
        self.workers[name] = Worker(host, process, log)
        wait_for(lambda: self._ready(self.workers[name]), timeout_s=STARTED_WITHIN_S)
        return self.workers[name]

    def _ready(self, worker: Worker) -> bool:
        return any(one.name == f"{worker.host.name}:{worker.pid}" for one in self.ledger.presence.workers())

    def close(self) -> None:
        """Ends the workers at once."""
        for worker in self.workers.values():
            if worker.process.pid is not None:
                thaw(worker.process.pid)
            worker.process.kill()

    def others(self, worker: Worker) -> list[Worker]:
        return [other for other in self.workers.values() if other is not worker]

    def caught(self, ask: Callable[[int], dict[str, Any]]) -> tuple[Worker, dict[str, Any]]:
        """A worker frozen in the middle of a job, and the job; `ask(number)` asks for the next one, which must take long."""
        for number in range(6):
            before = {name: worker.received() for name, worker in self.workers.items()}
            threads = {name: worker.threads() for name, worker in self.workers.items()}
            job = ask(number)

            def takers(before: dict[str, int] = before) -> list[Worker]:
                return [worker for name, worker in self.workers.items() if worker.received() > before[name]]

            wait_for(lambda: bool(takers()))
            [worker] = takers()
            had = threads[worker.host.name]
            # The ledger's word that it has the job may still be on its way to it.
            wait_for(lambda: worker.threads() > had or self.ledger.get(job["id"]).finished)  # noqa: B023 - called at once
            freeze(worker.pid)
            if self.ledger.get(job["id"]).status is JobStatus.PROCESSING:
                return worker, job
            thaw(worker.pid)  # it was faster: once more
        raise AssertionError("the workers finished every job before one could be stopped")

    def ends(self, job: dict[str, Any]) -> list[str]:
        """The events of the feed about this job."""
        found, after = [], None
        while True:
            page = self.service.get("/v1/events?limit=500" + (f"&after={after}" if after else ""))
            found += [event["type"] for event in page["events"] if event["data"]["id"] == job["id"]]
            if not page["events"]:
                return found
            after = page["next_after"]


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The URL of a Redis that other hosts reach: infra.redis.server's listens on loopback alone."""
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind((CORE_ADDRESS, 0))
        port = probe.getsockname()[1]
    options = {"dir": str(folder), "bind": CORE_ADDRESS, "port": str(port), "protected-mode": "no", "appendonly": "yes"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    with (folder / "redis.log").open("wb") as log:
        command = bind((str(find_binary().path), *words, "--save", "", "--maxmemory-policy", "noeviction"))
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_ready(url := f"redis://{CORE_ADDRESS}:{port}/0")
        yield url
    finally:
        server.terminate()
        server.wait(10)


@contextlib.contextmanager
def cluster(network: Network, folder: Path, **changes: str) -> Iterator[Cluster]:
    """The service running on `network`, a worker on each of its hosts. For callers inside the core; `changes` are settings."""
    with contextlib.ExitStack() as opened:
        environment = opened.enter_context(pytest.MonkeyPatch.context())
        for name, value in CREDENTIALS.items():
            environment.setenv(name, value)
        redis_url = opened.enter_context(redis_server(folder / "redis"))
        endpoint = opened.enter_context(s3_server(CORE_ADDRESS))
        store = {"SHITU_OBJECTS__URL": f"s3://{new_bucket(endpoint)}", "SHITU_OBJECTS__ENDPOINT_URL": endpoint}
        settings = stack_settings(
            folder / "core", REDIS_URL=redis_url, SHITU_WORKER__CONCURRENCY="1", **store, **changes
        )
        running = Cluster(network, opened.enter_context(Stack(settings, workers=0)), folder, {})
        opened.callback(running.close)
        for name in network.hosts:
            running.start(name)
        yield running
