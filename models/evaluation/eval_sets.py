"""What an embedder is examined on: pictures never trained on, and the baselines that it must beat."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics import OpenSet, leave_one_out_recall_at_1, open_set, recall_at_1
from models.evaluation.photo_sets import PhotoSheet, photo_sheets
from models.evaluation.ranking import NO_MARK, Known, Ranking, inner_products, rank
from models.training.data.photos import read_rgb
from models.training.data.pool import fit, on_grey, product_views
from models.training.recipes.embedder import EmbedderRecipe, Exam
from models.training.teachers.features import PooledFeatures, colour_histogram
from models.vectors import unit_rows

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (N, s, s, 3) RGB -> (N, D)
GALLERY_VIEWS, QUERY_VIEWS = 2, 4
FIRST_EXAM_SEED = 1_000_000  # products from here on are never trained on


@dataclass(frozen=True)
class Sheet:
    """The pictures of one exam. `gallery` marks what is searched; without any, each picture asks all others."""

    name: str
    images: NDArray[np.uint8]  # (N, s, s, 3)
    labels: NDArray[np.int64]  # (N,)
    gallery: NDArray[np.bool_]  # (N,)


def set_exams(recipe: EmbedderRecipe, data: Path | None, size_px: int) -> list[Sheet]:
    """All exams of a recipe at one input size. Exams on photos need the `data` folder and are left out without it.

    Raises DatasetError as `photo_sheets` does, before a picture is drawn or decoded.
    """
    listed = iter(photo_sheets(recipe.exams, data))
    return [
        _rendered(exam, size_px) if exam.kind == "rendered" else _read(next(listed), size_px)
        for exam in recipe.exams
        if exam.kind == "rendered" or data is not None
    ]


def examine(embed: Embed, sheets: Sequence[Sheet]) -> dict[str, float]:
    """recall@1 of each exam, by name."""
    return {sheet.name: grade(embedded(embed, sheet), sheet) for sheet in sheets}


def embedded(embed: Embed, sheet: Sheet) -> NDArray[np.float32]:
    """The embeddings of all pictures of one exam (N, D)."""
    return np.concatenate(list(_in_batches(embed, sheet.images)))


def examine_colours(sheets: Sequence[Sheet]) -> dict[str, float]:
    """The same exams taken by colour histograms."""
    return examine(lambda images: np.stack([colour_histogram(image) for image in images]), sheets)


def examine_teacher(teacher: PooledFeatures, sheets: Sequence[Sheet]) -> dict[str, float]:
    """The same exams taken by a teacher's own features."""
    return examine(lambda images: np.stack([teacher(image) for image in images]), sheets)


def grade(embeddings: NDArray[np.float32], sheet: Sheet | PhotoSheet) -> float:
    """recall@1 of one exam's embeddings (N, D), of any length."""
    rows = unit_rows(embeddings)
    asked, searched = ~sheet.gallery, sheet.gallery
    if not searched.any():
        return leave_one_out_recall_at_1(rows, sheet.labels)
    return recall_at_1(rows[asked], sheet.labels[asked], rows[searched], sheet.labels[searched])


def grade_open_set(embeddings: NDArray[np.float32], sheet: Sheet, threshold: float) -> OpenSet:
    """What a similarity threshold lets through of one exam's embeddings (N, D), of any length."""
    return open_set(rankings_of(embeddings, sheet), threshold)


def rankings_of(embeddings: NDArray[np.float32], sheet: Sheet) -> list[Ranking]:
    """Where the right rows stand for each picture that one exam asks, by its embeddings (N, D), of any length."""
    rows, (asked, searched, queries, gallery) = unit_rows(embeddings), sides_of(sheet)
    return list(rank(inner_products(rows[asked], rows[searched]), queries, gallery))


def sides_of(sheet: Sheet) -> tuple[NDArray[np.int64], NDArray[np.int64], Known, Known]:
    """Which pictures ask and which are searched, and what is known of both: without a gallery, each asks all others."""
    asked, searched = np.flatnonzero(~sheet.gallery), np.flatnonzero(sheet.gallery)
    if not len(searched):
        each = Known(sheet.labels, np.arange(len(sheet.labels)))
        return asked, asked, each, each
    queries, gallery = (Known(sheet.labels[some], np.full(len(some), NO_MARK)) for some in (asked, searched))
    return asked, searched, queries, gallery


def _in_batches(embed: Embed, images: NDArray[np.uint8], batch: int = 64) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(images), batch):
        yield embed(images[start : start + batch])


def _rendered(exam: Exam, size_px: int) -> Sheet:
    """A few views of each product in the gallery on plain grey, others asked on coloured grounds."""
    images, labels, gallery = [], [], []
    rng = np.random.default_rng(exam.products)
    for product in range(exam.products):
        views = product_views(FIRST_EXAM_SEED + product, GALLERY_VIEWS + QUERY_VIEWS, size_px)
        for number, view in enumerate(views):
            searched = number < GALLERY_VIEWS
            images.append(on_grey(view) if searched else _on_colour(view, rng))
            labels.append(product)
            gallery.append(searched)
    return Sheet(exam.name, np.stack(images), np.array(labels), np.array(gallery))


def _on_colour(view: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    alpha = view[..., 3:].astype(np.float32) / 255.0
    return (view[..., :3] * alpha + rng.integers(0, 256, 3) * (1.0 - alpha)).astype(np.uint8)


def _read(listed: PhotoSheet, size_px: int) -> Sheet:
    images = np.stack([fit(read_rgb(photo.path), size_px) for photo in listed.photos])
    return Sheet(listed.name, images, listed.labels, listed.gallery)
