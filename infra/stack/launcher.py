"""Runs the whole service on one machine: Redis, web, worker, courier and keeper as child processes.

`shitu up`, the demo and the end-to-end tests use it: `with Stack(settings) as stack: stack.base_url`.
"""

from __future__ import annotations

import itertools
import shutil
import signal
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from contracts.errors import ServiceError
from infra.errors.service import ConfigurationError, NotReady, RedisMisconfigured
from infra.jobs.ledger import open_ledger
from infra.jobs.load import policy_of, read_load
from infra.net.webhooks import signing_keys
from infra.redis.server import RedisServer, wait_until_ready
from infra.runtime.logs import json_line
from infra.stack.commands import (
    ROOT,
    WEB_DRAIN_S,
    bracketed,
    child_environment,
    courier_command,
    handed_on,
    keeper_command,
    web_command,
    worker_command,
)
from infra.stack.installation import verify
from infra.stack.pool import WorkerPool
from infra.stack.starting import EmbeddedRedis, ask, listen, make_data_folder
from infra.stack.supervisor import ChildProcess, Supervised, Supervisor, binding

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from infra.runtime.settings import Settings

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - where such a server is reached
EXITS_BEFORE_GIVING_UP = 3
READY_POLL_S = 0.1  # at first; each question is a line in the log, so the pauses grow
READY_POLL_MOST_S = 1.0


class Stack:
    """The processes of the service, as a context manager; `settings` with what the launcher chose filled in.

    `processes` holds them by name: redis (unless REDIS_URL is set), web, worker (worker-2, ...), courier, keeper.
    `say(name, line)` gets every line they write, and the launcher's own under their name. `progress(line)` says what is
    being waited for. With `workers=0` the caller adds them, and ready is when the front answers; with `most` a pool does, between
    `workers` and `most` of them (infra.stack.pool). `restart=False` leaves dead processes dead, for tests of what then happens.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        workers: int = 1,
        most: int | None = None,
        restart: bool = True,
        say: Callable[[str, str], None] | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self.settings = settings
        self._workers = workers
        self._most = most
        self._pool: WorkerPool | None = None
        self._restart = restart
        self._say = say or (lambda _name, _line: None)
        self._progress = progress or (lambda _line: None)
        self._shape = json_line if settings.log.format == "json" else None
        self._supervisor: Supervisor | None = None
        self._listener: socket.socket | None = None
        self._stopping = threading.Lock()

    @property
    def processes(self) -> dict[str, Supervised]:
        """The processes by name; empty before the start and after the stop."""
        return self._supervisor.processes if self._supervisor else {}

    @property
    def base_url(self) -> str:
        """Where the service is reached, without a slash at the end."""
        host = EVERYWHERE.get(self.settings.web.host, self.settings.web.host)
        return f"http://{bracketed(host)}:{self.settings.web.port}"

    @property
    def logs(self) -> Path:
        """The folder of the log files, one for each process."""
        return self.settings.data_dir / "logs"

    def start(self, timeout_s: float = 120.0) -> None:
        """Returns when the service is ready: a worker with loaded models takes tasks.

        Raises ConfigurationError (the port is taken), RedisUnavailable, NotReady with what the processes last said.
        Nothing is left running then.
        """
        deadline = time.monotonic() + timeout_s
        try:
            self._listen()
            make_data_folder(self.settings.data_dir)
            self._supervisor = Supervisor(self._say)
            self._start_redis()
            keys = signing_keys(self.settings)
            self.settings = replace(self.settings, webhooks=replace(self.settings.webhooks, secret=keys))
            self._start_processes()
            self._wait_until_ready(deadline, timeout_s)
            self._start_pool()
        except OSError as error:  # a file where a folder is wanted, a file that may not be read, a full disk
            self.stop()
            if error.filename is None or not Path(str(error.filename)).is_relative_to(self.settings.data_dir):
                raise NotReady(f"A process cannot be started: {error.filename}: {error.strerror}") from error
            raise ConfigurationError([f"SHITU_DATA_DIR: {error.filename}: {error.strerror}"]) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops everything: the front first, then the workers when they have drained, the keeper, and Redis last."""
        with self._stopping:
            supervisor = self._supervisor
            if self._listener is not None:
                self._listener.close()  # from here on a caller is refused instead of left waiting
                self._listener = None
            if self._pool is not None:
                self._pool.close()
                self._pool = None
            if supervisor is None:
                return
            names = list(supervisor.processes)
            supervisor.stop("web")
            supervisor.stop(*(name for name in names if name.startswith(("worker", "courier"))))
            supervisor.stop("keeper")
            supervisor.stop("redis")
            supervisor.close()
            self._supervisor = None

    def kill(self) -> None:
        """Ends all processes at once. May be called from a signal handler while `stop` waits; `stop` then returns."""
        if self._supervisor is not None:
            self._supervisor.kill()

    def add_worker(self) -> Supervised:
        """Starts one more worker, named worker, worker-2, worker-3, ...; it is not waited for."""
        names = (name for number in itertools.count(1) if (name := f"worker-{number}" if number > 1 else "worker"))
        name = next(name for name in names if name not in self.processes)
        drain_s = self.settings.worker.shutdown_s + 10
        return self._add(name, worker_command(self.settings, name), drain_s, threads=self.settings.worker.threads)

    def serving(self) -> int:
        """How many workers there are that are not retired, ready or not."""
        return len(self._serving())

    def start_one(self) -> None:
        """`add_worker`, for the pool."""
        self.add_worker()

    def retire_one(self) -> None:
        """Retires the worker that was started last: it ends what it runs, and then itself."""
        if names := self._serving():
            self._supervised().retire(names[-1])

    def _serving(self) -> list[str]:
        found = list(self.processes.items())
        return [name for name, process in found if name.startswith("worker") and not process.retired]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _listen(self) -> None:
        """Opens the web's socket here: no port is lost between choosing it and using it, nor while the web restarts."""
        self._listener = listen(self.settings)
        port = self._listener.getsockname()[1]
        self.settings = replace(self.settings, web=replace(self.settings.web, port=port))

    def _start_redis(self) -> None:
        if self.settings.redis_url is not None:
            self._progress("waiting for the Redis of REDIS_URL")
            wait_until_ready(self.settings.redis_url)
            self._claim()
            return
        self._progress("starting Redis")
        server = RedisServer(
            self.settings.data_dir / "redis", wrapper=tuple(binding(signal.SIGTERM)), shape=self._shape
        )
        self._supervised().add("redis", EmbeddedRedis(server), stop_timeout_s=15.0, restart=self._restart)
        self.settings = replace(self.settings, redis_url=server.url)
        self._claim()

    def _claim(self) -> None:
        """Refuses another installation's Redis here, in one line, instead of in each process."""
        try:
            verify(self.settings)
        except (RedisMisconfigured, ConfigurationError):
            raise
        except ServiceError as error:  # the processes can live with it until it is over
            self._progress(error.detail)

    def _start_processes(self) -> None:
        metrics = self.settings.data_dir / "metrics"
        shutil.rmtree(metrics, ignore_errors=True)  # the counters of processes that are no more
        self._progress("starting web, worker, courier and keeper")
        listener = self._listener.fileno() if self._listener else -1
        self._add("web", web_command(self.settings, f"fd://{listener}"), WEB_DRAIN_S + 5, pass_fds=(listener,))
        for _ in range(self._workers):
            self.add_worker()
        self._add("courier", courier_command(self.settings), self.settings.worker.shutdown_s + 10)
        self._add("keeper", keeper_command(), 10.0)

    def _start_pool(self) -> None:
        if self._most is None:
            return
        scaling, ledger = self.settings.scaling, open_ledger(self.settings)
        bounds, policy = (self._workers, self._most), policy_of(scaling)
        self._pool = WorkerPool(self, lambda: read_load(ledger), policy, bounds, scaling.idle_s, self._progress)
        self._pool.start()

    def _add(
        self,
        name: str,
        command: tuple[str, ...],
        stop_timeout_s: float,
        *,
        threads: int = 1,
        pass_fds: tuple[int, ...] = (),
    ) -> Supervised:
        child = ChildProcess(
            *(name, command, self._environment(threads), self.logs / f"{name}.log", self._say),
            pass_fds=pass_fds,
            folder=ROOT,
            shape=self._shape,
        )
        return self._supervised().add(name, child, stop_timeout_s=stop_timeout_s, restart=self._restart)

    def _environment(self, threads: int) -> dict[str, str]:
        return {
            **handed_on(self.settings),
            **child_environment(threads),
            "PROMETHEUS_MULTIPROC_DIR": str(self.settings.data_dir / "metrics"),
        }

    def _wait_until_ready(self, deadline: float, timeout_s: float) -> None:
        report, pause_s = "", READY_POLL_S
        while True:
            ready, detail = ask(f"{self.base_url}/{'readyz' if self._workers else 'healthz'}")
            if ready:
                return
            if detail != report:
                report = detail
                self._progress(f"waiting: {detail}")
            for name, process in self.processes.items():
                if process.exits >= (EXITS_BEFORE_GIVING_UP if self._restart else 1):
                    raise NotReady(f"The process {name} does not start ({process.running.ended()}).{self._words(name)}")
            if time.monotonic() > deadline:
                words = "".join(self._words(name) for name in self.processes if name.startswith(("web", "worker")))
                raise NotReady(f"The service was not ready within {timeout_s:g} s: {detail}{words}")
            time.sleep(pause_s)
            pause_s = min(1.2 * pause_s, READY_POLL_MOST_S)

    def _words(self, name: str) -> str:
        running = self.processes[name].running
        said = running.last_words() if isinstance(running, ChildProcess) else ""
        return f"\n--- the last lines of {self.logs / name}.log\n{said}" if said else ""

    def _supervised(self) -> Supervisor:
        if self._supervisor is None:
            raise NotReady("The stack is not started.")
        return self._supervisor
