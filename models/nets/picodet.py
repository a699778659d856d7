"""PicoDet: an anchor-free detector for CPUs (Yu et al., "PP-PicoDet", arXiv:2111.00902), on a PP-LCNet backbone.

Three feature maps pass through CSP-PAN (top-down, then bottom-up, cross-stage-partial blocks) and become four levels at
strides 8, 16, 32 and 64. A head a level gives, for every cell, a class logit and four distances, each as a distribution
over `reg_max + 1` bins (Li et al., "Generalized Focal Loss", arXiv:2006.04388).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import paddle
from paddle import nn

from models.nets.esnet import ESNet
from models.nets.lcnet import ConvBNAct, DepthwiseConv, LCNetStages, conv
from models.nets.names import STRIDES


class LeakyReLU(nn.Layer):
    """max(x, x / 100). Written so because the converter to ONNX gets Paddle's own operator wrong."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.maximum(x, 0.01 * x)


BACKBONES: dict[str, type[LCNetStages] | type[ESNet]] = {"lcnet": LCNetStages, "esnet": ESNet}
ACTIVATIONS = {"hard_swish": nn.Hardswish, "leaky_relu": LeakyReLU}


class LevelOutput(NamedTuple):
    """The head's output for one level of H x W cells."""

    class_logits: paddle.Tensor  # (N, num_classes, H, W)
    distance_logits: paddle.Tensor  # (N, 4 * (reg_max + 1), H, W): left, top, right, bottom, each its bins


def upsample_x2(x: paddle.Tensor) -> paddle.Tensor:
    """Nearest-neighbour (N, C, H, W) -> (N, C, 2H, 2W), for H and W known beforehand.

    Every element is followed by its copy, then every row by its own. Converters and oneDNN reject the interpolation
    operator's double-precision scale; joining and reshaping they all know.
    """
    _, channels, height, width = x.shape
    column = x.reshape([-1, channels, height * width, 1])
    wide = paddle.concat([column, column], axis=3).reshape([-1, channels, height, 2 * width])
    return paddle.concat([wide, wide], axis=3).reshape([-1, channels, 2 * height, 2 * width])


class DepthwiseSeparable(nn.Layer):
    """Depthwise filter and 1x1 convolution, batch norm and activation after both (the neck's names for them)."""

    def __init__(self, channels: int, kernel: int, act: str, stride: int = 1) -> None:
        super().__init__()
        self.dwconv = DepthwiseConv(channels, kernel, stride)
        self.bn1 = nn.BatchNorm2D(channels)
        self.pwconv = conv(channels, channels)
        self.bn2 = nn.BatchNorm2D(channels)
        self.act = ACTIVATIONS[act]()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.act(self.bn2(self.pwconv(self.act(self.bn1(self.dwconv(x))))))


class Bottleneck(nn.Layer):
    """1x1 convolution, then a depthwise-separable one; no identity branch."""

    def __init__(self, channels: int, kernel: int, act: str) -> None:
        super().__init__()
        self.conv1 = ConvBNAct(conv(channels, channels), channels, ACTIVATIONS[act]())
        self.conv2 = DepthwiseSeparable(channels, kernel, act)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.conv2(self.conv1(x))


class CSPLayer(nn.Layer):
    """Cross-stage-partial block: half the channels through the bottleneck, half past it. (N, 2C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int, kernel: int, act: str) -> None:
        super().__init__()
        half = channels // 2
        self.main_conv = ConvBNAct(conv(2 * channels, half), half, ACTIVATIONS[act]())
        self.short_conv = ConvBNAct(conv(2 * channels, half), half, ACTIVATIONS[act]())
        self.final_conv = ConvBNAct(conv(2 * half, channels), channels, ACTIVATIONS[act]())
        self.blocks = nn.Sequential(Bottleneck(half, kernel, act))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        short = self.short_conv(x)
        main = self.blocks(self.main_conv(x))
        return self.final_conv(paddle.concat([main, short], axis=1))


class ChannelTransform(nn.Layer):
    """One 1x1 convolution a feature map, so that all have the neck's channels."""

    def __init__(self, in_channels: Sequence[int], channels: int, act: str) -> None:
        super().__init__()
        self.convs = nn.LayerList(
            [ConvBNAct(conv(width, channels), channels, ACTIVATIONS[act]()) for width in in_channels]
        )

    def forward(self, maps: Sequence[paddle.Tensor]) -> list[paddle.Tensor]:
        # By position: the conversion to a static graph knows no zip(strict=True).
        return [self.convs[i](maps[i]) for i in range(len(self.convs))]


class CSPPAN(nn.Layer):
    """The neck: maps at strides 8, 16, 32 -> levels at strides 8, 16, 32, 64, all of `channels`."""

    def __init__(self, in_channels: Sequence[int], channels: int, kernel: int, act: str) -> None:
        super().__init__()
        self.conv_t = ChannelTransform(in_channels, channels, act)
        self.first_top_conv = DepthwiseSeparable(channels, kernel, act, stride=2)
        self.second_top_conv = DepthwiseSeparable(channels, kernel, act, stride=2)
        self.top_down_blocks = nn.LayerList([CSPLayer(channels, kernel, act) for _ in range(2)])
        self.downsamples = nn.LayerList([DepthwiseSeparable(channels, kernel, act, stride=2) for _ in range(2)])
        self.bottom_up_blocks = nn.LayerList([CSPLayer(channels, kernel, act) for _ in range(2)])

    def forward(self, maps: Sequence[paddle.Tensor]) -> tuple[paddle.Tensor, ...]:
        c3, c4, c5 = self.conv_t(maps)
        top = self.first_top_conv(c5)
        p4 = self.top_down_blocks[0](paddle.concat([upsample_x2(c5), c4], axis=1))
        p3 = self.top_down_blocks[1](paddle.concat([upsample_x2(p4), c3], axis=1))
        n4 = self.bottom_up_blocks[0](paddle.concat([self.downsamples[0](p3), p4], axis=1))
        n5 = self.bottom_up_blocks[1](paddle.concat([self.downsamples[1](n4), c5], axis=1))
        return p3, n4, n5, top + self.second_top_conv(n5)


class ConvNorm(nn.Layer):
    """A convolution and its batch norm (the head's names for them)."""

    def __init__(self, convolution: nn.Conv2D, channels: int) -> None:
        super().__init__()
        self.conv = convolution
        self.norm = nn.BatchNorm2D(channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.norm(self.conv(x))


class PicoFeat(nn.Layer):
    """The head's depthwise-separable convolutions, `depth` for each level, shared by classes and distances."""

    def __init__(self, channels: int, depth: int, act: str) -> None:
        super().__init__()
        for level in range(len(STRIDES)):
            depthwise = [ConvNorm(DepthwiseConv(channels, 5), channels) for _ in range(depth)]
            pointwise = [ConvNorm(conv(channels, channels), channels) for _ in range(depth)]
            setattr(self, f"cls_conv_dw{level}", nn.LayerList(depthwise))
            setattr(self, f"cls_conv_pw{level}", nn.LayerList(pointwise))
        self.act = ACTIVATIONS[act]()

    def forward(self, x: paddle.Tensor, level: int) -> paddle.Tensor:
        depthwise, pointwise = getattr(self, f"cls_conv_dw{level}"), getattr(self, f"cls_conv_pw{level}")
        for i in range(len(depthwise)):
            x = self.act(pointwise[i](self.act(depthwise[i](x))))
        return x


class ScaleReg(nn.Layer):
    """A factor of the official weights that heads with shared convolutions do not use; here for its name alone."""

    def __init__(self) -> None:
        super().__init__()
        self.scale_reg = self.create_parameter([1], default_initializer=nn.initializer.Constant(1.0))
        self.scale_reg.stop_gradient = True


class Projection(nn.Layer):
    """The distances that the bins encode, in strides: 0, 1 ... reg_max. A distance is the expectation over them."""

    def __init__(self, reg_max: int) -> None:
        super().__init__()
        self.register_buffer("project", paddle.arange(reg_max + 1, dtype="float32"))

    def forward(self, distance_logits: paddle.Tensor) -> paddle.Tensor:
        """(M, 4 * (reg_max + 1)) -> (M, 4) distances in strides."""
        bins = distance_logits.reshape([-1, 4, self.project.shape[0]])
        return paddle.nn.functional.softmax(bins, axis=-1).matmul(self.project)


class PicoHead(nn.Layer):
    """Levels -> class and distance logits of every cell, level by level."""

    def __init__(self, channels: int, depth: int, num_classes: int, reg_max: int, act: str) -> None:
        super().__init__()
        self.splits = [num_classes, 4 * (reg_max + 1)]
        self.conv_feat = PicoFeat(channels, depth, act)
        # Rare foreground: every cell starts at a probability of 0.01 (Lin et al., "Focal Loss", arXiv:1708.02002).
        prior = nn.initializer.Constant(-math.log((1 - 0.01) / 0.01))
        for level in range(len(STRIDES)):
            head = nn.Conv2D(
                channels,
                sum(self.splits),
                1,
                weight_attr=paddle.ParamAttr(initializer=nn.initializer.Normal(std=0.01)),
                bias_attr=paddle.ParamAttr(initializer=prior),
            )
            setattr(self, f"head_cls{level}", head)
            setattr(self, f"p{level + 3}_feat", ScaleReg())
        self.distribution_project = Projection(reg_max)

    def forward(self, levels: Sequence[paddle.Tensor]) -> tuple[LevelOutput, ...]:
        outputs = []
        for level, x in enumerate(levels):
            logits = getattr(self, f"head_cls{level}")(self.conv_feat(x, level))
            outputs.append(LevelOutput(*paddle.split(logits, self.splits, axis=1)))
        return tuple(outputs)


class PicoDet(nn.Layer):
    """The main-body detector. (N, 3, H, W), H and W multiples of 64 -> one `LevelOutput` for each of STRIDES, logits.

    `backbone` is one of BACKBONES: PP-LCNet, or ESNet as in the official detectors of COCO.
    The defaults are the official training weights' network (scale 2.5, 7.09 M parameters). The official export is an
    earlier, smaller one: `neck_channels=96, neck_kernel=3, head_convs=2, act="leaky_relu"` (6.63 M).
    """

    def __init__(
        self,
        scale: float = 2.5,
        *,
        neck_channels: int = 128,
        neck_kernel: int = 5,
        head_convs: int = 4,
        num_classes: int = 1,
        reg_max: int = 7,
        act: str = "hard_swish",
        backbone: str = "lcnet",
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.reg_max = reg_max
        self.backbone = BACKBONES[backbone](scale)
        self.neck = CSPPAN(self.backbone.out_channels, neck_channels, neck_kernel, act)
        self.head = PicoHead(neck_channels, head_convs, num_classes, reg_max, act)

    def forward(self, x: paddle.Tensor) -> tuple[LevelOutput, ...]:
        return self.head(self.neck(self.backbone(x)))


class ServedPicoDet(nn.Layer):
    """What is exported: the detector with its sigmoid, flat outputs, decoding left to the server.

    (N, 3, H, W) -> scores, distances of stride 8, then of 16, 32 and 64: scores (N, num_classes, H', W') in 0..1,
    distances (N, 4 * (reg_max + 1), H', W') raw bins.
    """

    def __init__(self, detector: PicoDet) -> None:
        super().__init__()
        self.detector = detector
        self.eval()

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, ...]:
        outputs: list[paddle.Tensor] = []
        for level in self.detector(x):
            outputs += [nn.functional.sigmoid(level.class_logits), level.distance_logits]
        return tuple(outputs)
