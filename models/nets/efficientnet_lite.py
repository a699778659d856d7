"""EfficientNet-Lite: inverted residual blocks with ReLU6 and no squeeze-and-excitation, made for plain CPUs.

Tan and Le, "EfficientNet" (arXiv:1905.11946), scaled by width and depth, in the Lite variant of TensorFlow's TPU models:
the stem, the head and the number of blocks in the first and last stage are not scaled. Parameters bear the names of the
published PyTorch weights, which `models.nets.torch_file` reads.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from numpy.typing import NDArray
from paddle import nn

from models.nets.lcnet import scaled_channels
from models.nets.pdparams import ParameterError

STEM_CHANNELS, FEATURES = 32, 1280
EPSILON = 1e-3  # of every batch norm
CLASSIFIER, COUNTERS = "_fc.", ".num_batches_tracked"  # what the published files hold besides
STATISTICS = {"running_mean": "_mean", "running_var": "_variance"}  # PyTorch's names of them -> Paddle's


class Stage(NamedTuple):
    """Blocks of one kind in a row; the first one has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
SCALES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}  # width, depth
SIZES_PX = {"lite0": 224, "lite1": 240, "lite2": 260}  # what the published weights were trained at


class SameConv(nn.Conv2D):
    """A convolution padded as TensorFlow's "SAME": where the margin is odd, the larger part is below and right."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1, *, bias: bool
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=kernel // 2 if stride == 1 else 0,  # what a stride needs depends on the input
            groups=groups,
            weight_attr=paddle.ParamAttr(initializer=nn.initializer.KaimingNormal()),
            bias_attr=None if bias else False,
        )
        self.kernel, self.stride = kernel, stride


def convolve(x: paddle.Tensor, layer: SameConv) -> paddle.Tensor:
    """`layer` of `x` (N, C, H, W), whose sides shrink by the stride, rounded up."""
    if layer.stride == 1:
        return layer(x)
    margins = []  # above, below, left, right
    for side in x.shape[2:]:
        both = max((math.ceil(side / layer.stride) - 1) * layer.stride + layer.kernel - side, 0)
        margins += [both // 2, both - both // 2]
    if paddle.in_dynamic_mode():  # the layer may have its own kernels for training
        return layer(F.pad(x, margins[2:] + margins[:2]))
    # Traced for export: OpenVINO leaves memory unset after Paddle's padding, which it sees in five dimensions.
    return F.conv2d(x, layer.weight, layer.bias, layer.stride, margins, groups=layer._groups)


class MBConv(nn.Layer):
    """Widen by a 1x1 convolution, filter each channel, narrow again; the input is added where the shape allows."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int, *, fused: bool
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expands = expansion != 1
        self.residual = stride == 1 and in_channels == out_channels
        if self.expands:
            self._expand_conv = SameConv(in_channels, wide, bias=fused)
            self._bn0 = _norm(wide, fused=fused)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide, bias=fused)
        self._bn1 = _norm(wide, fused=fused)
        self._project_conv = SameConv(wide, out_channels, bias=fused)
        self._bn2 = _norm(out_channels, fused=fused)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        y = F.relu6(self._bn0(convolve(x, self._expand_conv))) if self.expands else x
        y = F.relu6(self._bn1(convolve(y, self._depthwise_conv)))
        y = self._bn2(convolve(y, self._project_conv))
        return x + y if self.residual else y


class EfficientNetLite(nn.Layer):
    """The pooled features of EfficientNet-Lite, without its classifier. (N, 3, H, W) -> (N, 1280).

    `kind` is "lite0", "lite1" or "lite2". Pixels are normalised by ImageNet's mean and deviation; any input size works.
    `fused`: the batch norms are folded into the convolutions. That network is faster and can be trained on as well; it
    is one whose norms are frozen.
    """

    def __init__(self, kind: str = "lite0", *, fused: bool = False) -> None:
        super().__init__()
        width, depth = SCALES[kind]
        self._conv_stem = SameConv(3, STEM_CHANNELS, 3, 2, bias=fused)
        self._bn0 = _norm(STEM_CHANNELS, fused=fused)
        blocks, channels = [], STEM_CHANNELS
        for number, stage in enumerate(STAGES):
            ends = number in (0, len(STAGES) - 1)
            out_channels = scaled_channels(stage.channels, width)
            for block in range(stage.blocks if ends else math.ceil(stage.blocks * depth)):
                stride = stage.stride if block == 0 else 1
                blocks.append(MBConv(channels, out_channels, stage.kernel, stride, stage.expansion, fused=fused))
                channels = out_channels
        self._blocks = nn.LayerList(blocks)
        self._conv_head = SameConv(channels, FEATURES, bias=fused)
        self._bn1 = _norm(FEATURES, fused=fused)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = F.relu6(self._bn0(convolve(x, self._conv_stem)))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(convolve(x, self._conv_head)))
        pooled: paddle.Tensor = F.adaptive_avg_pool2d(x, 1).flatten(
            1
        )  # a mean over axes makes Paddle print to standard output
        return pooled


def load_pretrained(network: EfficientNetLite, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put published weights, by their names, into `network`, fused or not; the classifier's are passed over.

    Raises ParameterError, and changes nothing, where names or shapes are another network's.
    """
    found = paddle_names(arrays)
    own = network.state_dict()
    if not any(name.endswith("._mean") for name in own):
        found = fold_norms(found)
    odd = sorted(set(own) ^ set(found)) or [n for n, t in own.items() if tuple(t.shape) != found[n].shape]
    if odd:
        raise ParameterError(f"the weights are another network's; they differ in {odd[0]!r}")
    for name, tensor in own.items():
        tensor.set_value(found[name].astype(np.float32))


def paddle_names(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The published arrays under Paddle's names, without the classifier's and the counters."""
    used = {n: a for n, a in arrays.items() if not n.startswith(CLASSIFIER) and not n.endswith(COUNTERS)}
    parts = {name: name.rpartition(".") for name in used}
    return {f"{layer}.{STATISTICS.get(own, own)}": used[name] for name, (layer, _, own) in parts.items()}


def fold_norms(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    """The weights of the fused network from those of the other one, both under Paddle's names.

    A norm of a convolution's output is a factor and an offset a channel: those go into its kernel and a bias.
    """
    folded: dict[str, NDArray[np.float32]] = {}
    for norm in [name.removesuffix("._mean") for name in arrays if name.endswith("._mean")]:
        conv = norm_to_conv(norm)
        values = {
            part: arrays[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "_mean", "_variance")
        }
        gain = values["weight"] / np.sqrt(values["_variance"] + EPSILON)
        kernel = arrays[f"{conv}.weight"].astype(np.float64) * gain[:, None, None, None]
        folded[f"{conv}.weight"] = kernel.astype(np.float32)
        folded[f"{conv}.bias"] = (values["bias"] - values["_mean"] * gain).astype(np.float32)
    return folded


def norm_to_conv(norm: str) -> str:
    """The name of the convolution that a batch norm follows. Raises ParameterError."""
    block, _, own = norm.rpartition(".")
    convs = ("_expand_conv", "_depthwise_conv", "_project_conv") if block else ("_conv_stem", "_conv_head")
    if not own.removeprefix("_bn").isdigit() or int(own[-1]) >= len(convs):
        raise ParameterError(f"{norm!r} is no batch norm of this network")
    return f"{block}.{convs[int(own[-1])]}" if block else convs[int(own[-1])]


def _norm(channels: int, *, fused: bool) -> nn.Layer:
    return nn.Identity() if fused else nn.BatchNorm2D(channels, epsilon=EPSILON)
