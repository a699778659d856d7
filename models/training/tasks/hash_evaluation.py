"""Exams of binary codes: the same queries and galleries as the embedders', by Hamming distance."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.binary import binarize
from models.embedder import Embedder
from models.evaluation.binary_metrics import binary_metrics, leave_one_out_binary_metrics
from models.evaluation.eval_sets import Sheet, grade, set_exams
from models.training.networks.itq import itq
from models.training.recipes.hash import HashRecipe
from models.training.tasks.hash_features import Features, KnownExam, known_exams

Rows = NDArray[np.float32]


def grade_codes(rows: Rows, exam: KnownExam) -> dict[str, float]:
    """`recall@1`, `recall@5` and `retrieval_mAP` of the signs of `rows` (N, bits), the exam's pictures in turn."""
    codes, searched = binarize(rows), exam.gallery
    if searched.any():
        asked = ~searched
        metrics = binary_metrics(codes[asked], exam.labels[asked], codes[searched], exam.labels[searched])
    else:
        metrics = leave_one_out_binary_metrics(codes, exam.labels)
    return {name: round(metrics[name], 4) for name in ("recall@1", "recall@5", "retrieval_mAP")}


def examine_hash(artifact: Path, recipe: HashRecipe, data: Path | None, precision: str = "auto") -> dict[str, float]:
    """recall@1 and retrieval_mAP of the exported program's codes in the recipe's exams; those on photos need `data`."""
    embed = Embedder(artifact, threads=2, precision=precision)
    sheets = set_exams(recipe.pictures, data, recipe.deploy_px)
    figures: dict[str, float] = {}
    for exam in known_exams(lambda images: embed(list(images)), sheets):
        graded = grade_codes(exam.rows, exam)
        figures |= {f"{exam.name} {name}": graded[name] for name in ("recall@1", "retrieval_mAP")}
    return figures


def baselines(features: Features, bits: int) -> dict[str, dict[str, float]]:
    """recall@1 in each exam of what needs no training: the base's embeddings, their signs, and ITQ's codes of `bits` bits."""
    turn = itq(features.rows, bits)
    takers: dict[str, Callable[[KnownExam], float]] = {
        "embeddings": lambda exam: round(grade(exam.rows, _sheet(exam)), 4),
        "signs": lambda exam: grade_codes(exam.rows, exam)["recall@1"],
        "itq": lambda exam: grade_codes(turn(exam.rows), exam)["recall@1"],
    }
    return {name: {exam.name: take(exam) for exam in features.exams} for name, take in takers.items()}


def _sheet(exam: KnownExam) -> Sheet:
    return Sheet(exam.name, np.zeros((0, 1, 1, 3), np.uint8), exam.labels, exam.gallery)
