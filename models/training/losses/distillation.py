"""Losses of distillation: one network's answers pulled towards another's, over logits, similarities or features."""

import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it

from models.training.losses.pairs import cosines

SELF = 1e9  # taken from a picture's similarity to itself, which means nothing


def dml_loss(logits: paddle.Tensor, others: paddle.Tensor) -> paddle.Tensor:
    """Deep mutual learning: the mean of both Kullback-Leibler divergences between two softmaxes, over the batch.

    (B, C) each. Gradients flow into both; detach what is frozen. Zhang et al., arXiv:1706.00384, equation 3; PaddleClas
    takes the mean of both directions.
    """
    mine, theirs = F.log_softmax(logits, axis=1), F.log_softmax(others, axis=1)
    forward = (paddle.exp(mine) * (mine - theirs)).sum(axis=1)
    backward = (paddle.exp(theirs) * (theirs - mine)).sum(axis=1)
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
