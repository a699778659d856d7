"""Random views: PaddleClas' random-resized crop and flip, and mixup."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.recipes.classifier import ClassAugment

Image = NDArray[np.uint8]


def random_view(image: Image, size_px: int, rng: np.random.Generator, how: ClassAugment) -> Image:
    """A random part of (H, W, 3), as (size_px, size_px, 3), mirrored with the recipe's probability."""
    part = random_part(image, rng, how.area, how.aspect)
    view = cv2.resize(part, (size_px, size_px), interpolation=cv2.INTER_LINEAR)
    if rng.random() < how.flip:
        view = view[:, ::-1]
    return np.ascontiguousarray(view, dtype=np.uint8)


def random_part(image: Image, rng: np.random.Generator, area: Sequence[float], aspect: Sequence[float]) -> Image:
    """A part with a fraction of the area within `area` and a ratio of width to height within `aspect` (a view).

    The ratio is sampled first; where a part of that ratio can't have so much area, it has as much as fits, so every sample
    gives a part (Szegedy et al., arXiv:1409.4842, section 6, in PaddleClas' form).
    """
    height, width = image.shape[:2]
    ratio = rng.uniform(aspect[0], aspect[1])
    most = min(width / height / ratio, height / width * ratio)  # the fraction of the largest part of that ratio
    pixels = width * height * rng.uniform(min(area[0], most), min(area[1], most))
    part_width, part_height = (
        min(side, max(1, int(np.sqrt(wanted)))) for side, wanted in ((width, pixels * ratio), (height, pixels / ratio))
    )
    x, y = rng.integers(0, width - part_width + 1), rng.integers(0, height - part_height + 1)
    return image[y : y + part_height, x : x + part_width]


def mixed(
    pixels: NDArray[np.float32], rng: np.random.Generator, alpha: float
) -> tuple[NDArray[np.float32], NDArray[np.int64], float]:
    """Each of (B, 3, H, W) shone through by another: the pixels, whose the others are, and the own ones' weight.

    One weight for the batch, sampled from Beta(alpha, alpha) (Zhang et al., "mixup", arXiv:1710.09412).
    """
    own = np.float32(rng.beta(alpha, alpha))
    others = rng.permutation(len(pixels))
    return own * pixels + (1 - own) * pixels[others], others, float(own)
