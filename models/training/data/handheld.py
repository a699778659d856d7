"""What a phone in the hand adds to a picture of a product: fingers, glare, low light, and shake.

Each takes and gives (H, W, 3) RGB uint8 and a generator; none modifies its input.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
SKIN = ((255, 219, 196), (236, 188, 158), (198, 134, 100), (141, 85, 60), (86, 52, 40))  # light to dark, RGB


def put_fingers(rgb: Image, rng: np.random.Generator) -> Image:
    """One to four fingers that reach in from one edge, side by side, in a random skin colour."""
    height, width = rgb.shape[:2]
    size = min(height, width)
    skin = np.clip(np.array(SKIN[rng.integers(len(SKIN))]) + rng.normal(0, 8, 3), 0, 255)
    thick, reach = size * rng.uniform(0.05, 0.11), size * rng.uniform(0.12, 0.38)
    along, lean = rng.uniform(0.1, 0.8) * size, rng.normal(0.0, 0.25)
    mask = np.zeros((size, size), np.float32)
    for finger in range(int(rng.integers(1, 5))):
        start = np.array([-thick, along + finger * 2.1 * thick])
        length = reach * rng.uniform(0.75, 1.1) + thick
        tip = start + length * np.array([np.cos(lean), np.sin(lean)])
        cv2.line(mask, _point(start), _point(tip), 1.0, max(1, int(2 * thick)), cv2.LINE_AA)
    mask = np.rot90(mask, int(rng.integers(4)))
    mask = cv2.resize(np.ascontiguousarray(mask), (width, height))
    # Darker towards the outline, as round things are.
    round_shade = 0.7 + 0.3 * cv2.GaussianBlur(mask, (0, 0), max(0.5, thick / 3))
    soft = cv2.GaussianBlur(mask, (0, 0), 0.7)[..., None]
    return np.asarray(rgb * (1 - soft) + skin * round_shade[..., None] * soft, np.float32).clip(0, 255).astype(np.uint8)


def add_glare(rgb: Image, rng: np.random.Generator) -> Image:
    """A lamp's reflection: one soft, long, white spot, or two."""
    height, width = rgb.shape[:2]
    size = min(height, width)
    light = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        axes = (max(1, int(size * rng.uniform(0.02, 0.12))), max(1, int(size * rng.uniform(0.06, 0.35))))
        cv2.ellipse(light, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    light = cv2.GaussianBlur(light, (0, 0), size * rng.uniform(0.01, 0.05)) * rng.uniform(0.4, 1.0)
    tint = 255.0 - np.abs(rng.normal(0, 8, 3))
    return np.asarray(rgb + (tint - rgb) * light[..., None], np.float32).clip(0, 255).astype(np.uint8)


def darken(rgb: Image, rng: np.random.Generator) -> Image:
    """Low light: a quarter to two thirds of the exposure, with the sensor's coloured noise."""
    dark = rgb * rng.uniform(0.25, 0.65)
    noise = rng.normal(0.0, rng.uniform(2, 9), rgb.shape)
    return np.asarray(dark + noise, np.float32).clip(0, 255).astype(np.uint8)


def blur_motion(rgb: Image, rng: np.random.Generator) -> Image:
    """The camera moved along a straight line, by 2 to 6 % of the picture's shorter side."""
    size = min(rgb.shape[:2])
    length = max(3, int(size * rng.uniform(0.02, 0.06)))
    side = length | 1
    angle = rng.uniform(0, np.pi)
    arm = (side - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])
    kernel = np.zeros((side, side), np.float32)
    centre = np.full(2, (side - 1) / 2)
    cv2.line(kernel, _point(centre - arm), _point(centre + arm), 1.0, 1, cv2.LINE_AA)
    return np.asarray(cv2.filter2D(rgb, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101), np.uint8)


def _point(position: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(position[0])), round(float(position[1]))
