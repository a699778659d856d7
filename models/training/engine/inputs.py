"""How pictures are given to a network: the pixels in training, and what an exported program says of its input."""

import numpy as np
from numpy.typing import NDArray

from models.artifacts.manifest import ImageInput
from models.pictures import image


def normalize(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(B, H, W, 3) RGB uint8 -> (B, 3, H, W) float32 by ImageNet's mean and deviation."""
    return np.stack([image.normalize(one, image.IMAGENET_MEAN, image.IMAGENET_STD) for one in images])


def square_input(name: str, size_px: int, interpolation: str = "linear") -> ImageInput:
    """The input of a network that was trained on `size_px` pictures with ImageNet's mean and deviation."""
    return ImageInput(name, size_px, size_px, interpolation, image.IMAGENET_MEAN, image.IMAGENET_STD)
