"""Classification networks by the names that they are published by."""

from collections.abc import Callable, Mapping
from functools import partial

from paddle import nn

from models.nets.lcnet import PPLCNet
from models.nets.lcnetv2 import DEPTHS_BASE, DEPTHS_LARGE, DEPTHS_SMALL, PPLCNetV2
from models.nets.names import SCALES, require_known
from models.nets.resnet_vd import ResNet50_vd

NETWORKS: Mapping[str, Callable[..., nn.Layer]] = {
    **{f"PPLCNet_x{scale}".replace(".", "_"): partial(PPLCNet, scale) for scale in SCALES},
    "PPLCNetV2_small": partial(PPLCNetV2, 0.75, DEPTHS_SMALL),
    "PPLCNetV2_base": partial(PPLCNetV2, 1.0, DEPTHS_BASE),
    "PPLCNetV2_large": partial(PPLCNetV2, 1.25, DEPTHS_LARGE),
    "ResNet50_vd": ResNet50_vd,
}


def build(name: str, class_num: int | None = 1000) -> nn.Layer:
    """The network `name`: (N, 3, H, W) -> (N, class_num) logits, or its features if `class_num` is None.

    Raises UnknownNetworkError, which suggests the names that come near.
    """
    require_known(name)
    return NETWORKS[name](class_num=class_num)
