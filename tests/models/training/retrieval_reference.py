"""Retrieval by loops over every pair: slow and obvious."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating]


def order(similarity: Sequence[float], right: Sequence[bool], allowed: Sequence[bool]) -> list[bool]:
    """Whether each row that may be found is right, most similar first, wrong ones first among equals."""
    rows = [(-float(s), good) for s, good, may in zip(similarity, right, allowed, strict=True) if may]
    return [bool(good) for _, good in sorted(rows, key=lambda row: (row[0], row[1]))]


def metrics(ordered: Sequence[Sequence[bool]], ks: Sequence[int]) -> dict[str, float]:
    """The metrics of all queries, from whether each place of each is right."""
    answerable = [places for places in ordered if any(places)]
    collected: dict[str, list[float]] = {name: [] for k in ks for name in (f"recall@{k}", f"precision@{k}")}
    collected |= {"retrieval_mAP": [], "mINP": []}
    for places in answerable:
        for k in ks:
            collected[f"recall@{k}"].append(float(any(places[:k])))
            collected[f"precision@{k}"].append(sum(places[:k]) / k)
        precisions = [sum(places[: i + 1]) / (i + 1) for i, right in enumerate(places) if right]
        collected["retrieval_mAP"].append(sum(precisions) / len(precisions))
        last = max(i for i, right in enumerate(places) if right)
        collected["mINP"].append(sum(places) / (last + 1))
    return {name: sum(values) / len(values) if values else math.nan for name, values in collected.items()}


def reranked_distances(rows: Matrix, queries: int, k1: int, k2: int, blend: float) -> Matrix:
    """The paper's algorithm, set by set. (N, D) unit rows -> (queries, N)."""
    count = len(rows)
    plain = np.array([[float(((a - b) ** 2).sum()) for b in rows] for a in rows])
    plain = plain / plain.max(axis=1, keepdims=True)
    ranked = plain - np.eye(count)  # each is its own nearest, even where others are equal to it
    near = [np.argsort(own, kind="stable").tolist() for own in ranked]

    def reciprocal(i: int, k: int) -> set[int]:
        return {j for j in near[i][: k + 1] if i in near[j][: k + 1]}

    weights = np.zeros((count, count))
    for i in range(count):
        own = reciprocal(i, k1)
        wider = set(own)
        for j in own:
            theirs = reciprocal(j, round(k1 / 2))
            if len(theirs & own) > 2 / 3 * len(theirs):
                wider |= theirs
        for j in wider:
            weights[i, j] = math.exp(-plain[i][j])
        weights[i] /= weights[i].sum()
    if k2 > 1:
        weights = np.array([weights[near[i][:k2]].mean(axis=0) for i in range(count)])
    final = np.zeros((queries, count))
    for i in range(queries):
        for j in range(count):
            common = np.minimum(weights[i], weights[j]).sum()
            final[i, j] = (1 - blend) * (1 - common / np.maximum(weights[i], weights[j]).sum()) + blend * plain[i][j]
    return final
