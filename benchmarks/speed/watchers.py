"""Clients that watch one job, as a process of its own: so many event streams, and as many that poll.

    python -m benchmarks.speed.watchers EVENTS_URL JOB_URL COUNT PACE

PACE `each-second`: every client polls once a second; `retry-after`: when the answer's Retry-After says, as the clients of
this project do. Prints `watching` once all streams were opened; ends with its standard input and prints how many polls
were answered.
"""

import sys
import threading
from contextlib import suppress
from itertools import count

import requests

TIMEOUT_S = 20
RECONNECT_S = 3.0  # of an EventSource


def main() -> None:
    """Watches until standard input ends."""
    events, job, clients, pace = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    over, polls = threading.Event(), count()
    opened = threading.Semaphore(0)
    threads = [threading.Thread(target=_follow, args=(events, opened, over), daemon=True) for _ in range(clients)]
    for number in range(clients):
        offset_s = number / clients
        threads.append(
            threading.Thread(target=_poll, args=(job, pace == "retry-after", offset_s, polls, over), daemon=True)
        )
    for thread in threads:
        thread.start()
    for _ in range(clients):
        opened.acquire(timeout=TIMEOUT_S)
    before = next(polls)
    print("watching", flush=True)
    sys.stdin.read()
    print(next(polls) - before - 1, flush=True)
    over.set()


def _follow(url: str, opened: threading.Semaphore, over: threading.Event) -> None:
    """As an EventSource: comes back after each end."""
    with requests.Session() as http:
        while not over.is_set():
            with suppress(requests.RequestException), http.get(url, stream=True, timeout=TIMEOUT_S) as stream:
                opened.release()
                for _ in stream.iter_lines():
                    if over.is_set():
                        return
            over.wait(RECONNECT_S)


def _poll(url: str, follows_retry_after: bool, offset_s: float, polls: "count[int]", over: threading.Event) -> None:
    over.wait(offset_s)  # not all in the same moment
    with requests.Session() as http:
        while not over.is_set():
            pause_s = 1.0
            with suppress(requests.RequestException):
                answer = http.get(url, timeout=TIMEOUT_S)
                next(polls)
                if follows_retry_after:
                    pause_s = float(answer.headers.get("Retry-After", "1"))
            over.wait(pause_s)


if __name__ == "__main__":
    main()
