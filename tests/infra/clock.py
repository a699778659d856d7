"""A clock that a test sets by hand: deadlines and leases pass without sleeping."""

from __future__ import annotations


class Clock:
    """Call it for the time; `pass_s` moves it on."""

    def __init__(self, at: float = 1_800_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at

    def pass_s(self, seconds: float) -> None:
        self.at += seconds
