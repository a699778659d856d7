"""PP-LCNet: a CPU backbone of depthwise-separable blocks (Cui et al., "PP-LCNet", arXiv:2109.15099).

Its design rules: H-Swish everywhere, squeeze-and-excitation only at the tail, 5x5 kernels in the second half, and one
wide 1x1 convolution after global pooling.
"""

from typing import NamedTuple

import paddle
from paddle import nn


class Block(NamedTuple):
    """One depthwise-separable block of the published table, at width 1."""

    kernel: int
    in_channels: int
    out_channels: int
    stride: int
    use_se: bool = False


STAGES: dict[str, tuple[Block, ...]] = {
    "blocks2": (Block(3, 16, 32, 1),),
    "blocks3": (Block(3, 32, 64, 2), Block(3, 64, 64, 1)),
    "blocks4": (Block(3, 64, 128, 2), Block(3, 128, 128, 1)),
    "blocks5": (Block(3, 128, 256, 2), *(Block(5, 256, 256, 1),) * 5),
    "blocks6": (Block(5, 256, 512, 2, use_se=True), Block(5, 512, 512, 1, use_se=True)),
}


def scaled_channels(channels: int, scale: float) -> int:
    """`channels * scale` rounded to a multiple of 8, never more than a tenth below the exact product."""
    exact = channels * scale
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * exact else rounded + 8


class DepthwiseConv(nn.Conv2D):
    """One k x k filter a channel, "same" padding. All depthwise convolutions of all networks are this class."""

    def __init__(self, channels: int, kernel: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__(
            channels,
            channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=channels,
            weight_attr=paddle.ParamAttr(initializer=nn.initializer.KaimingNormal()),
            bias_attr=None if bias else False,
        )


def conv(in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, bias: bool = False) -> nn.Conv2D:
    """A dense convolution with "same" padding and He initialisation."""
    return nn.Conv2D(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        weight_attr=paddle.ParamAttr(initializer=nn.initializer.KaimingNormal()),
        bias_attr=None if bias else False,
    )


class ConvBNAct(nn.Layer):
    """A convolution, its batch norm and its activation."""

    def __init__(self, convolution: nn.Conv2D, channels: int, act: nn.Layer) -> None:
        super().__init__()
        self.conv = convolution
        self.bn = nn.BatchNorm2D(channels)
        self.act = act

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.act(self.bn(self.conv(x)))


class SqueezeExcitation(nn.Layer):
    """Channel gates from the global mean, through a quarter of the channels (Hu et al., arXiv:1709.01507)."""

    def __init__(self, channels: int, gate: nn.Layer) -> None:
        super().__init__()
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        self.conv1 = conv(channels, channels // 4, bias=True)
        self.relu = nn.ReLU()
        self.conv2 = conv(channels // 4, channels, bias=True)
        self.gate = gate

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        gates = self.gate(self.conv2(self.relu(self.conv1(self.avg_pool(x)))))  # (N, C, 1, 1)
        return x * gates


class DepthwiseSeparable(nn.Layer):
    """Depthwise filter, then (at the tail) channel gates, then a 1x1 convolution; batch norm and H-Swish after both."""

    def __init__(self, block: Block, scale: float) -> None:
        super().__init__()
        in_channels = scaled_channels(block.in_channels, scale)
        out_channels = scaled_channels(block.out_channels, scale)
        self.dw_conv = ConvBNAct(DepthwiseConv(in_channels, block.kernel, block.stride), in_channels, nn.Hardswish())
        self.se = SqueezeExcitation(in_channels, nn.Hardsigmoid()) if block.use_se else None
        self.pw_conv = ConvBNAct(conv(in_channels, out_channels), out_channels, nn.Hardswish())

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.dw_conv(x)
        if self.se is not None:
            x = self.se(x)
        return self.pw_conv(x)


class LCNetStages(nn.Layer):
    """The convolutional backbone. (N, 3, H, W) -> feature maps at strides 8, 16 and 32.

    `out_channels` are the channels of the three maps.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        stem = scaled_channels(16, scale)
        self.conv1 = ConvBNAct(conv(3, stem, kernel=3, stride=2), stem, nn.Hardswish())
        for name, blocks in STAGES.items():
            setattr(self, name, nn.Sequential(*(DepthwiseSeparable(block, scale) for block in blocks)))
        self.out_channels = tuple(
            scaled_channels(STAGES[name][-1].out_channels, scale) for name in ("blocks4", "blocks5", "blocks6")
        )

    def feature_maps(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
        stride4 = self.blocks3(self.blocks2(self.conv1(x)))
        stride8 = self.blocks4(stride4)
        stride16 = self.blocks5(stride8)
        stride32 = self.blocks6(stride16)
        return stride8, stride16, stride32

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        return self.feature_maps(x)


class PPLCNet(LCNetStages):
    """PP-LCNet with its pooled tail. (N, 3, H, W) -> (N, class_num) logits, or (N, class_expand) if `class_num` is None.

    Published widths are 0.25, 0.35, 0.5, 0.75, 1, 1.5, 2 and 2.5; any other works.
    """

    def __init__(
        self, scale: float = 1.0, class_num: int | None = 1000, class_expand: int = 1280, dropout: float = 0.2
    ) -> None:
        super().__init__(scale)
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        self.last_conv = conv(self.out_channels[-1], class_expand)
        self.hardswish = nn.Hardswish()
        # The official exports scale by 1 - p when serving, instead of by 1 / (1 - p) when training.
        self.dropout = nn.Dropout(dropout, mode="downscale_in_infer")
        self.flatten = nn.Flatten()
        self.fc = None if class_num is None else nn.Linear(class_expand, class_num)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.avg_pool(self.feature_maps(x)[-1])
        x = self.flatten(self.dropout(self.hardswish(self.last_conv(x))))  # (N, class_expand)
        return x if self.fc is None else self.fc(x)
