"""What a job carries besides its request: what its user attached to it, and by whom and how it was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Terms:
    """`metadata` is the user's, by contracts.metadata. `owner`: the id of the API key that asked, which may have
    `most_open` jobs open at a time; 0: as many as it likes.
    """

    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)
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
        return found


USUAL = Terms()
