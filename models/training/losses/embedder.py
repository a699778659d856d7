"""What the bundled embedder's trainer sums: a cosine-margin softmax over proxies, and distances to a teacher's vectors."""

import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it


def cos_margin_loss(
    embeddings: paddle.Tensor,
    proxies: paddle.Tensor,
    labels: paddle.Tensor,
    margin: float,
    scale: float,
    smoothing: float = 0.0,
) -> paddle.Tensor:
    """Softmax cross-entropy over cosines to one proxy a class, with `margin` taken from the own class's cosine.

    Wang et al., "CosFace", arXiv:1801.09414. `embeddings` (B, D) unit, `proxies` (C, D). `smoothing`: the fraction of
    each label that is spread evenly over all classes.
    """
    cosines = paddle.matmul(embeddings, F.normalize(proxies, axis=1), transpose_y=True)  # (B, C)
    own = F.one_hot(labels, proxies.shape[0])
    logits = scale * (cosines - margin * own)
    if smoothing:
        return F.cross_entropy(logits, F.label_smooth(own, epsilon=smoothing), soft_label=True)
    return F.cross_entropy(logits, labels)


def cosine_distance_loss(embeddings: paddle.Tensor, targets: paddle.Tensor, weights: paddle.Tensor) -> paddle.Tensor:
    """Mean of 1 - cosine to the teacher's vector, weighted a row: `weights` (B,), zero where there is no target."""
    distances = 1.0 - (F.normalize(embeddings, axis=1) * targets).sum(axis=1)
    return (distances * weights).sum() / paddle.clip(weights.sum(), min=1.0)


def relation_loss(embeddings: paddle.Tensor, vectors: paddle.Tensor, known: paddle.Tensor) -> paddle.Tensor:
    """Mean squared difference of two similarity matrices, over the pairs of different pictures with a known vector.

    `embeddings` (B, D) and `vectors` (B, V) unit rows of any lengths, `known` (B,) 0 or 1. Tung and Mori,
    "Similarity-preserving knowledge distillation", arXiv:1907.09682, on the similarities themselves.
    """
    pairs = known.unsqueeze(0) * known.unsqueeze(1) * (1.0 - paddle.eye(len(known)))
    mine = paddle.matmul(embeddings, embeddings, transpose_y=True)
    theirs = paddle.matmul(vectors, vectors, transpose_y=True)
    return ((mine - theirs) ** 2 * pairs).sum() / paddle.clip(pairs.sum(), min=1.0)
