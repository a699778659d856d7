"""Eval sets of binary codes: the same queries and galleries as the embedders', by Hamming distance."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.embedder import Embedder
from models.evaluation.binary_metrics import binary_metrics, leave_one_out_binary_metrics
from models.evaluation.eval_sets import EvalSet, load_eval_sets, score
from models.galleries.binary import binarize
from models.training.networks.itq import itq
from models.training.recipes.hash import HashRecipe
from models.training.tasks.hash_features import EmbeddedEvalSet, Features, embedded_eval_sets

Rows = NDArray[np.float32]


def code_metrics(rows: Rows, eval_set: EmbeddedEvalSet) -> dict[str, float]:
    """`recall@1`, `recall@5` and `retrieval_mAP` of the binary codes of `rows` (N, bits), the eval set's pictures in turn."""
    codes, searched = binarize(rows), eval_set.gallery
    if searched.any():
        queries = ~searched
        metrics = binary_metrics(codes[queries], eval_set.labels[queries], codes[searched], eval_set.labels[searched])
    else:
        metrics = leave_one_out_binary_metrics(codes, eval_set.labels)
    return {name: round(metrics[name], 4) for name in ("recall@1", "recall@5", "retrieval_mAP")}


def evaluate_hash(artifact: Path, recipe: HashRecipe, data: Path | None, precision: str = "auto") -> dict[str, float]:
    """recall@1 and retrieval_mAP of the exported program's codes in the recipe's eval sets; those on photos need `data`."""
    embed = Embedder(artifact, threads=2, precision=precision)
    splits = load_eval_sets(recipe.pictures, data, recipe.deploy_px)
    found: dict[str, float] = {}
    for eval_set in embedded_eval_sets(lambda images: embed(list(images)), splits):
        metrics = code_metrics(eval_set.rows, eval_set)
        found |= {f"{eval_set.name} {name}": metrics[name] for name in ("recall@1", "retrieval_mAP")}
    return found


def baselines(features: Features, bits: int) -> dict[str, dict[str, float]]:
    """recall@1 in each eval set of what needs no training: the base's embeddings, their signs as codes, and ITQ's codes of `bits` bits."""
    turn = itq(features.rows, bits)
    takers: dict[str, Callable[[EmbeddedEvalSet], float]] = {
        "embeddings": lambda eval_set: round(score(eval_set.rows, _split(eval_set)), 4),
        "signs": lambda eval_set: code_metrics(eval_set.rows, eval_set)["recall@1"],
        "itq": lambda eval_set: code_metrics(turn(eval_set.rows), eval_set)["recall@1"],
    }
    return {name: {eval_set.name: take(eval_set) for eval_set in features.eval} for name, take in takers.items()}


def _split(eval_set: EmbeddedEvalSet) -> EvalSet:
    return EvalSet(eval_set.name, np.zeros((0, 1, 1, 3), np.uint8), eval_set.labels, eval_set.gallery)
