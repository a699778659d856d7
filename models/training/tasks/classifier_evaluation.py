"""What a classifier is evaluated by: the fraction of pictures whose class is its first answer, or among its first five."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from models.artifacts.manifest import ImageInput
from models.artifacts.official import centred
from models.evaluation.classification import Images, score
from models.pictures.image import normalize, resize_and_centre
from models.training.data.class_data import ClassPictures
from models.training.engine.inputs import square_input
from models.training.engine.served import as_served


def classifier_input(size_px: int) -> ImageInput:
    """How a classifier of that size is served: the middle of a picture that is a little larger."""
    return centred(square_input("x", size_px))


def evaluate(
    network: nn.Layer, eval_sets: Mapping[str, ClassPictures], size_px: int, threads: int = 1
) -> dict[str, dict[str, float]]:
    """`top1` and `top5` of each eval set, of pictures prepared as they are when served."""
    given = classifier_input(size_px)
    served = as_served(network, given, sum(map(len, eval_sets.values())), threads)

    def answer(images: Images) -> list[NDArray[np.float32]]:
        return list(served(np.stack([_pixels(image, given) for image in images]))[0])

    return {name: score(answer, pictures, threads) for name, pictures in eval_sets.items()}


def _pixels(image: NDArray[np.uint8], given: ImageInput) -> NDArray[np.float32]:
    middle = resize_and_centre(image, given.resize_short, given.height, given.width, given.interpolation)
    return normalize(middle, given.mean, given.std)
