"""PPLCNetV2_base_ShiTu and EfficientNet-Lite in PyTorch, with the parameters' names of models.nets.

The tables are those of `models.nets.lcnetv2` and `models.nets.efficientnet_lite`, which need PaddlePaddle; a test holds the
answers of both to each other.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from numpy.typing import NDArray
from torch import Tensor, nn

FEATURES, DIMENSIONS = 1280, 512
# in_channels at width 1, kernel, two 1x1 convolutions, parallel branches, gates, shortcut, depth
LCNET_STAGES = (
    (64, 3, False, False, False, False, 2),
    (128, 3, False, False, False, False, 2),
    (256, 5, True, True, True, False, 6),
    (512, 5, False, True, False, True, 2),
)
# blocks, kernel, stride, expansion, channels
LITE_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
LITE_SCALES = {"lite0": (1.0, 1.0), "lite2": (1.1, 1.2)}  # width, depth
PADDLE_NAMES = {"running_mean": "_mean", "running_var": "_variance"}


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution with "same" padding and He initialisation."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ConvBN(nn.Module):
    """A convolution and its batch norm; ReLU with `act`."""

    def __init__(self, layer: nn.Conv2d, *, act: bool) -> None:
        super().__init__()
        self.conv, self.bn, self.act = layer, nn.BatchNorm2d(layer.out_channels), act

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        return F.relu(y, inplace=True) if self.act else y


class Gates(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels // 4, bias=True)
        self.conv2 = conv(channels // 4, channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.conv2(F.relu(self.conv1(x.mean((2, 3), keepdim=True)))))


class Block(nn.Module):
    """A depthwise filter (branches of several sizes that add up, where the stage says so) and one or two 1x1 convolutions."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, split: bool, branches: bool, gates: bool, add: bool
    ) -> None:
        super().__init__()
        self.adds = add and stride == 1 and inputs == outputs
        self.dw_conv: nn.Module
        self.dw_conv_list: nn.ModuleList | None = None
        if branches:
            sizes = [size for size in range(kernel, 0, -2) if size > 1 or stride == 1]
            self.dw_conv_list = nn.ModuleList(
                [ConvBN(conv(inputs, inputs, size, stride, inputs), act=False) for size in sizes]
            )
            self.dw_conv = conv(inputs, inputs, kernel, stride, inputs, bias=True)  # filled in when fused
            self.dw_conv.requires_grad_(False)
        else:
            self.dw_conv = ConvBN(conv(inputs, inputs, kernel, stride, inputs), act=True)
        self.se = Gates(inputs) if gates else None
        if split:
            self.pw_conv_1 = ConvBN(conv(inputs, outputs // 2), act=True)
            self.pw_conv_2 = ConvBN(conv(outputs // 2, outputs), act=True)
        else:
            self.pw_conv = ConvBN(conv(inputs, outputs), act=True)
        self.split = split

    def forward(self, x: Tensor) -> Tensor:
        if self.dw_conv_list is None:
            y = self.dw_conv(x)
        else:
            y = self.dw_conv_list[0](x)
            for branch in list(self.dw_conv_list)[1:]:
                y = y + branch(x)
            y = F.relu(y)
        if self.se is not None:
            y = self.se(y)
        y = self.pw_conv_2(self.pw_conv_1(y)) if self.split else self.pw_conv(y)
        return y + x if self.adds else y


class LCNet(nn.Module):
    """The backbone of PPLCNetV2_base_ShiTu: (N, 3, H, W) -> a map (N, 1024, H / 16, W / 16)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvBN(conv(3, 32, 3, 2), act=True), Block(32, 64, 3, 1, False, False, False, False))
        self.stages = nn.ModuleList()
        for inputs, kernel, split, branches, gates, add, depth in LCNET_STAGES:
            first = 1 if inputs == 512 else 2  # the ShiTu variant keeps the last stage's size
            shape = (kernel, split, branches, gates, add)
            blocks = [Block(inputs, 2 * inputs, shape[0], first, *shape[1:])]
            blocks += [Block(2 * inputs, 2 * inputs, shape[0], 1, *shape[1:]) for _ in range(depth - 1)]
            self.stages.append(nn.Sequential(*blocks))
        self.last_conv = conv(1024, DIMENSIONS, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x


class BNNeck(nn.Module):
    """Batch norm whose shift stays zero."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.feat_bn = nn.BatchNorm1d(size)
        self.feat_bn.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.feat_bn(x)


class EmbedderLCNet(nn.Module):
    """models.nets.embedding.EmbedderV2 of width 1: (N, 3, H, W) -> (N, 512), not normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.neck = LCNet(), BNNeck(DIMENSIONS)

    def pool(self, maps: Tensor) -> Tensor:
        """The embeddings of what the backbone gives."""
        return self.neck(self.backbone.last_conv(maps.mean((2, 3), keepdim=True)).flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.backbone(x))


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "SAME": where the margin is odd, the larger part is below and right."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups)
        self.strides = stride > 1

    def forward(self, x: Tensor) -> Tensor:
        if not self.strides:
            return super().forward(x)
        margins: list[int] = []  # left, right, above, below
        for side in (x.shape[3], x.shape[2]):
            both = max((math.ceil(side / self.stride[0]) - 1) * self.stride[0] + self.kernel_size[0] - side, 0)
            margins += [both // 2, both - both // 2]
        return super().forward(F.pad(x, margins))


class MBConv(nn.Module):
    """Widen, filter each channel, narrow; batch norms are folded into the convolutions."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.adds, self.expands = stride == 1 and inputs == outputs, expansion != 1
        if self.expands:
            self._expand_conv = SameConv(inputs, wide)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, wide)
        self._project_conv = SameConv(wide, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._expand_conv(x), inplace=True) if self.expands else x
        y = self._project_conv(F.relu6(self._depthwise_conv(y), inplace=True))
        return x + y if self.adds else y


class Lite(nn.Module):
    """EfficientNet-Lite without its classifier: (N, 3, H, W) -> a map (N, 1280, H / 32, W / 32)."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        width, depth = LITE_SCALES[kind]
        self._conv_stem = SameConv(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        channels = 32
        for number, (count, kernel, stride, expansion, wanted) in enumerate(LITE_STAGES):
            ends = number in (0, len(LITE_STAGES) - 1)
            outputs = _rounded(wanted * width)
            for block in range(count if ends else math.ceil(count * depth)):
                blocks.append(MBConv(channels, outputs, kernel, stride if block == 0 else 1, expansion))
                channels = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SameConv(channels, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self._conv_stem(x), inplace=True)
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._conv_head(x), inplace=True)


class FCNeck(nn.Module):
    """One linear layer."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inputs, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x)


class EmbedderLite(nn.Module):
    """models.nets.embedding.EmbedderLite: (N, 3, H, W) -> (N, 512), not normalised."""

    def __init__(self, kind: str = "lite0") -> None:
        super().__init__()
        self.backbone, self.neck = Lite(kind), FCNeck(FEATURES, DIMENSIONS)

    def pool(self, maps: Tensor) -> Tensor:
        """The embeddings of what the backbone gives."""
        return self.neck(maps.mean((2, 3)))

    def places(self, maps: Tensor) -> Tensor:
        """An embedding of each place of the map, (N, 512, h, w): their mean is `pool`, for both are linear."""
        return F.conv2d(maps, self.neck.fc.weight[..., None, None], self.neck.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.backbone(x))


def to_arrays(network: nn.Module) -> dict[str, NDArray[np.float32]]:
    """The weights under Paddle's names and in its layout: a linear layer's are (in, out) there."""
    arrays = {}
    linear = _linear(network)
    for name, tensor in network.state_dict().items():
        if not name.endswith(".num_batches_tracked"):
            layer, _, own = name.rpartition(".")
            array = tensor.detach().float().cpu().numpy()
            arrays[f"{layer}.{PADDLE_NAMES.get(own, own)}"] = array.T.copy() if name in linear else array
    return arrays


def load_arrays(network: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """The other way round. Raises ValueError where names or shapes are another network's."""
    linear = _linear(network)
    named = {}
    for name, tensor in network.state_dict().items():
        if name.endswith(".num_batches_tracked"):
            continue
        layer, _, own = name.rpartition(".")
        found = arrays.get(f"{layer}.{PADDLE_NAMES.get(own, own)}")
        if found is not None and name in linear:
            found = found.T
        if found is None or tuple(found.shape) != tuple(tensor.shape):
            raise ValueError(f"the weights are another network's; they differ in {name!r}")
        named[name] = torch.from_numpy(np.ascontiguousarray(found, np.float32))
    if len(named) != len(arrays):
        raise ValueError("the weights are another network's; they hold more than it has")
    network.load_state_dict(named, strict=False)


def _linear(network: nn.Module) -> set[str]:
    return {f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}


def _rounded(exact: float) -> int:
    """To a multiple of 8, never more than a tenth below."""
    rounded = max(8, int(exact + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * exact else rounded + 8
