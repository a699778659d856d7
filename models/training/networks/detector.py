"""The recipe's detector as a network: built, filled with known weights, and run like the served one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray

from models.artifacts.manifest import DetectionOutput, Head
from models.boxes import suppress
from models.detector import KEPT, SUPPRESSION_IOU, decode_heads
from models.engines.program import STEMS
from models.errors import ArtifactError
from models.evaluation.detection_metrics import Detections
from models.nets.names import STRIDES
from models.nets.pdparams import ParameterError, load_pdparams
from models.nets.picodet import PicoDet, ServedPicoDet
from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD, normalize, resize
from models.training.data.detection_sources import rendered_pictures
from models.training.data.detection_views import to_square
from models.training.engine.checkpoint import fill
from models.training.engine.inputs import square_input
from models.training.engine.optimizers import adamw, momentum
from models.training.engine.served import as_served
from models.training.networks.coco_weights import load_coco_weights
from models.training.networks.exported_weights import load_exported
from models.training.recipes.detector import DetectorOptimizer, DetectorRecipe

# What a classifier has after the backbone that a detector takes from it.
TAIL = ("last_conv.", "fc.")
# Scenes for the batch-norm statistics of an export's folded weights; none of them is trained on or measured with.
BN_SEED, BN_SCENES, BN_PX = 3_000_000, 12, 256


def build_detector(recipe: DetectorRecipe) -> PicoDet:
    """The network of the recipe's `[network]` table, freshly initialised."""
    sizes = recipe.network
    return PicoDet(
        sizes.scale,
        neck_channels=sizes.neck_channels,
        neck_kernel=sizes.neck_kernel,
        head_convs=sizes.head_convs,
        reg_max=sizes.reg_max,
        act=sizes.act,
        backbone=sizes.body,
    )


def load_weights(network: PicoDet, path: Path) -> None:
    """Put weights into a network of the same sizes: a run's `best.npz`, official `.pdparams`, or an artifact's (a folder with ONNX).

    Raises ArtifactError for any other.
    """
    if path.is_dir():
        load_exported(network, path / f"{STEMS['fp32']}.onnx", bn_pictures())
    elif path.suffix == ".pdparams":
        try:
            load_pdparams(network, path)
        except ParameterError as error:
            raise ArtifactError(str(error)) from error
    else:
        fill(network, path, "detector")


def load_backbone(network: PicoDet, path: Path) -> None:
    """Begin with an official PP-LCNet's backbone, of a classifier of the same scale, or (.onnx) with a whole PicoDet of COCO.

    Raises ArtifactError.
    """
    if path.suffix == ".onnx":
        load_coco_weights(network, path, bn_pictures())
        return
    try:
        load_pdparams(network.backbone, path, TAIL)
    except (ParameterError, OSError) as error:
        raise ArtifactError(f"the backbone's weights can't be taken: {error}") from error


def bn_pictures() -> NDArray[np.float32]:
    """(N, 3, H, W) scenes, as the network takes them, for the batch norms of exported weights."""
    pictures = rendered_pictures(BN_SEED, BN_SCENES, BN_PX)
    return as_input(np.stack([to_square(picture, BN_PX).image for picture in pictures])).numpy()


def make_optimizer(network: PicoDet, table: DetectorOptimizer) -> paddle.optimizer.Optimizer:
    """AdamW, which decays neither biases nor batch norms; or SGD with momentum and L2 on all, as the official recipe."""
    if table.kind == "momentum":
        return momentum(network, table.learning_rate, table.weight_decay, table.clip_norm, table.momentum)
    return adamw(network, table.learning_rate, table.weight_decay, table.clip_norm)


def detect_with(
    detector: PicoDet, size_px: int, pictures: int = 0, threads: int = 1
) -> Callable[[NDArray[np.uint8]], Detections]:
    """A detector as a plain function: an RGB photo to boxes (D, 4) in its pixels and scores (D,), best first.

    What comes after the network is the serving code's own. For many `pictures`, the network answers through
    a program: see `as_served`.
    """
    names = [f"{kind}{stride}" for stride in STRIDES for kind in ("scores", "distances")]
    heads = tuple(Head(f"scores{stride}", f"distances{stride}", stride) for stride in STRIDES)
    form = DetectionOutput(heads, len(detector.head.distribution_project.project) - 1)
    given = square_input("image", size_px, "cubic")
    answer = as_served(ServedPicoDet(detector), given, pictures, threads, batched=False)

    def detect(image: NDArray[np.uint8]) -> Detections:
        pixels = normalize(resize(image, size_px, size_px, given.interpolation), given.mean, given.std)
        boxes, scores = decode_heads(dict(zip(names, answer(pixels[None]), strict=True)), form, size_px, size_px)
        kept = suppress(boxes, scores, SUPPRESSION_IOU)[:KEPT]
        height, width = image.shape[:2]
        return boxes[kept] * np.array([width, height] * 2, np.float32) / np.float32(size_px), scores[kept]

    return detect


def as_input(images: NDArray[np.uint8]) -> paddle.Tensor:
    """(N, H, W, 3) RGB -> (N, 3, H, W) as the network takes it."""
    return paddle.to_tensor(np.stack([normalize(image, IMAGENET_MEAN, IMAGENET_STD) for image in images]))
