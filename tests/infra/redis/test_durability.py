"""What Redis holds back on a busy disk is waited for. The disk is not to be slowed at will: its numbers are dictated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from infra.jobs.ledger import JobLedger
from infra.redis.client import connect
from infra.redis.durability import wait_until_written
from infra.redis.server import RedisServer


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, redis_client: redis.Redis) -> list[tuple[int, int]]:
    """What the server will say: bytes in its file and bytes held back. The last answer stands."""
    answers: list[tuple[int, int]] = []

    def info(section: str) -> dict[str, Any]:
        assert section == "persistence"
        size, held = answers.pop(0) if len(answers) > 1 else answers[0]
        return {"aof_current_size": size, "aof_buffer_length": held}

    monkeypatch.setattr(redis_client, "info", info)
    return answers


def test_nothing_held_back_is_not_waited_for(redis_client: redis.Redis) -> None:
    redis_client.set("kept", "yes")
    wait_until_written(redis_client)
    report = redis_client.info("persistence")
    assert report["aof_enabled"] == 1  # or the lines above show nothing
    assert report["aof_current_size"] > 0


def test_a_server_without_a_file_is_not_waited_for(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        client = connect(server.url)
        client.config_set("appendonly", "no")
        client.set("kept", "no")
        wait_until_written(client)
        client.close()


@pytest.mark.parametrize(
    "answers",
    [
        [(100, 30), (100, 30), (130, 0), (-1, -1)],
        [(100, 30), (100, 55), (130, 25), (-1, -1)],  # what others wrote after it is still held
        [(100, 30), (60, 10), (-1, -1)],  # the whole file was written again
    ],
)
def test_what_is_held_back_is_waited_for_and_nothing_else(
    redis_client: redis.Redis, report: list[tuple[int, int]], answers: list[tuple[int, int]]
) -> None:
    report += answers
    wait_until_written(redis_client)
    assert report == [(-1, -1)]  # read as often as needed


def test_a_disk_that_stands_still_is_reported(redis_client: redis.Redis, report: list[tuple[int, int]]) -> None:
    report += [(100, 30)]
    with pytest.raises(redis.TimeoutError, match="too busy"):
        wait_until_written(redis_client, timeout_s=0.1)


def test_a_job_is_accepted_only_when_it_is_written(redis_client: redis.Redis, report: list[tuple[int, int]]) -> None:
    ledger = JobLedger(redis_client)
    report += [(100, 30), (100, 30), (130, 0), (-1, -1)]
    job = ledger.create("recognition", {})
    assert report == [(-1, -1)]
    assert ledger.get(job.id) == job
