"""Whether a new job can be served in time: where it cannot, 503 now instead of an answer that comes too late.

In time is what `jobs.longest_wait_s` says; how long a job would wait is reckoned from what jobs took lately, the jobs that
would be before it, and the workers that live (infra.jobs.forecast). Where nothing was measured yet, jobs are taken.
Without a live worker it is reckoned with one, so that a service that was scaled to nothing can be woken by its backlog.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.errors.service import Overloaded
from web.services import services

if TYPE_CHECKING:
    from contracts.jobs import JobKind, Priority
    from infra.jobs.forecast import Snapshot


def admit(kind: JobKind, priority: Priority, snapshot: Snapshot, jobs: int = 1) -> None:
    """Raises Overloaded if the last of so many new `jobs` would wait for its turn longer than is acceptable.

    It is a look, not a promise: of requests in the same moment a few more may be let in.
    """
    longest_s = services().settings.jobs.longest_wait_s
    if not longest_s:
        return
    wait_s = snapshot.wait_s(kind, priority, behind=jobs - 1)
    if wait_s is not None and wait_s > longest_s:
        raise Overloaded(
            f"A job would wait about {wait_s:.0f} s for its turn, and here {longest_s:g} s are acceptable.",
            retry_after_s=max(1.0, wait_s - longest_s),
            wait_s=round(wait_s, 1),
        )
