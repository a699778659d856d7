"""A Celery application for tests/infra/jobs/test_queue.py: its tasks note in Redis what they were given."""

from __future__ import annotations

import os
import time

from contracts.jobs import JobKind
from infra.jobs.queue import DELIVER, make_celery
from infra.redis.client import connect
from infra.runtime.settings import load_settings

settings = load_settings()
app = make_celery(settings)


@app.task(name=JobKind.RECOGNITION.task)
def recognize(job_id: str) -> None:
    """Notes the run; a job called `hang` blocks in its first run, so that a test can kill it there."""
    client = connect(settings.redis_url or "")
    runs = client.rpush(f"ran:{job_id}", os.getpid())
    if job_id == "hang" and runs == 1:
        time.sleep(60)


@app.task(name=DELIVER)
def deliver(delivery_id: str) -> None:
    """Notes the run."""
    connect(settings.redis_url or "").rpush(f"ran:{delivery_id}", os.getpid())
