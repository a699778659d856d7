"""Hands job ids to Celery. The queue is only a hint: whatever it loses, the ledger's sweeper publishes again.

Task names and queues are fixed here, so that web, keeper and workers need not import each other's code:

    shitu.recognize(job_id), shitu.enroll(job_id)    each its own: contracts.jobs.JobKind
    shitu.deliver(delivery_id)                       queue deliver
    shitu.fetch(job_id)                              queue fetch
    shitu.canary(queue)                              any of them

Where a function does the jobs about one photo, their ids go to its queue instead: infra.jobs.function_queue.

The settings of Celery below are what a job ledger needs of it; each comment says against which failure.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import kombu
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from contracts.jobs import JobKind
from infra.jobs.broker import AMQP_NAME, keepalive_options
from infra.jobs.function_queue import KINDS, FunctionQueue, function_queue
from infra.jobs.records import QUEUES
from infra.redis.client import CONNECT_TIMEOUT_S, celery_url, is_socket
from infra.runtime import tracing
from infra.runtime.settings import Settings
from infra.runtime.telemetry import PUBLISH_FAILURES

DELIVER = "shitu.deliver"
FETCH = "shitu.fetch"
CANARY = "shitu.canary"

# Longer than any task, or tasks run twice; the ledger's leases bring a dead worker's jobs back much sooner.
VISIBILITY_TIMEOUT_S = 3600

log = logging.getLogger(__name__)


def make_celery(settings: Settings) -> Celery:
    """The Celery application for the Redis of `settings`, which must name one; it connects at first use."""
    if settings.redis_url is None:
        raise ValueError("settings.redis_url is not set: the launcher sets it for the processes that it starts")
    app = Celery("shitu", broker=celery_url(settings.redis_url), amqp=AMQP_NAME, set_as_current=False)
    transport = {
        "visibility_timeout": VISIBILITY_TIMEOUT_S,
        "unacked_restore_interval": 2,  # with the defaults a killed worker's messages stay away for minutes
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "global_keyprefix": f"{settings.redis_prefix}:queue:",
        # One more try at once, then the publisher gets the error; without these kombu waits two seconds and more.
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0.1,
        "socket_timeout": 10,  # a broker that vanished without closing must not hold a publish for ever
    }
    if not is_socket(settings.redis_url):
        transport |= {"socket_keepalive": True, "socket_keepalive_options": keepalive_options()}
    app.conf.update(
        # Each bound to its own name: by default all are to the first, and get whatever is sent to it through an exchange.
        task_queues=[kombu.Queue(name, routing_key=name) for name in QUEUES],
        task_default_queue=QUEUES[0],
        task_create_missing_queues=False,
        # Acknowledge when the work is done, and put it back when the worker died over it.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        # Results are the ledger's; Celery keeps none.
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # All three, or the shortest default among them wins.
        broker_transport_options=transport,
        result_backend_transport_options={"visibility_timeout": VISIBILITY_TIMEOUT_S},
        visibility_timeout=VISIBILITY_TIMEOUT_S,
        # A worker outlives its broker; a publish does not wait for it.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # a Redis that is full or cannot write refuses to hand out messages, for a while
        broker_connection_timeout=CONNECT_TIMEOUT_S,
        task_publish_retry=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,  # True revokes for ever what was running
        # On SIGQUIT finish what can be finished, give the rest back; on SIGTERM the worker drains by itself (worker.process).
        worker_soft_shutdown_timeout=settings.worker.shutdown_s,
        worker_enable_soft_shutdown_on_idle=False,
        # JSON only: a message is data, never code.
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        # Neither remote control nor events: both grow with the number of workers, and nothing here depends on them.
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_disable_rate_limits=True,
        # Logging is infra.runtime.telemetry's.
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        enable_utc=True,
    )
    return app


def open_queue(settings: Settings, celery: Celery | None = None) -> Queue:
    """The queue of the settings, by `celery` or an application of its own."""
    return Queue(celery or make_celery(settings), function_queue(settings))


@contextmanager
def published(queue: str, task: str, argument: str) -> Iterator[dict[str, str]]:
    """The headers of a message: what is published on behalf of a request or a job says so."""
    if tracing.current() is None:  # the keeper's: the job's record has its trace
        yield {}
        return
    attributes = {
        "messaging.system": "redis",
        "messaging.destination.name": queue,
        "messaging.operation.type": "send",
        "messaging.operation.name": task,
        "messaging.message.id": argument,
    }
    with tracing.span(f"send {queue}", "producer", attributes=attributes):
        yield tracing.headers()


class Queue:
    """Publishes ids. No method raises when the broker is away: it logs, counts and answers False within a second.

    With a `function` the jobs that it can do are its own, and no worker hears of them.
    """

    def __init__(self, celery: Celery, function: FunctionQueue | None = None) -> None:
        self._celery = celery
        self._function = function

    def publish(self, kind: JobKind, job_id: str) -> bool:
        """A job of this kind waits in the ledger."""
        if self._function is not None and kind in KINDS:
            return self._function.publish(kind, job_id)
        return self._publish(kind.task, job_id, kind.queue)

    def fetch(self, job_id: str) -> bool:
        """A job waits in the ledger for its photo to be fetched."""
        return self._publish(FETCH, job_id, "fetch")

    def deliver(self, delivery_id: str) -> bool:
        """A webhook message is due."""
        return self._publish(DELIVER, delivery_id, "deliver")

    def canary(self, queue: str = JobKind.RECOGNITION.queue) -> bool:
        """A task that only shows that `queue` is consumed. Send none while messages wait: without workers they pile up."""
        return self._publish(CANARY, queue, queue)

    def _publish(self, task: str, argument: str, queue: str) -> bool:
        try:
            with published(queue, task, argument) as headers:
                self._celery.send_task(
                    task, args=[argument], queue=queue, ignore_result=True, retry=False, headers=headers
                )
        except (OperationalError, redis.RedisError, OSError) as error:
            PUBLISH_FAILURES.labels(queue).inc()
            log.warning("could not publish", extra={"task": task, "subject": argument, "error": type(error).__name__})
            return False
        return True
