"""ESNet: PP-PicoDet's own backbone of channel-shuffling blocks (Yu et al., "PP-PicoDet", arXiv:2111.00902, section 3.1).

ShuffleNetV2 with squeeze-and-excitation in every block, and a depthwise-separable convolution instead of the shuffle
where the stride is 2. How wide each block is inside was found by neural architecture search; `RATIOS` are PicoDet-S's.
"""

import paddle
from paddle import nn

from models.nets.lcnet import ConvBNAct, DepthwiseConv, SqueezeExcitation, conv

STEM = 24
REPEATS = (3, 7, 3)
CHANNELS = (128, 256, 512)  # of the stages at strides 8, 16 and 32, at width 1
RATIOS = (0.875, 0.5, 0.5, 0.5, 0.625, 0.5, 0.625, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5)


def divisible(value: float, divisor: int) -> int:
    """`value` rounded to a multiple of `divisor`, never more than a tenth below it."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * value else rounded + divisor


def conv_norm(convolution: nn.Conv2D, channels: int, act: bool = True) -> ConvBNAct:
    """A convolution with its batch norm, and H-Swish or nothing."""
    return ConvBNAct(convolution, channels, nn.Hardswish() if act else nn.Identity())


class ShuffleBlock(nn.Layer):
    """Stride 1: half the channels pass by, half go through; then the two are interleaved. (N, C, H, W) -> the same."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.half = channels // 2
        self.pw = conv_norm(conv(self.half, inner // 2), inner // 2)
        self.dw = conv_norm(DepthwiseConv(inner // 2, 3), inner // 2, act=False)
        self.se = SqueezeExcitation(inner, nn.Hardsigmoid())
        self.linear = conv_norm(conv(inner, self.half), self.half)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        past, through = paddle.split(x, 2, axis=1)
        narrow = self.pw(through)
        through = self.linear(self.se(paddle.concat([narrow, self.dw(narrow)], axis=1)))
        _, channels, height, width = x.shape
        pairs = paddle.concat([past, through], axis=1).reshape([-1, 2, self.half, height, width])
        return pairs.transpose([0, 2, 1, 3, 4]).reshape([-1, channels, height, width])


class DownBlock(nn.Layer):
    """Stride 2: both branches halve the picture; a depthwise-separable convolution mixes them. (N, C, H, W) -> (N, C', H/2, W/2)."""

    def __init__(self, in_channels: int, channels: int, inner: int) -> None:
        super().__init__()
        half, inner = channels // 2, inner // 2
        self.dw_1 = conv_norm(DepthwiseConv(in_channels, 3, 2), in_channels, act=False)
        self.linear_1 = conv_norm(conv(in_channels, half), half)
        self.pw_2 = conv_norm(conv(in_channels, inner), inner)
        self.dw_2 = conv_norm(DepthwiseConv(inner, 3, 2), inner, act=False)
        self.se = SqueezeExcitation(inner, nn.Hardsigmoid())
        self.linear_2 = conv_norm(conv(inner, half), half)
        self.dw_mix = conv_norm(DepthwiseConv(channels, 3), channels)
        self.pw_mix = conv_norm(conv(channels, channels), channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        first = self.linear_1(self.dw_1(x))
        second = self.linear_2(self.se(self.dw_2(self.pw_2(x))))
        return self.pw_mix(self.dw_mix(paddle.concat([first, second], axis=1)))


class ESNet(nn.Layer):
    """The convolutional backbone. (N, 3, H, W) -> feature maps at strides 8, 16 and 32; `out_channels` are theirs.

    A scale of 0.75 is PicoDet-S's.
    """

    def __init__(self, scale: float = 0.75) -> None:
        super().__init__()
        self.out_channels = tuple(divisible(channels * scale, 16) for channels in CHANNELS)
        self.stem = conv_norm(conv(3, STEM, kernel=3, stride=2), STEM)
        self.pool = nn.MaxPool2D(3, 2, 1)
        before, ratios = STEM, iter(RATIOS)
        for name, channels, repeats in zip(("stage8", "stage16", "stage32"), self.out_channels, REPEATS, strict=True):
            inner = [divisible(int(channels * next(ratios)), 8) for _ in range(repeats)]
            blocks = [DownBlock(before, channels, inner[0]), *(ShuffleBlock(channels, width) for width in inner[1:])]
            setattr(self, name, nn.Sequential(*blocks))
            before = channels

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        stride8 = self.stage8(self.pool(self.stem(x)))
        stride16 = self.stage16(stride8)
        return stride8, stride16, self.stage32(stride16)
