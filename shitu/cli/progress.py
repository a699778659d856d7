"""How far something is, on standard error: a bar on a terminal, else a line now and then; nothing of what is done at once."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import click
from rich.console import Console
from rich.progress import track

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

QUIET_S = 2.0  # what is done within it says nothing
REPORT_EVERY_S = 5.0
EVALUATION_EVERY_S = 2.0

T = TypeVar("T")


def tracked(things: Sequence[T], what: str, console: Console | None = None) -> Iterator[T]:
    """Each of `things`, printing how many of them are done. Lines of others may go through `console` meanwhile."""
    console = console or Console(stderr=True)
    if console.is_terminal:
        yield from track(things, what, console=console, transient=True, disable=len(things) < 2)
        return
    due = time.monotonic() + QUIET_S
    for done, thing in enumerate(things):
        if time.monotonic() >= due:
            due = time.monotonic() + REPORT_EVERY_S
            _line(f"{what}: {done}/{len(things)}")
        yield thing


@contextmanager
def working(what: str) -> Iterator[None]:
    """Says that `what` is being done if it takes longer than QUIET_S, for work that cannot be counted."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(f"{what} …"):
            yield
        return
    timer = threading.Timer(QUIET_S, _line, (f"{what} …",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def counted(what: str) -> Callable[[int, int | None], None]:
    """A callback that writes a line now and then: how much is done, and of how much if that is known."""
    due = time.monotonic() + QUIET_S

    def notify(done: int, of: int | None) -> None:
        nonlocal due
        if time.monotonic() >= due:
            due = time.monotonic() + REPORT_EVERY_S
            _line(f"{what}: {done}" + ("" if of is None else f"/{of}"))

    return notify


def report_progress() -> Callable[[str, int, int], None]:
    """A callback that writes, at most every few seconds, how far something is."""
    report: dict[str, float] = {}

    def notify(what: str, done: int, of: int) -> None:
        now = time.monotonic()
        if done == of or now - report.get(what, -EVALUATION_EVERY_S) >= EVALUATION_EVERY_S:
            report[what] = now
            _line(f"{what}: {done}/{of}")

    return notify


def _line(text: str) -> None:
    click.echo(text, err=True)
    sys.stderr.flush()
