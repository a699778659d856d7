"""Evaluates an exported embedder on lists of the user's own photos: query and gallery, or one list that queries itself."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.evaluation.binary_metrics import code_similarities, embeddings_first
from models.evaluation.confusion import Pair, count_pairs, write_confusion
from models.evaluation.contact_sheets import SHOWN, Near, Query, draw_neighbours, rows_shown, written
from models.evaluation.metrics import OpenSet, open_set, retrieval_metrics
from models.evaluation.ranking import Ranking, RowLabels, inner_products, nearest, rank
from models.evaluation.rerank import reranked
from models.galleries.binary import binarize, hamming
from models.training.data.photos import Photo, read_rgb

BATCH = 64  # photos held at once

Embed = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]  # RGB photos of any sizes -> unit rows
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Retrieval:
    """What came of it. `nearest` are places in `gallery`, most similar first: (Q, k)."""

    metrics: dict[str, float]
    open_set: OpenSet  # at `threshold`, by the similarities that are served
    threshold: float
    queries: tuple[Photo, ...]
    gallery: tuple[Photo, ...]
    nearest: NDArray[np.int64]
    similarities: NDArray[np.float32]  # (Q, k) cosines; by codes 1 - distance / bits
    bits: int = 0  # of the codes, if they were compared


def evaluate_retrieval(
    embed: Embed,
    queries: Sequence[Photo],
    gallery: Sequence[Photo] | None,
    threshold: float,
    progress: Progress,
    ks: Sequence[int] = (1, 5),
    *,
    rerank: bool = False,
    binary: bool = False,
    rerank_embeddings: int = 0,
) -> Retrieval:
    """Retrieval metrics of the photos of one list in those of another; without a gallery they query each other.

    No photo is its own answer: a file in both lists is masked, and with ids every photo of the same label and id (a
    vehicle seen by the same camera, as in VeRI-Wild). `rerank` ranks by k-reciprocal neighbours; the similarities that
    are shown, and the open set, stay plain. `binary` compares binary codes, by Hamming distance, and puts so
    many as `rerank_embeddings` of each query's nearest in order by the float embeddings again: the open set is then what
    `BinaryGallery` answers. Raises DatasetError, and GalleryError for dimensions that do not fill bytes.
    """
    rows = embed_photos(embed, queries, "queries", progress)
    searched = queries if gallery is None else gallery
    others = rows if gallery is None else embed_photos(embed, searched, "gallery", progress)
    query_labels, gallery_labels = row_labels_of([queries, searched])
    if not binary:
        served = inner_products(rows, others)
    elif rerank_embeddings:
        served = embeddings_first(rows, others, query_labels, gallery_labels, rerank_embeddings)
    else:
        served = code_similarities(binarize(rows), binarize(others))
    rankings: list[Ranking] = list(rank(served, query_labels, gallery_labels))
    answers = open_set(rankings, threshold)
    if rerank_embeddings:  # the nearest of a gallery without the query's label are others than of this one
        unknown = embeddings_first(rows, others, query_labels, gallery_labels, rerank_embeddings, unknowns=True)
        answers = replace(answers, unknowns=open_set(rank(unknown, query_labels, gallery_labels), threshold).unknowns)
    ranked = reranked(rows, None if gallery is None else others) if rerank else served
    metrics = retrieval_metrics(rank(ranked, query_labels, gallery_labels) if rerank else rankings, ks)
    places, _ = nearest(ranked, query_labels, gallery_labels, SHOWN)
    allowed = gallery_labels.marks[places] != query_labels.marks[:, None]
    alike = _same_bits if binary else _cosines
    similarities = np.stack([alike(row, others[near]) for row, near in zip(rows, places, strict=True)])
    return Retrieval(
        metrics,
        answers,
        threshold,
        tuple(queries),
        tuple(searched),
        places,
        np.where(allowed, similarities, -np.inf).astype(np.float32),
        rows.shape[1] if binary else 0,
    )


def embed_photos(embed: Embed, photos: Sequence[Photo], what: str, progress: Progress) -> NDArray[np.float32]:
    """Unit rows (N, D) of the photos, read a batch at a time. Raises DatasetError."""
    rows = []
    for start in range(0, len(photos), BATCH):
        rows.append(embed([read_rgb(photo.path) for photo in photos[start : start + BATCH]]))
        progress(f"embedding the {what}", min(start + BATCH, len(photos)), len(photos))
    return np.concatenate(rows)


def row_labels_of(sides: Sequence[Sequence[Photo]]) -> list[RowLabels]:
    """The labels and marks of photos, numbered alike on all sides."""
    every = [photo for side in sides for photo in side]
    labels = {label: number for number, label in enumerate(sorted({photo.label for photo in every}))}
    marks = {mark: number for number, mark in enumerate(dict.fromkeys(_mark(photo) for photo in every))}
    return [
        RowLabels(np.array([labels[photo.label] for photo in side]), np.array([marks[_mark(photo)] for photo in side]))
        for side in sides
    ]


def summary(found: Retrieval) -> dict[str, object]:
    """The metrics, and what they are of."""
    return {
        **{name: _number(value) for name, value in found.metrics.items()},
        "queries": len(found.queries),
        "gallery": len(found.gallery),
        **({"bits": found.bits} if found.bits else {}),
        "open set": describe_open_set(found.open_set, found.threshold),
    }


def write_retrieval(found: Retrieval, folder: Path) -> None:
    """`metrics.json`, `neighbours.png`, and the confusion of each query with its nearest, in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.json").write_text(json.dumps(summary(found), indent=2) + "\n", encoding="utf-8")
    labels = sorted({photo.label for photo in (*found.queries, *found.gallery)})
    write_confusion(count_pairs(map(_pair, _queries(found, range(len(found.queries)))), labels), folder)
    query_labels = _queries(found, rows_shown(answered_rightly(found)))
    wrong = sum(1 for one in query_labels if not (one.near and one.near[0].right))
    title = f"{len(query_labels)} of {len(found.queries)} queries, {wrong} of them answered wrongly; {'fraction of equal bits' if found.bits else 'similarity'} below"
    draw_neighbours(query_labels, title, folder / "neighbours.png", read_rgb, written(labels))


def describe_open_set(found: OpenSet, threshold: float) -> dict[str, float | None]:
    """As it is printed and written: fractions at the threshold."""
    return {
        "threshold": round(threshold, 4),
        "identification_rate": _number(found.known),
        "false_positive_identification_rate": _number(found.unknowns),
    }


def answered_rightly(found: Retrieval) -> NDArray[np.bool_]:
    """(Q,) whether each query's nearest picture bears its label."""
    firsts = np.array([photo.label for photo in found.gallery])[found.nearest[:, 0]]
    right = firsts == np.array([photo.label for photo in found.queries])
    return np.asarray(right & np.isfinite(found.similarities[:, 0]))


def _cosines(row: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(others @ row, np.float32)


def _same_bits(row: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 - distance / bits."""
    return np.asarray(1 - hamming(binarize(row[None]), binarize(others))[0] / len(row), np.float32)


def _queries(found: Retrieval, rows: Sequence[int]) -> list[Query]:
    query_labels = []
    for row in rows:
        query = found.queries[row]
        near = [
            Near(photo.path, photo.label, float(similarity), photo.label == query.label)
            for photo, similarity in zip(
                (found.gallery[place] for place in found.nearest[row]), found.similarities[row], strict=True
            )
            if np.isfinite(similarity)
        ]
        query_labels.append(Query(query.path, query.label, tuple(near)))
    return query_labels


def _pair(query_labels: Query) -> Pair:
    return query_labels.label, query_labels.near[0].label if query_labels.near else None


def _mark(photo: Photo) -> tuple[str, ...]:
    return (photo.label, photo.id) if photo.id else (str(photo.path.resolve()),)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
