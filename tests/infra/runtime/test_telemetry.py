"""Logs that machines read, metrics that Prometheus reads, and a ledger that shows its state."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from infra.jobs.metrics import render_metrics
from prometheus_client.parser import text_string_to_metric_families

from infra.jobs.ledger import JobLedger
from infra.redis.client import connect
from infra.runtime.logs import configure_logging
from infra.runtime.settings import LogSettings
from infra.runtime.telemetry import REGISTRY, STAGES

log = logging.getLogger("tests.telemetry")


@pytest.fixture(autouse=True)
def unchanged_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def values(text: bytes) -> dict[str, float]:
    """Every sample as `name{label=value}`: value."""
    samples = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return samples


def test_json_lines_carry_fields_and_traces() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(level="INFO", format="json"), stream)
    log.info("took %d jobs", 3, extra={"job_id": "rec_1", "path": Path("a")})
    log.debug("unseen")
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["message"] == "took 3 jobs"
    assert (first["level"], first["logger"], first["job_id"], first["path"]) == ("info", log.name, "rec_1", "a")
    assert first["process"] == os.getpid()
    assert "ValueError: broken" in second["exception"]


def test_text_lines_are_short() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(level="DEBUG", format="text"), stream)
    log.debug("hello", extra={"job_id": "rec_1"})
    assert stream.getvalue().endswith(f"debug   {log.name}: hello job_id=rec_1\n")


def test_warnings_are_logged_too() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert json.loads(stream.getvalue())["logger"] == "py.warnings"


def test_the_state_of_the_ledger_is_read_at_each_scrape(redis_client: redis.Redis) -> None:
    ledger = JobLedger(redis_client)
    ledger.create("recognition", {})
    job = ledger.create("enrollment", {}, "https://example.com/hook")
    lease = ledger.start(job.id)
    assert lease is not None
    ledger.presence.worker_ready("one", {}, 60)
    seen = values(render_metrics(ledger))
    assert seen["shitu_jobs{status=queued}"] == 1
    assert seen["shitu_jobs{status=processing}"] == 1
    assert seen["shitu_workers_ready"] == 1
    assert seen["shitu_redis_up"] == 1
    ledger.succeed(lease, {})
    seen = values(render_metrics(ledger))
    assert seen["shitu_jobs{status=processing}"] == 0
    assert seen["shitu_jobs_finished_total{kind=enrollment,status=succeeded}"] == 1
    assert seen["shitu_webhooks_due"] == 1


def test_without_redis_the_metrics_still_answer(tmp_path: Path) -> None:
    ledger = JobLedger(connect(f"unix://{tmp_path}/nothing.sock"))
    seen = values(render_metrics(ledger))
    assert seen["shitu_redis_up"] == 0
    assert "shitu_workers_ready" not in seen


def test_measurements_add_up() -> None:
    before = values(render_metrics()).get("shitu_stage_duration_seconds_count{stage=detect}", 0)
    STAGES.labels("detect").observe(0.02)
    after = values(render_metrics())
    assert after["shitu_stage_duration_seconds_count{stage=detect}"] == before + 1
    assert all(family.name.startswith("shitu_") for family in REGISTRY.collect())


def test_processes_of_one_machine_share_their_measurements(tmp_path: Path) -> None:
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    measure = "from infra.runtime.telemetry import STAGES; STAGES.labels('embed').observe(0.5)"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", measure], env=env, check=True)
    show = "import sys; from infra.runtime.telemetry import render_metrics; sys.stdout.buffer.write(render_metrics())"
    text = subprocess.run([sys.executable, "-c", show], env=env, check=True, capture_output=True).stdout
    assert values(text)["shitu_stage_duration_seconds_count{stage=embed}"] == 2


def test_containers_that_number_their_processes_alike_do_not_write_one_file(tmp_path: Path) -> None:
    """Each has its own process 7; all share one volume, in which the folder need not exist yet."""
    env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "data" / "metrics")}
    measure = (
        "import os, socket; os.getpid = lambda: 7; socket.gethostname = lambda: {host!r}; "
        "from infra.runtime.telemetry import STAGES; STAGES.labels('embed').observe(0.5)"
    )
    for host in ("worker-a", "worker-b"):
        subprocess.run([sys.executable, "-c", measure.format(host=host)], env=env, check=True)
    histograms = [file.name for file in (tmp_path / "data" / "metrics").glob("histogram_*")]
    assert len(histograms) == 2
    show = "import sys; from infra.runtime.telemetry import render_metrics; sys.stdout.buffer.write(render_metrics())"
    text = subprocess.run([sys.executable, "-c", show], env=env, check=True, capture_output=True).stdout
    assert values(text)["shitu_stage_duration_seconds_count{stage=embed}"] == 2
