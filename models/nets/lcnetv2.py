"""PP-LCNetV2: a CPU backbone with re-parameterised depthwise branches, and the variant that ShiTu embeds with.

Where PP-LCNet has one depthwise filter, the last two stages train parallel 5x5, 3x3 and 1x1 filters, each with its own
batch norm; `fused` merges them into the one 5x5 filter that is served (Ding et al., "RepVGG", arXiv:2101.03697).
"""

import copy
from typing import NamedTuple, TypeVar

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from models.nets.lcnet import ConvBNAct, DepthwiseConv, SqueezeExcitation, conv, scaled_channels


class Stage(NamedTuple):
    """One stage of the published table, at width 1; each stage doubles the channels."""

    in_channels: int
    kernel: int
    split_pw: bool = False
    use_rep: bool = False
    use_se: bool = False
    use_shortcut: bool = False


STAGES = (
    Stage(64, 3),
    Stage(128, 3),
    Stage(256, 5, split_pw=True, use_rep=True, use_se=True),
    Stage(512, 5, use_rep=True, use_shortcut=True),
)
Network = TypeVar("Network", bound=nn.Layer)
DEPTHS_SMALL, DEPTHS_BASE, DEPTHS_LARGE = (2, 2, 4, 2), (2, 2, 6, 2), (2, 2, 8, 2)


class ConvBN(nn.Layer):
    """One branch of a re-parameterised filter: a depthwise convolution and its batch norm, no activation."""

    def __init__(self, convolution: DepthwiseConv, channels: int) -> None:
        super().__init__()
        self.conv = convolution
        self.bn = nn.BatchNorm2D(channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.bn(self.conv(x))


class RepDepthwiseSeparable(nn.Layer):
    """Depthwise filter (several branches where the stage says so), gates, and one or two 1x1 convolutions."""

    def __init__(self, stage: Stage, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.has_shortcut = stage.use_shortcut and stride == 1 and in_channels == out_channels
        self.dw_conv_list: nn.LayerList | None = None
        self.dw_conv: nn.Layer
        if stage.use_rep:
            # A 1x1 branch is an identity at heart, which a stride would break.
            kernels = [kernel for kernel in range(stage.kernel, 0, -2) if kernel > 1 or stride == 1]
            self.dw_conv_list = nn.LayerList(
                [ConvBN(DepthwiseConv(in_channels, kernel, stride), in_channels) for kernel in kernels]
            )
            # What `fused` fills in. Official weights name it in training checkpoints too, so it is there from the
            # start, but only the branches learn.
            self.dw_conv = DepthwiseConv(in_channels, stage.kernel, stride, bias=True)
            for parameter in self.dw_conv.parameters():
                parameter.stop_gradient = True
            self.act = nn.ReLU()
        else:
            self.dw_conv = ConvBNAct(DepthwiseConv(in_channels, stage.kernel, stride), in_channels, nn.ReLU())
            self.act = nn.Identity()
        self.se = SqueezeExcitation(in_channels, nn.Sigmoid()) if stage.use_se else None
        if stage.split_pw:
            self.pw_conv_1 = ConvBNAct(conv(in_channels, out_channels // 2), out_channels // 2, nn.ReLU())
            self.pw_conv_2 = ConvBNAct(conv(out_channels // 2, out_channels), out_channels, nn.ReLU())
        else:
            self.pw_conv = ConvBNAct(conv(in_channels, out_channels), out_channels, nn.ReLU())
        self.split_pw = stage.split_pw

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        if self.dw_conv_list is not None:
            y = self.dw_conv_list[0](x)
            for branch in self.dw_conv_list[1:]:
                y = y + branch(x)
        else:
            y = self.dw_conv(x)
        y = self.act(y)
        if self.se is not None:
            y = self.se(y)
        y = self.pw_conv_2(self.pw_conv_1(y)) if self.split_pw else self.pw_conv(y)
        return y + x if self.has_shortcut else y

    def fuse(self) -> None:
        """Merge the branches into `dw_conv`, in place; from then on the block only serves."""
        if self.dw_conv_list is None:
            return
        kernel, bias = merged_branches(self.dw_conv_list)
        self.dw_conv.weight.set_value(kernel)
        self.dw_conv.bias.set_value(bias)
        self.dw_conv_list = None


class PPLCNetV2(nn.Layer):
    """PP-LCNetV2. (N, 3, H, W) -> (N, class_num) logits, or (N, class_expand) features if `class_num` is None.

    Small, base and large are widths 0.75, 1 and 1.25 with DEPTHS_SMALL, DEPTHS_BASE and DEPTHS_LARGE.
    `use_shitu_last_stage` makes the ShiTu variant: no stride in the last stage (so features of 1/16), and a last
    convolution with a bias and no activation.
    """

    def __init__(
        self,
        width: float = 1.0,
        depths: tuple[int, ...] = DEPTHS_BASE,
        *,
        class_num: int | None = 1000,
        class_expand: int = 1280,
        dropout: float = 0.2,
        use_shitu_last_stage: bool = False,
    ) -> None:
        super().__init__()
        if len(depths) != len(STAGES):
            raise ValueError(f"depths must name {len(STAGES)} stages, got {depths}")
        stem = scaled_channels(32, width)
        self.stem = nn.Sequential(
            ConvBNAct(conv(3, stem, kernel=3, stride=2), stem, nn.ReLU()),
            RepDepthwiseSeparable(Stage(32, 3), stem, scaled_channels(64, width), stride=1),
        )
        self.stages = nn.LayerList()
        for stage, depth in zip(STAGES, depths, strict=True):
            narrow, wide = scaled_channels(stage.in_channels, width), scaled_channels(2 * stage.in_channels, width)
            first_stride = 1 if use_shitu_last_stage and stage is STAGES[-1] else 2
            blocks = [RepDepthwiseSeparable(stage, narrow, wide, first_stride)]
            blocks += [RepDepthwiseSeparable(stage, wide, wide, 1) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        self.last_conv = conv(wide, class_expand, bias=use_shitu_last_stage)
        self.act = nn.Identity() if use_shitu_last_stage else nn.ReLU()
        # The official exports scale by 1 - p when serving, instead of by 1 / (1 - p) when training.
        self.dropout = nn.Dropout(dropout, mode="downscale_in_infer")
        self.flatten = nn.Flatten()
        self.fc = None if class_num is None else nn.Linear(class_expand, class_num)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        x = self.act(self.last_conv(self.avg_pool(x)))  # (N, class_expand, 1, 1)
        x = self.flatten(self.dropout(x))
        return x if self.fc is None else self.fc(x)


def fused(network: Network) -> Network:
    """A copy of `network`, in evaluation mode, in which every set of depthwise branches is one convolution."""
    serving = copy.deepcopy(network)
    serving.eval()
    for layer in serving.sublayers(include_self=True):
        if isinstance(layer, RepDepthwiseSeparable):
            layer.fuse()
    return serving


def merged_branches(branches: nn.LayerList) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The one kernel (C, 1, k, k) and bias (C,) that answer as the sum of all `branches`; k is the first one's."""
    channels, _, size, _ = branches[0].conv.weight.shape
    kernel, bias = np.zeros((channels, 1, size, size)), np.zeros(channels)
    for branch in branches:
        weight = branch.conv.weight.numpy().astype(np.float64)  # (C, 1, k', k')
        bn = branch.bn
        gain = bn.weight.numpy().astype(np.float64) / np.sqrt(bn._variance.numpy().astype(np.float64) + bn._epsilon)
        margin = (size - weight.shape[-1]) // 2
        kernel += np.pad(weight * gain[:, None, None, None], ((0, 0), (0, 0), (margin, margin), (margin, margin)))
        bias += bn.bias.numpy() - bn._mean.numpy() * gain
    return kernel.astype(np.float32), bias.astype(np.float32)
