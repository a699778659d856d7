"""Supervised contrastive loss: every picture of a class attracts every other, against all pictures of the batch."""

import paddle

from models.training.losses.pairs import cosines, same_class

SELF = 1e9  # taken from a picture's similarity to itself: it neither attracts nor repels


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
