"""Soft colour histograms as a layer: what packages differ by, and what a small network learns last.

Each pixel is shared out among colour centres by a softmax over its distances to them, a 1x1 convolution at heart
(the soft assignment of Arandjelovic et al., "NetVLAD", arXiv:1511.07247), and the weights are averaged over horizontal
bands. It starts as a histogram of hue, saturation and value, and the centres learn on from there.
"""

import colorsys

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from numpy.typing import NDArray
from paddle import nn

from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD

HUES, SATURATIONS, VALUES, GREYS = 12, (0.25, 0.5, 0.75, 1.0), (0.2, 0.45, 0.7, 1.0), 8
BANDS = 4
SHARPNESS = 20.0  # of the softmax, for colours as the network sees them: minus the mean, by the deviation
POOL = 4  # pixels averaged before they are counted, each way


def colour_centres() -> NDArray[np.float32]:
    """(200, 3) RGB in 0..1: a grid of hue, saturation and value, and greys."""
    hues = (np.arange(HUES) + 0.5) / HUES
    colours = [colorsys.hsv_to_rgb(hue, s, v) for hue in hues for s in SATURATIONS for v in VALUES]
    greys = [(grey, grey, grey) for grey in np.linspace(0.0, 1.0, GREYS)]
    return np.array(colours + greys, np.float32)


class ColourHistogram(nn.Layer):
    """(N, 3, H, W) normalised pictures -> (N, `size`): square roots of the fractions of each colour, band by band.

    H must be a multiple of 16, W of 4. Square roots make the dot product the Hellinger kernel.
    """

    def __init__(self) -> None:
        super().__init__()
        mean, std = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_STD, np.float32)
        centres = (colour_centres() - mean) / std
        self.size = BANDS * len(centres)
        self.pool = nn.AvgPool2D(POOL)
        self.assign = nn.Conv2D(3, len(centres), 1)
        # -sharpness * |x - c|^2, without the part that is the same for every centre.
        self.assign.weight.set_value(2 * SHARPNESS * centres[:, :, None, None])
        self.assign.bias.set_value(-SHARPNESS * (centres**2).sum(axis=1))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        assignments = F.softmax(self.assign(self.pool(x)), axis=1)  # (N, centres, H/2, W/2)
        _, centres, height, width = assignments.shape
        bands = assignments.reshape([-1, centres, BANDS, height // BANDS * width]).mean(axis=-1)
        return paddle.sqrt(bands + 1e-4).flatten(start_axis=1)
