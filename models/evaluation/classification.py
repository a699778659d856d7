"""How many pictures have their class as the first answer, or among the first five."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from models.training.data.class_data import ClassPictures
from models.training.engine.prefetch import prefetch

BATCH = 64

Images = Sequence[NDArray[np.uint8]]

Answer = Callable[[Images], Sequence[NDArray[np.float32]]]  # N pictures of any sizes -> N times (C,)


def score(answer: Answer, pictures: ClassPictures, threads: int = 1) -> dict[str, float]:
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


def _batches(pictures: ClassPictures, threads: int) -> Iterator[tuple[Images, NDArray[np.int64]]]:
    def batch(number: int) -> tuple[Images, NDArray[np.int64]]:
        indices = range(number * BATCH, min((number + 1) * BATCH, len(pictures)))
        return [pictures.read(index) for index in indices], pictures.labels[indices.start : indices.stop]

    with closing(prefetch(batch, range(-(-len(pictures) // BATCH)), threads)) as made:
        yield from made
