"""The procedure of PaddleClas' deploy/python/predict_system.py, written down again to stand next to ours.

Paddle Inference with oneDNN runs the whole official graphs: the detector with its suppression, and the embedder for one
crop a call. Pictures are normalised by numpy in float32, as its `preprocess.py` and `det_preprocess.py` do. `return_k` is
searched and the nearest one counts; its label is the second word of its line; results are suppressed by the +1 convention.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from models.artifacts.folders import load_manifest
from models.artifacts.manifest import DetectionOutput
from models.boxes import suppress
from models.detector import KEPT, SUPPRESSION_IOU, decode_heads
from models.engines.loader import FORMATS, load_program
from models.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from models.engines.program import Program

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
DETECTOR_SIDE, EMBEDDER_SIDE = 640, 224  # of the official graphs
STAGES = ("decode", "detect", "embed", "search")
ROW = 6  # class, score, x1, y1, x2, y2
BOTH_CORNERS = 1.0  # belong to a box, as they count overlaps

Box = tuple[int, int, int, int]


@dataclass
class Reference:
    """The pipeline; `threshold` and `detections` choose the boxes, to which the whole photo is added.

    `heads` are those of a detector that ends before suppression, as ours do; None: of an official one. Without a detector
    the whole photo is all. `lines` are those of `id_map.pkl`.
    """

    detector: Program | None
    embedder: Program
    index: Any
    threshold: float
    detections: int
    sides: tuple[int, int] = (DETECTOR_SIDE, EMBEDDER_SIDE)
    heads: DetectionOutput | None = None
    lines: Mapping[int, str] = field(default_factory=dict)
    score_thres: float = 0.5
    rec_nms_thresold: float = 0.05
    return_k: int = 1
    interpolation: int = cv2.INTER_LINEAR  # of crops
    photo_interpolation: int = cv2.INTER_CUBIC

    def __call__(self, image_bytes: bytes) -> tuple[list[Any], dict[str, float]]:
        """What is nearest to each box, and each stage's milliseconds. Raises ImageError."""
        found, _, laps = self._searched(image_bytes)
        return found, laps

    def predict(self, image_bytes: bytes) -> list[dict[str, Any]]:
        """Their answers, best first: `bbox`, `rec_docs`, `rec_scores`. Raises ImageError."""
        found, boxes, _ = self._searched(image_bytes)
        results = []
        for (scores, ids), box in zip(found, boxes, strict=True):
            if ids[0][0] < 0 or scores[0][0] < self.score_thres:
                continue
            words = self.lines[int(ids[0][0])].split()
            label = words[1] if len(words) > 1 else ""  # theirs ends with an error there
            results.append({"bbox": list(box), "rec_docs": label, "rec_scores": float(scores[0][0])})
        rows = np.array([one["bbox"] for one in results], np.float32).reshape(-1, 4)
        scores = np.array([one["rec_scores"] for one in results], np.float32)
        return [results[at] for at in suppress(rows, scores, self.rec_nms_thresold, BOTH_CORNERS)]

    def _searched(self, image_bytes: bytes) -> tuple[list[Any], list[Box], dict[str, float]]:
        at = [perf_counter()]
        decoded = cv2.imdecode(np.frombuffer(image_bytes, np.uint8), cv2.IMREAD_COLOR) if image_bytes else None
        if decoded is None:
            raise ImageError("OpenCV can't read this picture.", "image_unreadable")
        image = np.asarray(decoded[:, :, ::-1], np.uint8)
        at.append(perf_counter())
        boxes = [*self.boxes(image), (0, 0, image.shape[1], image.shape[0])]
        at.append(perf_counter())
        rows = [self.embedding(image[y1:y2, x1:x2, :].copy()) for x1, y1, x2, y2 in boxes]
        at.append(perf_counter())
        found = [self.index.search(row, self.return_k) for row in rows]
        at.append(perf_counter())
        return found, boxes, dict(zip(STAGES, 1e3 * np.diff(at), strict=True))

    def boxes(self, image: NDArray[np.uint8]) -> list[Box]:
        """DetResize without keeping the ratio; DetNormalizeImage; DetPermute; the graph; the threshold."""
        if self.detector is None:
            return []
        side = self.sides[0]
        scale = np.asarray(side / np.array(image.shape[:2], np.float32), np.float32)
        fx, fy = float(scale[1]), float(scale[0])
        pixels = cv2.resize(image, None, None, fx=fx, fy=fy, interpolation=self.photo_interpolation)
        normal = pixels.astype(np.float32, copy=False) / 255.0
        normal = (normal - MEAN[None, None, :]) / STD[None, None, :]
        planes = normal.transpose((2, 0, 1)).copy()[None].astype(np.float32)
        kept = [row for row in self._rows(planes, scale) if row[1] >= self.threshold][: self.detections]
        height, width = image.shape[:2]
        found = []
        for _, _, x1, y1, x2, y2 in kept:
            box = (max(int(x1), 0), max(int(y1), 0), min(int(x2), width), min(int(y2), height))
            if box[0] < box[2] and box[1] < box[3]:
                found.append(box)
        return found

    def _rows(self, planes: NDArray[np.float32], scale: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 6) in pixels of the photo, best first."""
        if self.detector is None:
            return np.zeros((0, ROW), np.float32)
        side = self.sides[0]
        if self.heads is not None:
            outputs = self.detector.run({self.detector.inputs[0].name: planes})
            boxes, scores = decode_heads(outputs, self.heads, side, side)
            best = suppress(boxes, scores, SUPPRESSION_IOU)[:KEPT]
            spread = boxes[best] / np.tile(scale[::-1], 2)
            return np.column_stack([np.zeros(len(best)), scores[best], spread]).astype(np.float32)
        inputs = {"image": planes, "im_shape": np.array([[side, side]], np.float32), "scale_factor": scale[None]}
        rows = self.detector.run(inputs)[self.detector.outputs[0].name]
        if rows.size < ROW:
            return np.zeros((0, ROW), np.float32)
        return np.asarray(rows[np.argsort(-rows[:, 1], kind="stable")], np.float32)

    def embedding(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """ResizeImage, NormalizeImage, ToCHWImage; a batch of one; unit length."""
        side = self.sides[1]
        resized = cv2.resize(crop, (side, side), interpolation=self.interpolation)
        pixels = (resized.astype("float32") * np.float32(1 / 255) - MEAN.astype("float32")) / STD.astype("float32")
        (spec,) = self.embedder.inputs
        row = self.embedder.run({spec.name: pixels.transpose((2, 0, 1))[None].astype("float32")})[
            self.embedder.outputs[0].name
        ]
        return np.asarray(np.divide(row, np.sqrt(np.sum(np.square(row), axis=1, keepdims=True))), np.float32)


def load_reference(
    detector: Path, embedder: Path, rows: NDArray[np.float32], threads: int, threshold: float, detections: int
) -> Reference:
    """Of official folders with their parameters; `rows` (N, D) are indexed by HNSW32, their configuration's default."""
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWFlat(rows.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
    index.add(rows)
    return Reference(
        load_program(detector, engine="paddle", threads=threads),
        load_program(embedder, engine="paddle", threads=threads),
        index,
        threshold,
        detections,
    )


def their_program(folder: Path, threads: int) -> Program:
    """By Paddle Inference; of a model that has only ONNX, by what runs that. Raises ArtifactError, EngineError."""
    has_paddle = any((folder / f"inference{ending}").is_file() for ending in FORMATS["paddle"])
    return load_program(folder, engine="paddle" if has_paddle else "auto", threads=threads, precision="fp32")


def heads_of(folder: Path) -> DetectionOutput | None:
    """Those of a detector that ends before its boxes are suppressed; None for an official one. Raises ArtifactError."""
    manifest = load_manifest(folder)
    output = manifest.output
    return output if isinstance(output, DetectionOutput) and not manifest.official else None
