"""Supervised contrastive loss: every picture of a class pulls every other, against all pictures of the batch."""

import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from paddle import nn

from models.training.losses.pairs import cosines, same_class
from models.training.recipes.metric import SupCon

SELF = 1e9  # taken from a picture's similarity to itself: it neither pulls nor pushes


def supcon_loss(embeddings: paddle.Tensor, labels: paddle.Tensor, temperature: float = 0.07) -> paddle.Tensor:
    """Khosla et al., arXiv:2004.11362, equation 2 (`out`), over unit rows; each row of the batch is a view.

    Rows without another of their class have no loss; with none at all the loss is 0.
    """
    own = paddle.eye(len(labels))
    logits = cosines(embeddings, embeddings) / temperature - SELF * own  # (B, B)
    log_probability = logits - paddle.logsumexp(logits, axis=1, keepdim=True)
    positive = same_class(labels, labels) * (1.0 - own)
    counts = positive.sum(axis=1)
    pulled = -(positive * log_probability).sum(axis=1) / paddle.clip(counts, min=1.0)
    anchors = (counts > 0).astype(embeddings.dtype)
    return (pulled * anchors).sum() / paddle.clip(anchors.sum(), min=1.0)


class SupConLoss(nn.Layer):
    """`supcon_loss` with a recipe's table. Embeddings (B, D), labels (B,) -> scalar."""

    def __init__(self, table: SupCon, dim: int, classes: int) -> None:
        super().__init__()
        self.table = table

    def forward(self, embeddings: paddle.Tensor, labels: paddle.Tensor, step: int) -> paddle.Tensor:
        return supcon_loss(F.normalize(embeddings, axis=1), labels, self.table.temperature)
