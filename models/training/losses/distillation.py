"""Losses of distillation: a student matches a teacher or a peer, over logits, similarities, features or embeddings."""

import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it

from models.training.losses.pairs import cosines

SELF = 1e9  # taken from a picture's similarity to itself, which means nothing


def dml_loss(logits: paddle.Tensor, others: paddle.Tensor) -> paddle.Tensor:
    """Deep mutual learning: the mean of both Kullback-Leibler divergences between two softmaxes, over the batch.

    (B, C) each. Gradients flow into both; detach what is frozen. Zhang et al., arXiv:1706.00384, equation 3; PaddleClas
    takes the mean of both directions.
    """
    own, theirs = F.log_softmax(logits, axis=1), F.log_softmax(others, axis=1)
    forward = (paddle.exp(own) * (own - theirs)).sum(axis=1)
    backward = (paddle.exp(theirs) * (theirs - own)).sum(axis=1)
    return (0.5 * (forward + backward)).mean()


def relation_logits(features: paddle.Tensor, temperature: float) -> paddle.Tensor:
    """(B, D) of any length -> (B, B): how much each picture is like each other one of the batch, as logits.

    Two networks' embeddings can't be compared dimension by dimension, these can: Fang et al., "SEED", arXiv:2101.04731.
    """
    rows = F.normalize(features, axis=1)
    return cosines(rows, rows) / temperature - SELF * paddle.eye(len(features))


def distance_loss(features: paddle.Tensor, others: paddle.Tensor) -> paddle.Tensor:
    """Mean squared difference of two networks' features (B, F): what UDML adds to DML (PaddleClas' DistillationDistanceLoss, L2)."""
    return ((features - others) ** 2).mean()


def cosine_distance_loss(embeddings: paddle.Tensor, targets: paddle.Tensor, weights: paddle.Tensor) -> paddle.Tensor:
    """Mean of 1 - cosine to the teacher's vector, weighted a row: `weights` (B,), zero where there is no target."""
    distances = 1.0 - (F.normalize(embeddings, axis=1) * targets).sum(axis=1)
    return (distances * weights).sum() / paddle.clip(weights.sum(), min=1.0)


def similarity_loss(embeddings: paddle.Tensor, vectors: paddle.Tensor, known: paddle.Tensor) -> paddle.Tensor:
    """Mean squared difference of two similarity matrices, over the pairs of different pictures with a known vector.

    `embeddings` (B, D) and `vectors` (B, V) unit rows of any lengths, `known` (B,) 0 or 1. Tung and Mori,
    "Similarity-preserving knowledge distillation", arXiv:1907.09682, on the similarities themselves.
    """
    pairs = known.unsqueeze(0) * known.unsqueeze(1) * (1.0 - paddle.eye(len(known)))
    return ((cosines(embeddings, embeddings) - cosines(vectors, vectors)) ** 2 * pairs).sum() / paddle.clip(
        pairs.sum(), min=1.0
    )
