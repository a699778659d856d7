"""What the bundled embedder's trainer sums: a cosine-margin softmax over proxies, and distances to a teacher's vectors."""

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
