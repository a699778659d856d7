"""How a product is seen: from where, in what light, through what camera."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ViewParams:
    """One way of seeing a product. The defaults are a packshot's.

    `yaw` turns it around its vertical axis and `roll` tilts the picture (radians); `pitch` is how far the camera looks
    down (0 = level); `light` is where the light stands, -1 (left) to 1 (right), and `ambient` how much comes from all
    sides; `gloss` scales highlights, `gain` the exposure; `warmth` is the light's colour (fraction more red, less blue);
    `squeeze` stretches the width and `keystone` narrows the foot (fractions); `noise` is in grey levels.
    """

    yaw: float = 0.0
    pitch: float = 0.1
    roll: float = 0.0
    light: float = -0.4
    ambient: float = 0.62
    gloss: float = 1.0
    gain: float = 1.0
    warmth: float = 0.0
    blur_px: float = 0.0
    noise: float = 0.0
    squeeze: float = 1.0
    keystone: float = 0.0


def random_view(rng: np.random.Generator) -> ViewParams:
    """A view as a phone or shelf gives it."""
    return ViewParams(
        yaw=float(np.clip(rng.normal(0.0, 0.28), -0.8, 0.8)),
        pitch=float(rng.uniform(0.0, 0.28)),
        roll=float(rng.normal(0.0, 0.06)),
        light=float(rng.uniform(-1.0, 1.0)),
        ambient=float(rng.uniform(0.45, 0.8)),
        gloss=float(rng.uniform(0.2, 1.2)),
        gain=float(rng.uniform(0.8, 1.15)),
        warmth=float(rng.normal(0.0, 0.03)),
        blur_px=float(rng.uniform(0.3, 1.2)) if rng.random() < 0.25 else 0.0,
        noise=float(rng.uniform(1.0, 5.0)) if rng.random() < 0.3 else 0.0,
        squeeze=float(rng.uniform(0.92, 1.08)),
        keystone=float(rng.normal(0.0, 0.03)),
    )
