"""What a classifier is examined by: the share of pictures whose class is its first answer, or among its first five."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from models.image import normalize, resize_and_centre
from models.manifest import ImageInput
from models.official import centred
from models.training.ahead import ahead
from models.training.class_data import ClassPictures
from models.training.export_program import square_input
from models.training.served import as_served

BATCH = 64
Images = Sequence[NDArray[np.uint8]]
Answer = Callable[[Images], Sequence[NDArray[np.float32]]]  # N pictures of any sizes -> N times (C,)


def classifier_input(size_px: int) -> ImageInput:
    """How a classifier of that size is served: the middle of a picture that is a little larger."""
    return centred(square_input("x", size_px))


def examine(
    network: nn.Layer, exams: Mapping[str, ClassPictures], size_px: int, threads: int = 1
) -> dict[str, dict[str, float]]:
    """`top1` and `top5` of each exam, of pictures prepared as they are when served."""
    given = classifier_input(size_px)
    served = as_served(network, given, sum(map(len, exams.values())), threads)

    def answer(images: Images) -> list[NDArray[np.float32]]:
        return list(served(np.stack([_pixels(image, given) for image in images]))[0])

    return {name: grade(answer, pictures, threads) for name, pictures in exams.items()}


def grade(answer: Answer, pictures: ClassPictures, threads: int = 1) -> dict[str, float]:
    """`top1` and `top5` over all pictures. Equal scores rank by class, as they do when served."""
    ranks = np.concatenate(
        [ranks_of(np.stack(answer(images)), labels) for images, labels in _batches(pictures, threads)]
    )
    return {"top1": float((ranks < 1).mean()), "top5": float((ranks < 5).mean())}


def ranks_of(scores: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N, C) scores and (N,) labels -> how many classes come before each label: (N,)."""
    own = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(scores.shape[1])[None] < labels[:, None]
    return np.asarray(((scores > own) | ((scores == own) & earlier)).sum(axis=1), np.int64)


def _pixels(image: NDArray[np.uint8], given: ImageInput) -> NDArray[np.float32]:
    middle = resize_and_centre(image, given.resize_short, given.height, given.width, given.interpolation)
    return normalize(middle, given.mean, given.std)


def _batches(pictures: ClassPictures, threads: int) -> Iterator[tuple[Images, NDArray[np.int64]]]:
    def batch(number: int) -> tuple[Images, NDArray[np.int64]]:
        indices = range(number * BATCH, min((number + 1) * BATCH, len(pictures)))
        return [pictures.read(index) for index in indices], pictures.labels[indices.start : indices.stop]

    with closing(ahead(batch, range(-(-len(pictures) // BATCH)), threads)) as made:
        yield from made
