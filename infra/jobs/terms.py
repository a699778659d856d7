"""What a job carries besides its request: what its user attached to it, and by whom and how it was requested."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contracts.jobs import Priority


@dataclass(frozen=True)
class Terms:
    """`metadata` is the user's, by contracts.metadata; `cancel_after_s`: from its creation on, the job may take so long.
    `owner`: the id of the request's API key, which may have `most_open` jobs open at a time; 0: as many as it likes.
    """

    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
    cancel_after_s: float | None = None
    priority: Priority = "normal"
    units: int = 1  # of work: the pictures of an enrolment
    batch: str | None = None  # the id of the one that it belongs to
    eta_s: float | None = None  # what the user is reported at first, to be compared with what came of it
    owner: str = ""
    most_open: int = 0

    def fields(self) -> dict[str, str | float]:
        """As fields of the job's hash; what is as usual is left out."""
        found: dict[str, str | float] = {}
        if self.metadata:
            found["metadata"] = json.dumps(dict(self.metadata))
        if self.owner:
            found["owner"] = self.owner
        if self.owner and self.most_open:
            found["most_open"] = self.most_open
        if self.cancel_after_s is not None:
            found["cancel_after_s"] = self.cancel_after_s
        if self.priority != "normal":
            found["priority"] = self.priority
        if self.units != 1:
            found["units"] = self.units
        if self.eta_s is not None:
            found["eta_s"] = self.eta_s
        if self.batch is not None:
            found["batch"] = self.batch
        return found


USUAL = Terms()
