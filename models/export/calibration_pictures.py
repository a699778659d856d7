"""The pictures that a program of fewer bits is calibrated with and compared on: synthetic, or the user's own."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.artifacts.manifest import ImageInput
from models.pictures.image import crop, normalize, resize
from models.synth.designs import design_product
from models.synth.products import packshot
from models.synth.scenes import render_scene, training_scene

Image = NDArray[np.uint8]
SYNTHETIC = 200
COMPARED = 4  # every so many-eth picture is kept from calibration, to compare on


def synthetic_pictures(task: str, size_px: int, count: int = SYNTHETIC) -> list[Image]:
    """What the network of a task sees: scenes for a detector, else products cut out of scenes and packshots in turn."""
    if task == "detect":
        return [training_scene(seed, size_px).image for seed in range(count)]
    return [_product(seed, size_px) for seed in range(count)]


def prepared(picture: Image, given: ImageInput) -> NDArray[np.float32]:
    """An RGB picture of any size -> (1, 3, height, width), as the program takes it."""
    return normalize(resize(picture, given.height, given.width, given.interpolation), given.mean, given.std)[None]


def split(pictures: Sequence[Image]) -> tuple[list[Image], list[Image]]:
    """What to calibrate with and what to compare on: not the same pictures, unless there are too few."""
    if len(pictures) < 2 * COMPARED:
        return list(pictures), list(pictures)
    compared = list(pictures[COMPARED - 1 :: COMPARED])
    return [picture for number, picture in enumerate(pictures) if number % COMPARED != COMPARED - 1], compared


def _product(seed: int, size_px: int) -> Image:
    design = design_product(seed)
    if seed % 2:
        return packshot(design, size_px)
    scene = render_scene(
        [(str(seed), design)], (2 * size_px, 2 * size_px), np.random.default_rng(seed), count=1, scale=(0.5, 0.8)
    )
    return crop(scene.image, scene.boxes[0].tolist())
