"""Waits for the end of a job or a batch: by its event stream, and by polls with ETag where that is lost or refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from shitu.client.errors import ConnectionFailed, WaitTimeout
from shitu.client.exchange import Answer, Chunk, Open, Request, Sleep, Steps, checked, json_of, now_s

State = TypeVar("State")

ENDED = {"succeeded", "failed", "canceled", "completed"}
POLL_S = 20.0  # that a poll may wait at the service
SILENCE_S = 40.0  # of a stream, which says something every 15 s
SHORTEST_S = 0.2
PAUSES_S = (0.05, 2.0)  # between polls that the service answered at once


@dataclass(frozen=True)
class Event:
    """One event of a stream."""

    name: str
    data: Any
    id: str


class EventDecoder:
    """Bytes of a `text/event-stream`, as they come, to events with JSON."""

    def __init__(self) -> None:
        self._rest, self._lines = b"", dict[str, str]()

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes. Raises ConnectionFailed for what is no stream of events with JSON."""
        try:
            return self._decoded(chunk)
        except ValueError:  # no UTF-8, no JSON: a proxy's page, or a stream that was cut and mended
            raise ConnectionFailed("The event stream is broken.") from None

    def _decoded(self, chunk: bytes) -> list[Event]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        found = []
        for line in lines:
            text = line.rstrip(b"\r").decode()
            if text:
                name, _, value = text.partition(":")
                value = value.removeprefix(" ")
                self._lines[name] = f"{self._lines['data']}\n{value}" if name == "data" in self._lines else value
                continue
            if "data" in self._lines:
                report = self._lines
                found.append(Event(report.get("event", "message"), json.loads(report["data"]), report.get("id", "")))
            self._lines = {}
        return found


class Watch(Generic[State]):
    """Follows what is at `path`; `seen` is its state, `after` makes the next of an event (None: the event says nothing)."""

    def __init__(
        self,
        path: str,
        seen: State,
        after: Callable[[State, Event], State | None],
        progress: Callable[[State], object] | None,
    ) -> None:
        self._path, self.seen, self._after, self._progress = path, seen, after, progress
        self._etag = self._last_id = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return status(self.seen) in ENDED

    def wait(self, timeout_s: float | None) -> Steps[State]:
        """Its state at the end. Raises WaitTimeout after so many seconds."""
        deadline = math.inf if timeout_s is None else now_s() + timeout_s
        pause_s, started = PAUSES_S[0], now_s()
        if self.ended and self._progress is not None:
            self._progress(self.seen)  # its end is seen, though nothing before it was
        while not self.ended:
            left_s = deadline - now_s()
            if left_s / 2 > SHORTEST_S:
                yield from self._listen(deadline)
            if status(self.seen) not in ENDED:
                polled = now_s()
                if (yield from self._poll(deadline - polled)):
                    break
                if timeout_s is not None and now_s() >= deadline:
                    report: Any = self.seen
                    raise WaitTimeout(report, timeout_s)
                if now_s() - polled < 1:  # the service did not wait
                    yield Sleep(max(0.0, min(pause_s, deadline - now_s())))
                    pause_s = min(PAUSES_S[1], pause_s * 2) if now_s() - started > 1 else pause_s
        return self.seen

    def _listen(self, deadline: float) -> Steps[None]:
        """Takes events until the end, the end of the stream, its loss, or a time near the deadline."""
        silence_s = min(SILENCE_S, (deadline - now_s()) / 2)
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": self._last_id} if self._last_id else {})}
        decoder = EventDecoder()
        try:
            answer: Answer = yield Open(Request("GET", f"{self._path}/events", headers=headers, read_s=silence_s))
            if not answer.streaming:
                if answer.status < 500 and answer.status != 429:
                    checked(answer)
                return
            while deadline - now_s() > silence_s:
                chunk: bytes | None = yield Chunk()
                if chunk is None:
                    return
                for event in decoder.feed(chunk):
                    if not (isinstance(event.data, dict) and {"id", "status"} <= event.data.keys()):
                        raise ConnectionFailed("The event stream is about another job.")
                    self._last_id = event.id or self._last_id
                    state = self._after(self.seen, event)
                    if state is not None:
                        self._see(state)
                if self.ended:
                    return
        except ConnectionFailed as error:
            if error.final:
                raise

    def _poll(self, left_s: float) -> Steps[bool]:
        """Whether it has ended, after waiting at the service."""
        headers = {"If-None-Match": self._etag} if self._etag else {}
        if left_s >= 1:
            headers["Prefer"] = f"wait={int(min(POLL_S, left_s))}"
        answer: Answer = yield Request("GET", self._path, headers=headers, patient_s=max(0.0, left_s))
        if answer.status != 304:
            state: State = json_of(answer)
            self._etag = answer.headers.get("etag", "")
            self._see(state)
        return self.ended

    def _see(self, state: State) -> None:
        changed, self.seen = state != self.seen, state
        if changed and self._progress is not None:
            self._progress(state)


def status(state: Any) -> str:
    """Of a job or a batch."""
    return str(state["status"])
