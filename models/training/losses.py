"""Losses of the embedders, each a formula of its paper over L2-normalised embeddings. Shapes: (B, D), labels (B,)."""

import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it


def cos_margin_loss(
    embeddings: paddle.Tensor, proxies: paddle.Tensor, labels: paddle.Tensor, margin: float, scale: float
) -> paddle.Tensor:
    """Softmax cross-entropy over cosines to one proxy a class, the own class handicapped by `margin`.

    Wang et al., "CosFace", arXiv:1801.09414. `embeddings` (B, D) unit, `proxies` (C, D).
    """
    cosines = paddle.matmul(embeddings, F.normalize(proxies, axis=1), transpose_y=True)  # (B, C)
    handicap = margin * F.one_hot(labels, proxies.shape[0])
    return F.cross_entropy(scale * (cosines - handicap), labels)


def cosine_distance_loss(embeddings: paddle.Tensor, targets: paddle.Tensor, weights: paddle.Tensor) -> paddle.Tensor:
    """Mean of 1 - cosine to the teacher's vector, weighted a row: `weights` (B,), zero where there is no target."""
    distances = 1.0 - (F.normalize(embeddings, axis=1) * targets).sum(axis=1)
    return (distances * weights).sum() / paddle.clip(weights.sum(), min=1.0)


def triplet_angular_margin_loss(
    embeddings: paddle.Tensor,
    labels: paddle.Tensor,
    margin: float = 0.5,
    *,
    ap_value: float = 0.8,
    an_value: float = 0.4,
    absolute_weight: float = 0.1,
) -> paddle.Tensor:
    """Batch-hard triplets by cosine, plus absolute bounds: positives above `ap_value`, negatives below `an_value`.

    PP-ShiTuV2's TripletAngularMarginLoss. Where a negative is already below its bound the term is 0 (PaddleClas adds
    a constant 1 there, which shifts its logged loss and nothing else).
    """
    cosines = paddle.matmul(embeddings, embeddings, transpose_y=True)  # (B, B)
    same = (labels.unsqueeze(0) == labels.unsqueeze(1)).astype(embeddings.dtype)
    hardest_positive = (cosines + 2.0 * (1.0 - same)).min(axis=1)
    hardest_negative = (cosines - 2.0 * same).max(axis=1)
    ranking = F.relu(margin - (hardest_positive - hardest_negative)).mean()
    absolute = F.relu(ap_value - hardest_positive).mean() + F.relu(hardest_negative - an_value).mean()
    return ranking + absolute_weight * absolute
