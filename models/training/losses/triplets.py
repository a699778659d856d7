"""Batch-hard triplets, by distance and by angle: each picture with its hardest positive and its hardest negative.

Hermans et al., "In Defense of the Triplet Loss", arXiv:1703.07737. A batch needs two classes, or there is no negative;
a picture alone in its class is its own positive, at distance 0.
"""

import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from paddle import nn

from models.training.losses.pairs import cosines, same_class, squared_distances
from models.training.recipes.metric import Triplet, TripletAngularMargin

FAR = 1e6  # beyond any distance between embeddings


def triplet_loss_v2(embeddings: paddle.Tensor, labels: paddle.Tensor, margin: float = 0.5) -> paddle.Tensor:
    """Mean of max(0, farthest positive - nearest negative + margin), by Euclidean distance: TripletLossV2 of PaddleClas.

    Give unit rows for what PaddleClas calls `normalize_feature`.
    """
    distances = paddle.sqrt(squared_distances(embeddings, embeddings))
    same = same_class(labels, labels)
    farthest_positive = (distances * same).max(axis=1)
    nearest_negative = (distances + FAR * same).min(axis=1)
    return F.relu(farthest_positive - nearest_negative + margin).mean()


def triplet_angular_margin_loss(
    embeddings: paddle.Tensor,
    labels: paddle.Tensor,
    margin: float = 0.5,
    *,
    ap_value: float = 0.8,
    an_value: float = 0.4,
    absolute_weight: float = 0.1,
    paddleclas_offset: bool = False,
) -> paddle.Tensor:
    """Batch-hard triplets by cosine, plus absolute bounds: positives above `ap_value`, negatives below `an_value`.

    PP-ShiTuV2's TripletAngularMarginLoss, over unit rows. Where a negative is already below its bound the term is 0.
    PaddleClas adds a constant 1 there, by mistake: `paddleclas_offset` adds it too, to compare a curve with theirs. It has no
    gradient, so it changes what is logged and nothing that is learnt.
    """
    similarity = cosines(embeddings, embeddings)  # (B, B)
    same = same_class(labels, labels, embeddings.dtype)
    hardest_positive = (similarity + 2.0 * (1.0 - same)).min(axis=1)
    hardest_negative = (similarity - 2.0 * same).max(axis=1)
    ranking = F.relu(margin - (hardest_positive - hardest_negative)).mean()
    absolute = F.relu(ap_value - hardest_positive).mean() + F.relu(hardest_negative - an_value).mean()
    if paddleclas_offset:
        absolute = absolute + (hardest_negative <= an_value).astype(embeddings.dtype).mean()
    return ranking + absolute_weight * absolute


class TripletLossV2(nn.Layer):
    """`triplet_loss_v2` with a recipe's table. Embeddings (B, D), labels (B,) -> scalar."""

    def __init__(self, table: Triplet, dim: int, classes: int) -> None:
        super().__init__()
        self.table = table

    def forward(self, embeddings: paddle.Tensor, labels: paddle.Tensor, step: int) -> paddle.Tensor:
        rows = F.normalize(embeddings, axis=1) if self.table.normalize else embeddings
        return triplet_loss_v2(rows, labels, self.table.margin)


class TripletAngularMarginLoss(nn.Layer):
    """`triplet_angular_margin_loss` with a recipe's table. Embeddings (B, D), labels (B,) -> scalar."""

    def __init__(self, table: TripletAngularMargin, dim: int, classes: int) -> None:
        super().__init__()
        self.table = table

    def forward(self, embeddings: paddle.Tensor, labels: paddle.Tensor, step: int) -> paddle.Tensor:
        return triplet_angular_margin_loss(
            F.normalize(embeddings, axis=1),
            labels,
            self.table.margin,
            ap_value=self.table.ap_value,
            an_value=self.table.an_value,
            absolute_weight=self.table.absolute_weight,
        )
