"""The DeepHash losses over a batch's real-valued codes (B, bits): near 1 or -1 in each bit, alike within a class.

Constants are those of PaddleClas' DeepHash recipes. Labels are (B,) classes; pairs include each row with itself, as there.
"""

import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it

from models.training.losses.pairs import same_class, squared_distances
from models.training.recipes.hash import DCH_GAMMA, DCH_LAMBDA, DSHSD_ALPHA, LCDSH_LAMBDA

LCDSH_CLIP = 50.0
DCH_MOST_COSINE = 0.99


def dshsd_loss(
    codes: paddle.Tensor, logits: paddle.Tensor, labels: paddle.Tensor, alpha: float = DSHSD_ALPHA
) -> dict[str, paddle.Tensor]:
    """ "Deep Supervised Hashing Based on Stable Distribution" (Wu et al., 2019): cross-entropy of the head's `logits` (B, C), and pairs.

    A pair costs d^2 / 2 within a class, and between classes what 2 bits lack of d^2, halved. Parts: class, pair.
    """
    distances, same = squared_distances(codes, codes), same_class(labels, labels)
    apart = F.relu(2.0 * codes.shape[1] - distances)
    pairs = 0.5 * (same * distances + (1.0 - same) * apart)
    return {"class": F.cross_entropy(logits, labels), "pair": alpha * pairs.mean()}


def lcdsh_loss(codes: paddle.Tensor, labels: paddle.Tensor, weight: float = LCDSH_LAMBDA) -> dict[str, paddle.Tensor]:
    """ "Locality-Constrained Deep Supervised Hashing" (Zhu and Gao, AAAI 2017): likelihood of the pairs, and what binarising changes of it.

    Likelihood: log(1 + exp(-s p)) with p half the inner product and s = 1 within a class, -1 between. Parts: pair, sign.
    """
    s = 2.0 * same_class(labels, labels) - 1.0
    products = 0.5 * paddle.matmul(codes, codes, transpose_y=True)
    signs = paddle.sign(codes)
    signed = 0.5 * paddle.matmul(signs, signs, transpose_y=True)
    clipped = paddle.clip(products, -LCDSH_CLIP, LCDSH_CLIP)
    difference = F.sigmoid(clipped) - F.sigmoid(signed)
    return {"pair": F.softplus(-s * clipped).mean(), "sign": weight * (difference * difference).mean()}


def dch_loss(
    codes: paddle.Tensor, labels: paddle.Tensor, gamma: float = DCH_GAMMA, weight: float = DCH_LAMBDA
) -> dict[str, paddle.Tensor]:
    """ "Deep Cauchy Hashing for Hamming Space Retrieval" (Cao et al., CVPR 2018): Cauchy cross-entropy of pairs, and of quantisation.

    Both kinds of pairs weigh the same in sum, however many there are. Parts: pair, quantisation.
    """
    same = same_class(labels, labels)
    apart, count = 1.0 - same, float(same.size)
    weights = same * count / paddle.clip(same.sum(), min=1.0) + apart * count / paddle.clip(apart.sum(), min=1.0)
    if float(apart.sum()) == 0:
        weights = paddle.ones_like(same)
    d = hamming_proxy(codes, codes)
    pairs = weights * (same * paddle.log(d / gamma) + paddle.log(1.0 + gamma / d))
    from_ones = hamming_proxy(paddle.abs(codes), paddle.ones([1, codes.shape[1]]))
    return {"pair": pairs.mean(), "quantisation": weight * paddle.log(1.0 + from_ones / gamma).mean()}


def hamming_proxy(rows: paddle.Tensor, columns: paddle.Tensor) -> paddle.Tensor:
    """(B, bits) and (M, bits) -> (B, M): (1 - cosine) bits / 2, the Hamming distance where all values are 1 or -1.

    The cosine counts as 0.99 at most, so that the distance is never 0.
    """
    norms = paddle.matmul(_norms(rows), _norms(columns), transpose_y=True)
    cosines = paddle.matmul(rows, columns, transpose_y=True) / paddle.clip(norms, min=1e-4)
    return (1.0 - paddle.clip(cosines, max=DCH_MOST_COSINE)) * (rows.shape[1] / 2.0)


def _norms(rows: paddle.Tensor) -> paddle.Tensor:
    return paddle.sqrt(paddle.clip((rows * rows).sum(axis=1, keepdim=True), min=1e-12))
