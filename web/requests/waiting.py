"""`Prefer` (RFC 7240): how long a request may wait for its job, and what the answer says of that."""

from __future__ import annotations

import math
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flask import request

from web.services import services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Response

WAIT = re.compile(r"wait(?:\s*=\s*\"?(\d{1,9})\"?)?")


def preferred_s() -> float | None:
    """How long the client prefers to wait, at most as long as the settings allow, which a bare `wait` means; None: not."""
    most = services().settings.web.max_wait_s
    found = next((match for one in _preferences() if (match := WAIT.fullmatch(one))), None)
    return None if found is None else min(float(found[1]), most) if found[1] else most


@contextmanager
def held(wait_s: float | None) -> Iterator[float | None]:
    """How long this request may wait: None if it does not want to, or too many wait already."""
    holds = services().holds
    if wait_s is None or not holds.acquire(blocking=False):
        yield None
        return
    try:
        yield wait_s
    finally:
        holds.release()


def applied(response: Response, waited_s: float | None) -> Response:
    """`response` with what was made of the preference: `waited_s` seconds were granted, None: none were."""
    response.headers["Vary"] = "Prefer"
    if waited_s is not None:
        response.headers["Preference-Applied"] = f"wait={math.floor(waited_s)}"
    elif "respond-async" in _preferences():
        response.headers["Preference-Applied"] = "respond-async"
    return response


def _preferences() -> list[str]:
    """As sent; what is not known is ignored, as the RFC requires."""
    return [one.strip().lower() for sent in request.headers.getlist("Prefer") for one in sent.split(",")]
