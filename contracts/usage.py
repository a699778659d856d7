"""What an answer was made of: the versions of galleries, and the boxes that all speak of."""

from __future__ import annotations

from typing_extensions import TypedDict

from contracts.jobs import described

Box = list[int]  # x1, y1, x2, y2 in pixels of the upright photo, x2 and y2 exclusive


@described
class GalleryUsed(TypedDict):
    """The version of the gallery that was searched or made."""

    name: str
    version: int
    items: int
