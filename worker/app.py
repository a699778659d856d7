"""Composes a worker process for `celery -A worker.app worker`: reads the settings, makes the app, opens the process.

What a process holds is opened after fork: in the children of a prefork pool, in the one process of the other pools. A
worker that consumes neither recognitions nor enrolments is a courier and loads no model.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
from typing import TYPE_CHECKING, Any

from celery import signals
from celery.apps import worker as celery_worker
from celery.concurrency import get_implementation
from celery.concurrency.prefork import TaskPool as PreforkPool

import shitu.packages  # noqa: F401 - first: it makes sure that the packages below are ours
from contracts.errors import CodedError, ServiceError
from contracts.jobs import JobKind
from infra.jobs.queue import CANARY, make_celery, open_queue
from infra.runtime.logs import configure_logging, fatal, json_line
from infra.runtime.machine import planned, pool_for
from infra.runtime.settings import load_settings
from infra.runtime.tracing import close_tracing, open_tracing
from infra.stack.installation import verify_or_exit
from worker.process import Process, current, is_open, set_current

if TYPE_CHECKING:
    from celery.worker import WorkController


_retired: list[bool] = []  # whether the shutdown that begins next is a retirement
MODEL_QUEUES = {kind.queue for kind in JobKind}
FETCH_QUEUE = "fetch"

log = logging.getLogger(__name__)


try:
    settings = load_settings()
except ServiceError as error:
    raise fatal(error.detail) from None
if settings.redis_url is None:
    raise fatal("REDIS_URL is not set: `shitu up` starts the workers together with a Redis server")
plan = planned(settings)
# Math libraries read these once, when they are loaded: a worker's parallelism is its processes and threads.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, str(settings.worker.threads))
app = make_celery(settings)
app.conf.update(
    imports=["worker.tasks"],
    worker_pool=pool_for(settings.worker),  # the courier's command line says otherwise
    worker_concurrency=plan.concurrency,
)


def quiet_canary(record: logging.LogRecord) -> bool:
    """A filter that makes Celery's lines about a canary DEBUG: one comes every few seconds, and says nothing new."""
    data = getattr(record, "data", None)
    if isinstance(data, dict) and data.get("name") == CANARY and record.levelno == logging.INFO:
        record.levelno, record.levelname = logging.DEBUG, logging.getLevelName(logging.DEBUG)
        return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
    return True


def say(message: str, _stream: object = None) -> None:
    """Celery's word at a signal, as a line of the log: written whole and without a lock, as a signal handler must."""
    with contextlib.suppress(OSError):
        line = json_line("celery", message) if settings.log.format == "json" else message
        os.write(2, f"{line}\n".encode())


celery_worker.safe_say = say


@signals.celeryd_init.connect
def without_banner(instance: Any, **_: Any) -> None:
    """The banner of many lines is for people; what it says is in the log's first lines. Celery's own warnings follow."""
    configure_logging(settings.log)
    instance.quiet = True


@signals.setup_logging.connect
def set_up_logging(**_: Any) -> None:
    """Instead of Celery's own."""
    configure_logging(settings.log)
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).addFilter(quiet_canary)


@signals.worker_init.connect
def check_installation(**_: Any) -> None:
    """Connected first: what only a changed setting mends ends the worker with one line, before a model is loaded."""
    configure_logging(settings.log)
    verify_or_exit(settings)


@signals.worker_init.connect
def hear_of_retirement(**_: Any) -> None:
    """SIGUSR2 retires this worker: a warm shutdown in which what runs may last as long as it does."""
    signal.signal(signal.SIGUSR2, retire)


def retire(_number: int, _frame: object) -> None:
    """The pool has more workers than it needs (infra.stack.pool)."""
    _retired.append(True)
    os.kill(os.getpid(), signal.SIGTERM)


@signals.worker_init.connect
def open_single(sender: WorkController, **_: Any) -> None:
    """Pools that run tasks in this very process open it before the first message is taken."""
    if not forks(sender):
        open_process(sender.concurrency)


@signals.worker_process_init.connect
def open_child(**_: Any) -> None:
    """A prefork child opens its own, for one task at a time."""
    if not is_open():  # the solo pool sends this signal too, in the process that `open_single` has opened
        open_process(concurrency=1)
        current().announce()


@signals.worker_ready.connect
def announce(**_: Any) -> None:
    """The worker consumes from now on."""
    if is_open():
        current().announce()


@signals.worker_shutting_down.connect
def drain(**_: Any) -> None:
    """No new tasks; those that run have the settings' `shutdown_s` left, or all the time of a retirement.

    A SIGTERM after that is the stop of the whole service, with its own limit again.
    """
    within_s = math.inf if _retired else settings.worker.shutdown_s
    _retired.clear()
    if is_open():
        current().drain(within_s)


@signals.worker_shutdown.connect
@signals.worker_process_shutdown.connect
def close(**_: Any) -> None:
    """The process ends."""
    if is_open():
        current().close()
    close_tracing()


def forks(worker: WorkController) -> bool:
    """Whether the worker's pool runs tasks in forked children."""
    return get_implementation(worker.pool_cls) is PreforkPool


def open_process(concurrency: int) -> None:
    """Opens this process for `concurrency` tasks at a time; a worker that cannot load its models ends here."""
    configure_logging(settings.log)  # Celery asks for it only later
    queues, queue = set(app.amqp.queues.consume_from), open_queue(settings, app)
    try:
        open_tracing(settings, "shitu-worker" if queues & MODEL_QUEUES else "shitu-courier")
        if queues & MODEL_QUEUES:
            from worker.runtime import open_runtime

            set_current(Process(settings, queue, queues, open_runtime(settings, concurrency), concurrency=concurrency))
        else:
            process = Process(settings, queue, queues, None)
            if FETCH_QUEUE in queues:
                from worker.fetcher import open_fetcher

                process.fetcher = open_fetcher(process)
            set_current(process)
        log.info("opened", extra={"concurrency": concurrency, "reason": plan.reason, "queues": sorted(queues)})
    except (CodedError, OSError) as error:  # what people can mend: their words are enough
        log.critical("this worker cannot be opened: %s", getattr(error, "detail", error))
        raise SystemExit(1) from None
    except Exception:
        # Celery would log what a signal's receiver raises and work on without models.
        log.exception("this worker cannot be opened")
        raise SystemExit(1) from None
