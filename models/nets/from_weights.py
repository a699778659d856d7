"""Which network `.pdparams` weights are of, by the names and shapes that they hold; a file says nothing else of itself.

Known are what PaddleClas and PaddleDetection train for PP-ShiTu: PP-LCNet, PP-LCNetV2 and ResNet50_vd as classifiers, each of
them with a neck as an embedder (`RecModel`), and PicoDet on PP-LCNet.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from models.nets.lcnet import PPLCNet, scaled_channels
from models.nets.lcnetv2 import DEPTHS_BASE, DEPTHS_LARGE, DEPTHS_SMALL, PPLCNetV2
from models.nets.names import SCALES
from models.nets.necks import BNNeck, FCNeck
from models.nets.pdparams import ParameterError, put_arrays, read_pdparams
from models.nets.picodet import PicoDet
from models.nets.resnet_vd import ResNet50_vd

Arrays = Mapping[str, NDArray[np.generic]]
V2_WIDTHS = {0.75: ("small", DEPTHS_SMALL), 1.0: ("base", DEPTHS_BASE), 1.25: ("large", DEPTHS_LARGE)}
# PaddleDetection's earlier PicoDet, of which PP-ShiTu's archive was exported: its activation is no part of the weights.
EARLIER = {"neck_channels": 96, "neck_kernel": 3, "head_convs": 2}
SHOWN = 5  # names of a file that is of no network known here


class RecModel(nn.Layer):
    """Backbone and neck under PaddleClas' names. (N, 3, H, W) -> (N, D), not normalised."""

    def __init__(self, backbone: nn.Layer, neck: nn.Layer | None) -> None:
        super().__init__()
        self.backbone, self.neck = backbone, neck

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        features = self.backbone(x)
        return features if self.neck is None else self.neck(features)


@dataclass(frozen=True)
class Recognised:
    """A network with the weights in it, in evaluation mode. `size` is its embedding's, its classes', or a detector's `reg_max`."""

    task: str  # embed, classify, detect
    name: str  # as it is published
    network: nn.Layer
    size: int


def read_network(path: Path) -> Recognised:
    """The network that the weights in `path` are of. A RecModel's head, over its training set's classes, is left out.

    Raises ParameterError where they are of none that is known here, and one that names every odd parameter.
    """
    arrays = read_pdparams(path)
    if "head.head_cls0.weight" in arrays or any(name.startswith("neck.conv_t.") for name in arrays):
        found = _detector(arrays)
    elif any(name.startswith("backbone.") for name in arrays):
        found = _embedder(arrays)
    else:
        found = _classifier(arrays, path.name)
    put_arrays(
        found.network, arrays, f"{path.name} (by its names {found.name})", ("head.",) if found.task == "embed" else ()
    )
    found.network.eval()
    return found


def _classifier(arrays: Arrays, called: str) -> Recognised:
    last = arrays.get("fc.weight")
    if last is None or last.ndim != 2:
        few = ", ".join(list(arrays)[:SHOWN]) + (", ..." if len(arrays) > SHOWN else "")
        raise ParameterError(
            f"{called} is of no network known here: it holds no backbone and, as no classifier does, no fc.weight, but {few or 'nothing'}"
        )
    classes = int(last.shape[1])
    name, network = _backbone(arrays, classes)
    return Recognised("classify", name, network, classes)


def _embedder(arrays: Arrays) -> Recognised:
    inner = {name.removeprefix("backbone."): array for name, array in arrays.items() if name.startswith("backbone.")}
    if "fc.weight" in inner:
        raise ParameterError(
            "its embedding is the backbone's own last layer (backbone.fc), and whether Tanh follows is no part of the "
            "weights; export it there"
        )
    name, backbone = _backbone(inner, None)
    size = 2048 if name == "ResNet50_vd" else _length(inner, "last_conv.weight")
    linear, neck = arrays.get("neck.fc.weight"), None
    if linear is not None and linear.ndim == 2:
        size = int(linear.shape[1])
        neck = FCNeck(int(linear.shape[0]), size)
    elif "neck.feat_bn.weight" in arrays:
        neck = BNNeck(_length(arrays, "neck.feat_bn.weight"))
    kind = {FCNeck: ", FC neck", BNNeck: ", BNNeck"}.get(type(neck), "")
    return Recognised("embed", f"{name}{kind}", RecModel(backbone, neck), size)


def _backbone(arrays: Arrays, classes: int | None) -> tuple[str, nn.Layer]:
    """The network that has these parameters. Raises ParameterError."""
    if "blocks6.1.pw_conv.conv.weight" in arrays:
        scale = _scale(arrays, "blocks6.1.pw_conv.conv.weight")
        name = f"PPLCNet_x{scale}".replace(".", "_")
        return name, PPLCNet(scale, class_num=classes, class_expand=_length(arrays, "last_conv.weight"))
    if "stages.3.0.pw_conv.conv.weight" in arrays:
        wide = _length(arrays, "stages.3.0.pw_conv.conv.weight")
        width = next((one for one in V2_WIDTHS if scaled_channels(1024, one) == wide), wide / 1024)
        depths = tuple(
            len({name.split(".")[2] for name in arrays if name.startswith(f"stages.{i}.")}) for i in range(4)
        )
        shitu = "last_conv.bias" in arrays
        kind, usual = V2_WIDTHS.get(width, (f"x{width:g}", depths))
        name = f"PPLCNetV2_{kind}{'_ShiTu' if shitu else ''}" + (
            "" if depths == usual else f" of depths {list(depths)}"
        )
        expand = _length(arrays, "last_conv.weight")
        return name, PPLCNetV2(width, depths, class_num=classes, class_expand=expand, use_shitu_last_stage=shitu)
    if "stem.2.conv.weight" in arrays and "blocks.15.conv2.conv.weight" in arrays:
        return "ResNet50_vd", ResNet50_vd(class_num=classes)
    few = ", ".join(list(arrays)[:SHOWN])
    raise ParameterError(
        f"it is of no network known here (PP-LCNet, PP-LCNetV2, ResNet50_vd, PicoDet): it holds {few}, ..."
    )


def _detector(arrays: Arrays) -> Recognised:
    """Sizes are read from the weights; a detector of several classes is refused."""
    bins = _length(arrays, "head.distribution_project.project") if "head.distribution_project.project" in arrays else 8
    classes = _length(arrays, "head.head_cls0.weight") - 4 * bins
    if classes != 1:
        raise ParameterError(f"it is a detector of {classes} classes; here a detector has the one class of main bodies")
    if "backbone.blocks6.1.pw_conv.conv.weight" not in arrays:
        raise ParameterError("it is a PicoDet on another backbone than PP-LCNet")
    scale = _scale(arrays, "backbone.blocks6.1.pw_conv.conv.weight")
    sizes: dict[str, Any] = {
        "neck_channels": _length(arrays, "neck.conv_t.convs.0.conv.weight"),
        "neck_kernel": int(arrays["neck.first_top_conv.dwconv.weight"].shape[-1]),
        "head_convs": len({name.split(".")[3] for name in arrays if name.startswith("head.conv_feat.cls_conv_dw0.")}),
    }
    act = "leaky_relu" if sizes == EARLIER and scale == 2.5 else "hard_swish"
    network = PicoDet(scale, **sizes, reg_max=bins - 1, act=act)
    return Recognised("detect", f"PicoDet LCNet x{scale:g}, CSP-PAN {sizes['neck_channels']}", network, bins - 1)


def _scale(arrays: Arrays, last: str) -> float:
    wide = _length(arrays, last)
    return next((scale for scale in SCALES if scaled_channels(512, scale) == wide), wide / 512)


def _length(arrays: Arrays, name: str) -> int:
    """The first dimension of a parameter. Raises ParameterError where it is missing."""
    if name not in arrays or not arrays[name].ndim:
        raise ParameterError(f"the parameter {name} is missing")
    return int(arrays[name].shape[0])
