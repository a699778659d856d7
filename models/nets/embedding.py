"""The embedders: a backbone and the neck that turns its features into an embedding, before normalisation.

V2 is PP-LCNetV2 in its ShiTu variant with a batch-norm neck (Luo et al., "Bag of Tricks", arXiv:1903.07071);
V1 is PP-LCNet x2.5 with a linear neck; `EmbedderLite` is EfficientNet-Lite with one. All give 512 dimensions; none divides by the norm, as the official exports.
"""

import paddle
from paddle import nn

from models.nets.colours import ColourHistogram
from models.nets.efficientnet_lite import FEATURES, EfficientNetLite
from models.nets.lcnet import PPLCNet
from models.nets.lcnetv2 import DEPTHS_BASE, PPLCNetV2
from models.nets.necks import BNNeck, FCNeck

COLOUR_SCALE = 10.0  # brings the histogram's small values to the size that a linear layer learns well from


class EmbedderV2(nn.Layer):
    """PP-ShiTuV2's embedder at any width. (N, 3, H, W) -> (N, embedding_size), not normalised.

    Width 1 with base depths and 512 is the official network. Call `lcnetv2.fused` before export.
    With `colours`, a linear map of a colour histogram is added to the features before the neck: a few thousand steps on
    a CPU train a narrow network on shapes, but colours less well than counting them does. With `whitened`, what is served
    ends in a linear map that `models.training.tasks.whitening` fits; training goes without it.
    """

    def __init__(
        self,
        width: float = 1.0,
        depths: tuple[int, ...] = DEPTHS_BASE,
        *,
        embedding_size: int = 512,
        dropout: float = 0.2,
        colours: bool = False,
        whitened: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = PPLCNetV2(
            width, depths, class_num=None, class_expand=embedding_size, dropout=dropout, use_shitu_last_stage=True
        )
        self.neck = BNNeck(embedding_size)
        self.colours = ColourHistogram() if colours else None
        if self.colours is not None:
            self.colour_fc = nn.Linear(self.colours.size, embedding_size, bias_attr=False)
        self.whitening = nn.Linear(embedding_size, embedding_size) if whitened else None
        if self.whitening is not None:
            self.whitening.weight.set_value(paddle.eye(embedding_size))
            for parameter in self.whitening.parameters():
                parameter.stop_gradient = True

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        features = self.backbone(x)
        if self.colours is not None:
            features = features + self.colour_fc(COLOUR_SCALE * self.colours(x))
        features = self.neck(features)
        return features if self.whitening is None or self.training else self.whitening(features)


class EmbedderV1(nn.Layer):
    """PP-ShiTuV1's embedder at any width. (N, 3, H, W) -> (N, embedding_size), not normalised."""

    def __init__(self, scale: float = 2.5, embedding_size: int = 512, dropout: float = 0.2) -> None:
        super().__init__()
        self.backbone = PPLCNet(scale, class_num=None, dropout=dropout)
        self.neck = FCNeck(1280, embedding_size)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.neck(self.backbone(x))


class EmbedderLite(nn.Layer):
    """EfficientNet-Lite with its batch norms folded, and a linear neck. (N, 3, H, W) -> (N, embedding_size), not normalised."""

    def __init__(self, kind: str = "lite0", embedding_size: int = 512) -> None:
        super().__init__()
        self.backbone = EfficientNetLite(kind, fused=True)
        self.neck = FCNeck(FEATURES, embedding_size)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.neck(self.backbone(x))
