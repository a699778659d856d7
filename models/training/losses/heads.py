"""Heads: from an embedding to one logit a class, with the margins that only training sees.

Each takes (B, D) embeddings, normalised or not, and labels (B,); without labels the logits have no margin. Parameters bear
PaddleClas' names and shapes.
"""

import math

import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from paddle import nn

PROXY_STD = 0.05


class FC(nn.Layer):
    """One linear layer without a bias, near zero at first. (B, D) -> (B, classes)."""

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        near_zero = paddle.ParamAttr(initializer=nn.initializer.Normal(std=0.001))
        self.fc = nn.Linear(size, classes, weight_attr=near_zero, bias_attr=False)

    def forward(self, x: paddle.Tensor, labels: paddle.Tensor | None = None) -> paddle.Tensor:
        return self.fc(x)


class CosineHead(nn.Layer):
    """What the margin heads share: one direction a class, and the embeddings' cosines to it."""

    def __init__(self, size: int, classes: int, margin: float, scale: float) -> None:
        super().__init__()
        self.margin, self.scale = margin, scale
        self.weight = self.new_weight(size, classes)

    def new_weight(self, size: int, classes: int) -> paddle.Tensor:
        """(D, classes), a direction a column."""
        attr = paddle.ParamAttr(initializer=nn.initializer.XavierNormal())
        return self.create_parameter([size, classes], attr=attr)

    def cosines(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, D) -> (B, classes)."""
        return paddle.matmul(F.normalize(x, axis=1), F.normalize(self.weight, axis=0))

    def forward(self, x: paddle.Tensor, labels: paddle.Tensor | None = None) -> paddle.Tensor:
        cosines = self.cosines(x)
        if labels is None:
            return self.scale * cosines
        own = F.one_hot(labels, cosines.shape[1])
        return self.scale * self.with_margin(cosines, own)

    def with_margin(self, cosines: paddle.Tensor, own: paddle.Tensor) -> paddle.Tensor:
        """The cosines (B, C) made harder; `own` is 1 at each row's class, else 0."""
        return cosines - self.margin * own


class CosMargin(CosineHead):
    """cos(t) - margin for the own class. Wang et al., "CosFace", arXiv:1801.09414."""

    def __init__(self, size: int, classes: int, margin: float = 0.35, scale: float = 64.0) -> None:
        super().__init__(size, classes, margin, scale)


class ProxyMargin(CosMargin):
    """CosMargin over unit embeddings whose directions are proxies: a row a class, which can be put in."""

    def new_weight(self, size: int, classes: int) -> paddle.Tensor:
        """(classes, D), near zero."""
        attr = paddle.ParamAttr(initializer=nn.initializer.Normal(std=PROXY_STD))
        return self.create_parameter([classes, size], attr=attr)

    def cosines(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, D) of length 1 -> (B, classes)."""
        return paddle.matmul(x, F.normalize(self.weight, axis=1), transpose_y=True)


class ArcMargin(CosineHead):
    """cos(t + margin) for the own class. Deng et al., "ArcFace", arXiv:1801.07698.

    Beyond t = pi - margin, where the cosine would rise again, the logit is cos(t) - margin sin(margin) instead. With
    `easy_margin` it is plain cos(t) wherever the embedding is not yet on its class's side.
    """

    def __init__(
        self, size: int, classes: int, margin: float = 0.5, scale: float = 80.0, *, easy_margin: bool = False
    ) -> None:
        super().__init__(size, classes, margin, scale)
        self.easy_margin = easy_margin

    def with_margin(self, cosines: paddle.Tensor, own: paddle.Tensor) -> paddle.Tensor:
        sines = paddle.sqrt(paddle.clip(1.0 - cosines * cosines, min=0.0) + 1e-6)  # 1e-6: a root's slope at 0 is none
        turned = cosines * math.cos(self.margin) - sines * math.sin(self.margin)
        if self.easy_margin:
            hard = paddle.where(cosines > 0.0, turned, cosines)
        else:
            beyond = cosines - self.margin * math.sin(self.margin)
            hard = paddle.where(cosines > -math.cos(self.margin), turned, beyond)
        return own * hard + (1.0 - own) * cosines


class CircleMargin(CosineHead):
    """Each cosine is weighted by how far it is from where it should be: 1 for the own class, 0 for the others.

    Sun et al., "Circle Loss", arXiv:2002.10857, section 3.3, with class directions for the other half of a pair; the weights
    are constants to the gradient.
    """

    def __init__(self, size: int, classes: int, margin: float = 0.35, scale: float = 64.0) -> None:
        super().__init__(size, classes, margin, scale)

    def with_margin(self, cosines: paddle.Tensor, own: paddle.Tensor) -> paddle.Tensor:
        seen = cosines.detach()
        pull, push = F.relu(1.0 + self.margin - seen), F.relu(seen + self.margin)
        toward = pull * (cosines - (1.0 - self.margin))
        away = push * (cosines - self.margin)
        return own * toward + (1.0 - own) * away
