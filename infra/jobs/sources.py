"""Where the pictures of one job are to be fetched from, as the one text that the ledger keeps and never shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def pack_sources(urls: Mapping[int, str]) -> str | None:
    """URLs by the places of their pictures in the request, as a job's `source_url`; None for none."""
    return json.dumps({str(place): urls[place] for place in sorted(urls)}) if urls else None


def parse_sources(source_url: str | None) -> dict[int, str]:
    """What `pack_sources` packed."""
    return {int(place): str(url) for place, url in json.loads(source_url or "{}").items()}
