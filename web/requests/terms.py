"""What a request says of the job that it makes, besides what the job is about: headers and common fields."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flask import request

from infra.errors.requests import InvalidRequest
from infra.jobs.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contracts.jobs import Priority

CANCEL_AFTER = "Cancel-After"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
LONGEST_S = 7 * 86_400
_DURATION = re.compile(r"(?:\d{1,9}[smhd])+|\d{1,9}")
_PART = re.compile(r"(\d+)([smhd]?)")


def read_terms(metadata: Mapping[str, str] | None = None, priority: Priority = "normal", units: int = 1) -> Terms:
    """Those of the current request. `units`: of work, as of `Terms`. Raises InvalidRequest."""
    return Terms(metadata or {}, cancel_after_s(), priority, units)


def cancel_after_s() -> float | None:
    """The seconds of the header Cancel-After: `15s`, `1m`, `2h`, `1h30m`, or a bare number of seconds."""
    sent = request.headers.get(CANCEL_AFTER)
    if sent is None:
        return None
    text = sent.strip().lower()
    parts = _PART.findall(text) if _DURATION.fullmatch(text) else []
    total = sum(int(number) * UNITS[unit or "s"] for number, unit in parts)
    if not 1 <= total <= LONGEST_S:
        detail = f"{CANCEL_AFTER} takes a time from 1s to 7d: 15s, 1m, 2h, 1h30m"
        raise InvalidRequest(f"{detail}.", errors=[{"pointer": "", "detail": detail}])
    return float(total)
