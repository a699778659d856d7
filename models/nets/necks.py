"""Necks: from a backbone's features to the embedding. Parameters bear the official weights' names."""

import paddle
from paddle import nn


class BNNeck(nn.Layer):
    """Batch norm over the features, with its shift frozen at zero so that classes stay comparable by angle.

    Luo et al., "Bag of Tricks and a Strong Baseline for Deep Person Re-identification", arXiv:1903.07071.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        # A learning rate of almost nothing rather than `stop_gradient`, with which Paddle gives the scale no gradient.
        self.feat_bn = nn.BatchNorm1D(size, bias_attr=paddle.ParamAttr(learning_rate=1e-20))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.feat_bn(x)


class FCNeck(nn.Layer):
    """One linear layer from the backbone's features to the embedding."""

    def __init__(self, in_features: int, size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(in_features, size)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.fc(x)
