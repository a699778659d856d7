"""Center loss: each embedding is pulled to the running centre of its class."""

import paddle
from paddle import nn

from models.training.recipes.metric import Center


class CenterLoss(nn.Layer):
    """Mean squared distance to the class's centre; the centres follow their classes. (B, D), labels (B,) -> scalar.

    Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016, equations 2 and 4: after
    each batch a centre moves by `rate` towards its members' mean, less for few members. Centres are buffers, not
    parameters: no optimiser touches them, and a checkpoint holds them.
    """

    def __init__(self, table: Center, dim: int, classes: int) -> None:
        super().__init__()
        self.rate = table.rate
        self.register_buffer("centers", paddle.zeros([classes, dim]))

    def forward(self, embeddings: paddle.Tensor, labels: paddle.Tensor, step: int = 0) -> paddle.Tensor:
        away = embeddings - paddle.gather(self.centers, labels)  # (B, D)
        loss = (away * away).sum(axis=1).mean()
        if self.training:
            self.follow(away.detach(), labels)
        return loss

    @paddle.no_grad()
    def follow(self, away: paddle.Tensor, labels: paddle.Tensor) -> None:
        """Move each class's centre by rate * (sum of its members' distances) / (1 + their number)."""
        sums = paddle.zeros_like(self.centers)
        sums = paddle.scatter_nd_add(sums, labels.unsqueeze(1), away)
        counts = paddle.scatter_nd_add(
            paddle.zeros([len(self.centers), 1]), labels.unsqueeze(1), paddle.ones([len(labels), 1])
        )
        self.centers.set_value(self.centers + self.rate * sums / (1.0 + counts))
