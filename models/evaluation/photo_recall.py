"""Eval sets on sets too large to be held in memory: photos read as they are embedded."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from models.evaluation.eval_sets import Embed, score
from models.evaluation.photo_sets import PhotoEvalSet, photo_eval_sets
from models.training.data.photos import Photo, read_rgb
from models.training.data.pool import fit

__all__ = ["PhotoEvalSet", "evaluate_photos", "photo_eval_sets"]

BATCH = 64  # pictures embedded at once


def evaluate_photos(embed: Embed, splits: Sequence[PhotoEvalSet], size_px: int) -> dict[str, float]:
    """recall@1 of each eval set, by name."""
    return {split.name: score(np.concatenate(list(_embedded(embed, split.photos, size_px))), split) for split in splits}


def _embedded(embed: Embed, photos: Sequence[Photo], size_px: int) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(photos), BATCH):
        yield embed(np.stack([fit(read_rgb(photo.path), size_px) for photo in photos[start : start + BATCH]]))
