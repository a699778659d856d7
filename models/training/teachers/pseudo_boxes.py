"""Boxes for photos that nobody annotated: what another detector is sure of, taken as main bodies.

(Lee, "Pseudo-Label", ICML workshop 2013.) A photo of which the teacher is unsure is passed over: a body that it may have
missed would be learnt as background. A teacher that finds main bodies itself may be less strict: its guesses count by
their confidence, as in soft teachers (Xu et al., arXiv:2106.09018).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.boxes import clip, iou, suppress
from models.detector import Detector
from models.engines.openvino import import_openvino
from models.errors import ArtifactError
from models.nets.names import STRIDES
from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD, normalize, resize
from models.training.cells import boxes_of, cells_of, expected_distances
from models.training.teachers.teacher import Teacher

Array = NDArray[np.float32]
SURE, UNSURE = 0.45, 0.3  # a box above the first is an object; one between the two spoils the photo
SAME = 0.5  # IoU with a sure box, from which an unsure one is only another guess at it
# Classes of COCO, numbered from 0, that are no main bodies: people (hands, most often, in photos of products), and what
# objects stand on or in: benches, couches, beds, tables, ovens, sinks, refrigerators.
NOT_OBJECTS = (0, 13, 57, 59, 60, 69, 71, 72)
LEAST = 0.2  # a main-body detector's box below this is no guess worth a weight


@dataclass(frozen=True)
class PseudoBoxes:
    """Boxes (G, 4) in pixels and how much each counts (G,)."""

    boxes: Array
    weights: Array


PseudoBoxTeacher = Teacher[PseudoBoxes | None]  # of one photo (H, W, 3); None: leave it out


def open_box_teacher(path: Path, threads: int = 1) -> PseudoBoxTeacher:
    """A folder is a detector artifact or an official archive; a file is a raw PicoDet of COCO's classes.

    Raises ArtifactError, EngineError.
    """
    return DetectorTeacher(path, threads) if path.is_dir() else BoxTeacher(path, threads)


class DetectorTeacher:
    """A main-body detector: its boxes, each by its confidence; those it is unsure of neither objects nor background."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        self._detector = Detector(folder, threads=threads)

    def __call__(self, image: NDArray[np.uint8]) -> PseudoBoxes | None:
        """(H, W, 3) RGB -> what it guesses, or None where it is sure of nothing."""
        boxes, scores = self._detector.candidates(image)
        if not len(scores) or scores[0] < SURE:
            return None
        guessed = scores >= LEAST
        return PseudoBoxes(boxes[guessed], np.where(scores[guessed] < UNSURE, 0, scores[guessed]).astype(np.float32))


class BoxTeacher:
    """A PicoDet of 80 COCO classes with raw heads: scores (1, M, 80) and distances (1, M, 4K) of each level."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Raises ArtifactError for a file that is no such network."""
        ov = import_openvino()

        core = ov.Core()
        try:
            model = core.read_model(path)
            self._size_px = int(model.inputs[0].shape[2])
            self._run: Any = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": threads})
        except RuntimeError as error:
            raise ArtifactError(f"the teacher {path.name} can't be read") from error
        if len(model.outputs) != 2 * len(STRIDES):
            raise ArtifactError(
                f"the teacher {path.name} has {len(model.outputs)} outputs instead of {2 * len(STRIDES)}"
            )
        self._cells = cells_of(self._size_px, self._size_px, STRIDES)

    def __call__(self, image: NDArray[np.uint8]) -> PseudoBoxes | None:
        """(H, W, 3) RGB -> the main bodies, all sure, or None where the teacher finds none or is unsure."""
        boxes, scores = self.detect(image)
        sure, unsure = boxes[scores >= SURE], boxes[(scores >= UNSURE) & (scores < SURE)]
        if len(sure) == 0:
            return None
        if len(unsure) and (iou(unsure, sure).max(axis=1) < SAME).any():
            return None
        return PseudoBoxes(sure, np.ones(len(sure), np.float32))

    def detect(self, image: NDArray[np.uint8], floor: float = UNSURE) -> tuple[Array, Array]:
        """Boxes (D, 4) in pixels of the photo and scores (D,) from `floor` on, best first: all classes are one, but for NOT_OBJECTS."""
        side, (height, width) = self._size_px, image.shape[:2]
        outputs = self._run([normalize(resize(image, side, side, "cubic"), IMAGENET_MEAN, IMAGENET_STD)[None]])
        levels = len(STRIDES)
        probabilities = np.concatenate([outputs[level][0] for level in range(levels)])  # (M, 80)
        bins = np.concatenate([outputs[levels + level][0] for level in range(levels)])  # (M, 4K)
        kind, scores = probabilities.argmax(axis=1), probabilities.max(axis=1)
        able = np.flatnonzero((scores >= floor) & ~np.isin(kind, NOT_OBJECTS))
        boxes = clip(boxes_of(self._cells, expected_distances(bins))[able], side, side)
        kept = suppress(boxes, scores[able], 0.5)
        return boxes[kept] * np.array([width / side, height / side] * 2, np.float32), scores[able][kept]
