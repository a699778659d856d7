"""Begin with the official PicoDet of COCO: its exported ONNX put back into a trainable PicoDet-S on ESNet.

The 80 classes become one foreground: the mean of their rows, those of people and furniture left out.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from models.nets.names import STRIDES
from models.nets.picodet import PicoDet
from models.training.networks.exported_weights import Folded, put_back, read_convolutions, recompute_norms
from models.training.teachers.pseudo_boxes import NO_BODIES

Array = NDArray[np.float32]
CLASSES = 80
CSP = ("short_conv.conv", "main_conv.conv", "blocks.0.conv1.conv", "blocks.0.conv2.dwconv", "blocks.0.conv2.pwconv")
NECK = (
    *(f"conv_t.convs.{level}.conv" for level in range(3)),
    *(f"top_down_blocks.0.{name}" for name in (*CSP, "final_conv.conv")),
    *(f"top_down_blocks.1.{name}" for name in (*CSP, "final_conv.conv")),
    *("downsamples.0.dwconv", "downsamples.0.pwconv"),
    *(f"bottom_up_blocks.0.{name}" for name in (*CSP, "final_conv.conv")),
    *("downsamples.1.dwconv", "downsamples.1.pwconv"),
    *(f"bottom_up_blocks.1.{name}" for name in (*CSP, "final_conv.conv")),
    *("first_top_conv.dwconv", "first_top_conv.pwconv", "second_top_conv.dwconv", "second_top_conv.pwconv"),
)


def load_coco_weights(network: PicoDet, path: Path, pictures: Array) -> None:
    """Put the export's weights into `network`, a PicoDet-S on ESNet with one class or 80; `pictures` (N, 3, H, W) set the norms.

    With 80 classes the network answers like the export itself. Raises ArtifactError for a file of another network.
    """
    names, stored = convolution_names(network), read_convolutions(path)
    if len(names) == len(stored):
        heads = [number for number, name in enumerate(names) if name.startswith("head.head_cls")]
        stored = [merged(own, network.num_classes) if number in heads else own for number, own in enumerate(stored)]
    put_back(network, names, stored, path.name)
    recompute_norms(network, pictures)


def merged(head: Folded, classes: int) -> Folded:
    """The last convolution of a level, its 80 class rows made one."""
    if classes == CLASSES:
        return head
    things = ~np.isin(np.arange(CLASSES), NO_BODIES)
    weight, bias = (
        (part[:CLASSES][things].mean(axis=0, keepdims=True), part[CLASSES:]) for part in (head.weight, head.bias)
    )
    return Folded(np.concatenate(weight), np.concatenate(bias))


def convolution_names(network: PicoDet) -> list[str]:
    """The network's convolutions in the order of the export's graph: gates stand apart, where they are applied."""
    body = [name for name, layer in network.backbone.named_sublayers() if isinstance(layer, nn.Conv2D)]
    names = [f"backbone.{name}" for name in body] + [f"neck.{name}" for name in NECK]
    for level in range(len(STRIDES)):
        depth = len(getattr(network.head.conv_feat, f"cls_conv_dw{level}"))
        for part in range(depth):
            names += [f"head.conv_feat.cls_conv_{kind}{level}.{part}.conv" for kind in ("dw", "pw")]
        names.append(f"head.head_cls{level}")
    return names
