"""Softmax cross-entropy over a head's logits, with label smoothing."""

import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it


def cross_entropy(logits: paddle.Tensor, labels: paddle.Tensor, smoothing: float = 0.0) -> paddle.Tensor:
    """(B, C) logits against labels that keep 1 - `smoothing` and share the rest among all C classes alike.

    Szegedy et al., "Rethinking the Inception Architecture", arXiv:1512.00567, section 7.
    """
    log_probabilities = F.log_softmax(logits, axis=1)
    own = -paddle.take_along_axis(log_probabilities, labels.unsqueeze(1), axis=1).mean()
    return (1.0 - smoothing) * own - smoothing * log_probabilities.mean()
