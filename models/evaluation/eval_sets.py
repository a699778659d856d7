"""What an embedder is evaluated on: pictures never trained on, and the baselines that it must beat."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics import OpenSet, leave_one_out_recall_at_1, open_set, recall_at_1
from models.evaluation.photo_sets import PhotoEvalSet, photo_eval_sets
from models.evaluation.ranking import NO_MARK, Ranking, RowLabels, inner_products, rank
from models.training.data.photos import read_rgb
from models.training.data.pool import fit, on_grey, product_views
from models.training.recipes.pictures import EvalSource, PictureSources
from models.training.teachers.features import PooledFeatures, colour_histogram
from models.vectors import unit_rows

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (N, s, s, 3) RGB -> (N, D)
GALLERY_VIEWS, QUERY_VIEWS = 2, 4
FIRST_EVAL_SEED = 1_000_000  # products from here on are never trained on


@dataclass(frozen=True)
class EvalSet:
    """The pictures of one eval set. `gallery` marks what is searched; without any, each picture queries all others."""

    name: str
    images: NDArray[np.uint8]  # (N, s, s, 3)
    labels: NDArray[np.int64]  # (N,)
    gallery: NDArray[np.bool_]  # (N,)


def load_eval_sets(recipe: PictureSources, data: Path | None, size_px: int) -> list[EvalSet]:
    """All eval sets of a recipe at one input size. Eval sets on photos need the `data` folder and are left out without it.

    Raises DatasetError as `photo_eval_sets` does, before a picture is rendered or decoded.
    """
    return read_eval_sources(recipe.eval, data, size_px)


def read_eval_sources(sources: Sequence[EvalSource], data: Path | None, size_px: int) -> list[EvalSet]:
    """The same for these sources alone."""
    listed = iter(photo_eval_sets(tuple(sources), data))
    return [
        _rendered(eval_set, size_px) if eval_set.kind == "rendered" else _read(next(listed), size_px)
        for eval_set in sources
        if eval_set.kind == "rendered" or data is not None
    ]


def evaluate(embed: Embed, splits: Sequence[EvalSet]) -> dict[str, float]:
    """recall@1 of each eval set, by name."""
    return {split.name: score(embedded(embed, split), split) for split in splits}


def embedded(embed: Embed, split: EvalSet) -> NDArray[np.float32]:
    """The embeddings of all pictures of one eval set (N, D)."""
    return np.concatenate(list(_in_batches(embed, split.images)))


def evaluate_colours(splits: Sequence[EvalSet]) -> dict[str, float]:
    """The same eval sets taken by colour histograms."""
    return evaluate(lambda images: np.stack([colour_histogram(image) for image in images]), splits)


def evaluate_teacher(teacher: PooledFeatures, splits: Sequence[EvalSet]) -> dict[str, float]:
    """The same eval sets taken by a teacher's own features."""
    return evaluate(lambda images: np.stack([teacher(image) for image in images]), splits)


def score(embeddings: NDArray[np.float32], split: EvalSet | PhotoEvalSet) -> float:
    """recall@1 of one eval set's embeddings (N, D), of any length."""
    rows = unit_rows(embeddings)
    query_rows, searched = ~split.gallery, split.gallery
    if not searched.any():
        return leave_one_out_recall_at_1(rows, split.labels)
    return recall_at_1(rows[query_rows], split.labels[query_rows], rows[searched], split.labels[searched])


def score_open_set(embeddings: NDArray[np.float32], split: EvalSet, threshold: float) -> OpenSet:
    """What a similarity threshold lets through of one eval set's embeddings (N, D), of any length."""
    return open_set(rankings_of(embeddings, split), threshold)


def rankings_of(embeddings: NDArray[np.float32], split: EvalSet) -> list[Ranking]:
    """The ranks of the right rows for each query of one eval set, by its embeddings (N, D), of any length."""
    rows, (query_rows, searched, queries, gallery) = unit_rows(embeddings), sides_of(split)
    return list(rank(inner_products(rows[query_rows], rows[searched]), queries, gallery))


def sides_of(split: EvalSet) -> tuple[NDArray[np.int64], NDArray[np.int64], RowLabels, RowLabels]:
    """Which pictures are queries and which are searched, with the labels of both: without a gallery, each queries all others."""
    query_rows, searched = np.flatnonzero(~split.gallery), np.flatnonzero(split.gallery)
    if not len(searched):
        each = RowLabels(split.labels, np.arange(len(split.labels)))
        return query_rows, query_rows, each, each
    queries, gallery = (RowLabels(split.labels[some], np.full(len(some), NO_MARK)) for some in (query_rows, searched))
    return query_rows, searched, queries, gallery


def _in_batches(embed: Embed, images: NDArray[np.uint8], batch: int = 64) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(images), batch):
        yield embed(images[start : start + batch])


def _rendered(eval_set: EvalSource, size_px: int) -> EvalSet:
    """A few views of each product in the gallery on plain grey, others as queries on coloured grounds."""
    images, labels, gallery = [], [], []
    rng = np.random.default_rng(eval_set.products)
    for product in range(eval_set.products):
        views = product_views(FIRST_EVAL_SEED + product, GALLERY_VIEWS + QUERY_VIEWS, size_px)
        for number, view in enumerate(views):
            searched = number < GALLERY_VIEWS
            images.append(on_grey(view) if searched else _on_colour(view, rng))
            labels.append(product)
            gallery.append(searched)
    return EvalSet(eval_set.name, np.stack(images), np.array(labels), np.array(gallery))


def _on_colour(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    alpha = view[..., 3:].astype(np.float32) / 255.0
    return (view[..., :3] * alpha + rng.integers(0, 256, 3) * (1.0 - alpha)).astype(np.uint8)


def _read(listed: PhotoEvalSet, size_px: int) -> EvalSet:
    images = np.stack([fit(read_rgb(photo.path), size_px) for photo in listed.photos])
    return EvalSet(listed.name, images, listed.labels, listed.gallery)
