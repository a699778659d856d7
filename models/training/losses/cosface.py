"""Pairwise CosFace: one softplus a picture over all its positives and all its negatives."""

import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from paddle import nn

from models.training.losses.pairs import cosines, same_class
from models.training.recipes.metric import PairwiseCosface

NO_PAIR = 1e8  # what is masked out weighs exp of minus this


def pairwise_cosface_loss(
    embeddings: paddle.Tensor, labels: paddle.Tensor, margin: float = 0.35, gamma: float = 64.0
) -> paddle.Tensor:
    """Mean of log(1 + sum over positives of exp(-gamma s) * sum over negatives of exp(gamma (s + margin))), s cosines.

    Sun et al., "Circle Loss", arXiv:2002.10857, equation 1, over unit rows. A picture is no positive of itself.
    """
    similarity = cosines(embeddings, embeddings)  # (B, B)
    same = same_class(labels, labels)
    positive = same - paddle.eye(len(labels))
    pull = paddle.logsumexp(-gamma * similarity - NO_PAIR * (1.0 - positive), axis=1)
    push = paddle.logsumexp(gamma * (similarity + margin) - NO_PAIR * same, axis=1)
    return F.softplus(pull + push).mean()


class PairwiseCosfaceLoss(nn.Layer):
    """`pairwise_cosface_loss` with a recipe's table. Embeddings (B, D), labels (B,) -> scalar."""

    def __init__(self, table: PairwiseCosface, dim: int, classes: int) -> None:
        super().__init__()
        self.table = table

    def forward(self, embeddings: paddle.Tensor, labels: paddle.Tensor, step: int) -> paddle.Tensor:
        rows = F.normalize(embeddings, axis=1)
        return pairwise_cosface_loss(rows, labels, self.table.margin, self.table.gamma)
