"""One line for every change of a gallery: who changed what, from which version to which.

`infra.galleries.store` writes it, so that no way to a gallery goes round it. Who it is, the border knows: a request, a job, a
user at a command line; it says so by `act_as`, for its thread.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any

from infra.runtime.logs import LogHandler, formatter, settings_of_environment

log = logging.getLogger("shitu.audit")
_actor: ContextVar[dict[str, Any] | None] = ContextVar("shitu_actor", default=None)


def act_as(who: str, **fields: Any) -> None:
    """From here on this thread changes galleries for `who`; `fields` lead to more (request id, job id)."""
    _actor.set({"who": who, **fields})


def show() -> None:
    """At a command line, where nothing else is logged: the lines go to standard error, as text unless JSON is set."""
    handler = LogHandler()
    handler.setFormatter(formatter(settings_of_environment("text")))
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)


def gallery_changed(change: str, gallery: str, before: int | None, after: int | None, **fields: Any) -> None:
    """`change` is created, added, removed, renamed, index chosen, activated or deleted; no version is None."""
    line = {"change": change, "gallery": gallery, "from_version": before, "to_version": after, **fields}
    log.info("gallery changed", extra={**(_actor.get() or {"who": "unknown"}), **line})


def accepted(gallery: str, job_id: str, items: int) -> None:
    """An enrolment was promised: its change comes later, by a worker, and names the job."""
    line = {"gallery": gallery, "job_id": job_id, "items": items}
    log.info("enrolment accepted", extra={**(_actor.get() or {"who": "unknown"}), **line})


def erased(kind: str, erasure_id: str, gallery: str | None, job_id: str | None) -> None:
    """An erasure is finished: its receipt has what went."""
    line = {"kind": kind, "erasure_id": erasure_id, "gallery": gallery, "job_id": job_id}
    log.info("erased", extra={**(_actor.get() or {"who": "unknown"}), **line})
