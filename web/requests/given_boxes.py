"""Boxes that a request gives: what can be said of them before the photo is decoded, every mistake with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contracts.options import USELESS, box_faults, outside, useless_with_boxes
from infra.errors.requests import InvalidOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contracts.pictures import Seen


def check_boxes(options: Mapping[str, Any], header: Seen | None) -> None:
    """Raises InvalidOptions, for each box that is empty, or outside of a photo with this header, and for options that
    mean nothing with given boxes.

    A header may come before the turn that makes the photo upright: only what lies outside either way is refused here, the
    rest by the worker. Without a header the photo is still to be fetched, and only the worker can know.
    """
    boxes = options.get("boxes")
    if boxes is None:
        return
    faults = [(f"boxes/{place}" if place else "boxes", report) for place, report in box_faults(boxes)]
    if header is not None and not faults:
        sizes = {header.size, header.size[::-1]}
        report = f"holds no pixel of the photo, which has {header.width} x {header.height}"
        faults = [(f"boxes/{at}", report) for at, box in enumerate(boxes) if all(outside(box, *size) for size in sizes)]
    faults += [(name, USELESS) for name in useless_with_boxes(options)]
    if faults:
        errors = [{"pointer": f"/options/{place}", "detail": report} for place, report in faults]
        message = "; ".join(f"options.{place.replace('/', '.')}: {report}" for place, report in faults)
        raise InvalidOptions(message, errors=errors)
