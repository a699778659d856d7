"""Waits until Redis has handed a write to the operating system: from then on a kill of Redis cannot take it back.

With `appendfsync everysec` Redis answers a write that it only holds in memory while the disk is still busy with the sync
before; usually that is for milliseconds, at most for two seconds. Whoever promises to keep something waits for that.
"""

from __future__ import annotations

import time

import redis

POLL_S = 0.01
LONGEST_S = 4.0  # after two seconds Redis writes, however busy the disk is


def wait_until_written(client: redis.Redis, timeout_s: float = LONGEST_S) -> None:
    """Returns when all that was written before this call is out of the server's memory.

    A server without an append-only file, or one that does not report it, is not waited for. Raises redis.TimeoutError, and
    redis.ResponseError (MISCONF) where the disk takes no writes.
    """
    deadline = time.monotonic() + timeout_s
    before, held = _appended(client)
    until = before + held
    written = before
    # What others write meanwhile is held after ours, and need not be waited for. A file that shrinks was written again.
    while held and before <= written < until:
        if time.monotonic() > deadline:
            raise redis.TimeoutError(f"Redis has held a write back for {timeout_s:g} s: the disk is too busy.")
        time.sleep(POLL_S)
        written, held = _appended(client)


def _appended(client: redis.Redis) -> tuple[int, int]:
    """Bytes in the append-only file, and bytes still to be appended to it."""
    try:
        report = client.info("persistence")
    except redis.ResponseError:  # a rented server may forbid the question
        return 0, 0
    if report.get("aof_last_write_status", "ok") != "ok":  # the disk is full: waiting may take for ever
        raise redis.ResponseError("MISCONF Errors writing to the AOF file")
    return int(report.get("aof_current_size", 0)), int(report.get("aof_buffer_length", 0))
