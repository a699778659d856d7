"""ResNet50_vd: the residual network in its variant D, a backbone for servers rather than for small CPUs.

Residual blocks are He et al.'s (arXiv:1512.03385); variant D (He et al., "Bag of Tricks", arXiv:1812.01187) has three 3x3
convolutions for a stem, and its shortcuts halve a map by averaging before their 1x1 convolution, so that no pixel is lost.
Layers bear the names of the official weights.
"""

import math

import paddle
from paddle import nn

from models.nets.lcnet import ConvBNAct, conv

DEPTHS_50 = (3, 4, 6, 3)
EXPANSION = 4  # a block's output is so many times as wide as its 3x3 convolution


class Shortcut(ConvBNAct):
    """The way past a block whose output has another shape: an average over 2x2 where it halves, then a 1x1 convolution."""

    def __init__(self, in_channels: int, out_channels: int, *, halves: bool) -> None:
        super().__init__(conv(in_channels, out_channels), out_channels, nn.Identity())
        # At an odd edge the average is over the pixels that are there.
        self.pool = nn.AvgPool2D(2, stride=2, ceil_mode=True) if halves else nn.Identity()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return super().forward(self.pool(x))


class Bottleneck(nn.Layer):
    """1x1 to fewer channels, 3x3 (which halves the map or not), 1x1 to `EXPANSION` times as many, and the shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        out_channels = EXPANSION * channels
        self.conv0 = ConvBNAct(conv(in_channels, channels), channels, nn.ReLU())
        self.conv1 = ConvBNAct(conv(channels, channels, kernel=3, stride=stride), channels, nn.ReLU())
        self.conv2 = ConvBNAct(conv(channels, out_channels), out_channels, nn.Identity())
        same = in_channels == out_channels and stride == 1
        self.short = None if same else Shortcut(in_channels, out_channels, halves=stride == 2)
        self.relu = nn.ReLU()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = self.conv2(self.conv1(self.conv0(x)))
        return self.relu(y + (x if self.short is None else self.short(x)))


class ResNet50_vd(nn.Layer):  # noqa: N801  # the name that it is published and configured by
    """(N, 3, H, W) -> (N, class_num) logits, or (N, 2048) pooled features if `class_num` is None.

    Other `depths` (blocks a stage) make its relatives, such as (3, 4, 23, 3) for ResNet101_vd.
    """

    def __init__(self, class_num: int | None = 1000, depths: tuple[int, ...] = DEPTHS_50) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvBNAct(conv(3, 32, kernel=3, stride=2), 32, nn.ReLU()),
            ConvBNAct(conv(32, 32, kernel=3), 32, nn.ReLU()),
            ConvBNAct(conv(32, 64, kernel=3), 64, nn.ReLU()),
        )
        self.max_pool = nn.MaxPool2D(3, stride=2, padding=1)
        blocks, wide = [], 64
        for stage, depth in enumerate(depths):
            channels = 64 << stage
            for i in range(depth):
                blocks.append(Bottleneck(wide, channels, stride=2 if i == 0 and stage else 1))
                wide = EXPANSION * channels
        self.blocks = nn.Sequential(*blocks)
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        self.flatten = nn.Flatten()
        self.fc = None
        if class_num is not None:
            bound = 1 / math.sqrt(wide)
            uniform = paddle.ParamAttr(initializer=nn.initializer.Uniform(-bound, bound))
            self.fc = nn.Linear(wide, class_num, weight_attr=uniform)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.blocks(self.max_pool(self.stem(x)))  # (N, 2048, H/32, W/32)
        x = self.flatten(self.avg_pool(x))
        return x if self.fc is None else self.fc(x)
