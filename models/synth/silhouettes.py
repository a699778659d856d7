"""Outlines of round packages: how wide each is at each height, and which part is cap, neck, label and base."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.synth.designs import ProductDesign

ROUND_KINDS = ("bottle", "can", "jar", "tub")


@dataclass(frozen=True)
class RoundBody:
    """A body of revolution. Heights run from 0 (top) to 1 (bottom); radii are fractions of the widest one.

    `cap_end` is where cap or lid ends, `label` where the paper begins and ends; the rest shows the content or the can.
    """

    heights: NDArray[np.float64]  # (K,)
    radii: NDArray[np.float64]  # (K,)
    cap_end: float
    label: tuple[float, float]
    metal: bool

    def sampled(self, count: int) -> NDArray[np.float32]:
        """The radius at `count` even heights from top to bottom."""
        return np.interp(np.linspace(0.0, 1.0, count), self.heights, self.radii).astype(np.float32)


def round_body(design: ProductDesign) -> RoundBody:
    """The body of a bottle, can, jar or tub, from the design's knobs."""
    a, b, c, d, e = design.shape[:5]
    label_top, label_bottom = design.label_span
    if design.kind == "bottle":
        cap, neck, shoulder = 0.05 + 0.04 * a, 0.12 + 0.12 * b, 0.26 + 0.16 * c
        neck_radius, cap_radius = 0.28 + 0.2 * d, 0.33 + 0.2 * d
        waist = 1.0 - (0.14 * e if e > 0.55 else 0.0)
        knots = [(0.0, cap_radius), (cap, cap_radius), (cap + 0.001, neck_radius)]
        knots += [*_smooth(neck, neck_radius, shoulder, 1.0), *_smooth(shoulder + 0.08, 1.0, 0.6, waist)]
        knots += [*_smooth(0.74, waist, 0.9, 1.0), *_smooth(0.95, 1.0, 1.0, 0.86)]
        return _body(knots, cap, (shoulder + 0.02 + 0.1 * label_top, 0.9 - 0.16 * label_bottom))
    if design.kind == "can":
        rim = 0.03 + 0.03 * a
        knots = [(0.0, 0.82), (0.012, 0.86), (0.024, 0.82), *_smooth(0.03, 0.82, rim + 0.04, 1.0)]
        knots += _smooth(0.94, 1.0, 1.0, 0.84)
        return _body(knots, 0.02, (rim + 0.02, 0.955), metal=True)
    if design.kind == "jar":
        lid, lid_radius = 0.12 + 0.1 * a, 0.82 + 0.16 * b
        knots = [(0.0, lid_radius - 0.03), (0.012, lid_radius), (lid, lid_radius), (lid + 0.001, lid_radius - 0.08)]
        knots += [*_smooth(lid + 0.02, lid_radius - 0.08, lid + 0.12, 1.0), *_smooth(0.93, 1.0, 1.0, 0.9)]
        return _body(knots, lid, (lid + 0.14 + 0.08 * label_top, 0.93 - 0.12 * label_bottom))
    lid, foot = 0.1 + 0.06 * a, 0.72 + 0.2 * b
    knots = [(0.0, 0.98), (0.012, 1.0), (lid, 1.0), (lid + 0.001, 0.96), (0.985, foot), (1.0, foot - 0.03)]
    return _body(knots, lid, (lid + 0.015, 0.985))


def _smooth(from_height: float, from_radius: float, to_height: float, to_radius: float) -> list[tuple[float, float]]:
    """Knots of an S-shaped passage between two radii."""
    steps = np.linspace(0.0, 1.0, 9)
    eased = (1.0 - np.cos(np.pi * steps)) / 2.0
    heights = from_height + (to_height - from_height) * steps
    return list(zip(heights.tolist(), (from_radius + (to_radius - from_radius) * eased).tolist(), strict=True))


def _body(
    knots: list[tuple[float, float]], cap_end: float, label: tuple[float, float], *, metal: bool = False
) -> RoundBody:
    heights, radii = np.array(sorted(knots)).T
    return RoundBody(heights, radii, cap_end, label, metal)
