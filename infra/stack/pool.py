"""Starts and stops worker processes as the ledger's load asks for: the policy of infra.jobs.scaling, each second.

Fewer workers never cost a running job: a worker that is not needed is retired. It takes no more jobs, ends those that it
has, however long they last, and then goes; nobody kills it but the stop of the whole stack.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Protocol

import redis

from infra.jobs.scaling import Load, Policy, Settled, wanted_workers

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 1.0

log = logging.getLogger(__name__)


class Workers(Protocol):
    """The processes that a pool starts and retires."""

    def serving(self) -> int:
        """How many there are that are not retired, ready or not."""

    def start_one(self) -> None:
        """Starts one more; it is not waited for."""

    def retire_one(self) -> None:
        """Retires the one that was started last; it is not waited for."""


class WorkerPool:
    """Keeps between `least` and `most` workers. `load` reads the ledger and may raise redis.RedisError.

    `notify(line)` gets a line for each change. `idle_s`: how long fewer must have been enough before one is retired.
    """

    def __init__(
        self,
        workers: Workers,
        load: Callable[[], Load],
        policy: Policy,
        bounds: tuple[int, int],
        idle_s: float,
        notify: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        poll_s: float = POLL_S,
    ) -> None:
        self._workers, self._load, self._policy, self._notify, self._clock = workers, load, policy, notify, clock
        self._least, self._most = bounds
        self._settled, self._poll_s = Settled(idle_s), poll_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="worker pool", daemon=True)

    def start(self) -> None:
        """From now on, until `close`, in a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Starts and retires nothing more; the workers stay as they are."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def step(self) -> None:
        """Looks once, and starts or retires what is to be. With Redis away all stays as it is."""
        try:
            load = self._load()
        except redis.RedisError as error:
            log.warning("the pool stays as it is: Redis does not answer (%s)", type(error).__name__)
            return
        wanted = min(self._most, max(self._least, wanted_workers(load, self._policy)))
        target, serving = self._settled(self._clock(), wanted), self._workers.serving()
        if target == serving:
            return
        self._notify(f"{load.waiting} jobs wait, {load.running:.1f} run: {target} workers instead of {serving}")
        for _ in range(serving, target):
            self._workers.start_one()
        for _ in range(target, serving):
            self._workers.retire_one()

    def _run(self) -> None:
        while not self._closing.wait(self._poll_s):
            try:
                self.step()
            except Exception:  # the next look may go well: a process that could not be started, a full disk
                log.exception("the pool could not be changed")
