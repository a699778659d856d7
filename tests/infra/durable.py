"""Waits until Redis has handed its last writes to the operating system, so that a kill -9 cannot take them back.

With `appendfsync everysec` a write waits up to two seconds in the server's own memory while the disk is still busy with
the sync before: on a busy disk a kill in that moment loses what was just acknowledged.
"""

from __future__ import annotations

import time

import redis


def wait_until_written(client: redis.Redis, timeout_s: float = 10.0) -> None:
    """Returns when the server's append-only buffer is empty."""
    deadline = time.monotonic() + timeout_s
    while client.info("persistence")["aof_buffer_length"] > 0:
        assert time.monotonic() < deadline, "Redis did not write its append-only file"
        time.sleep(0.01)
