"""The procedure of PaddleClas' deploy/python/predict_system.py, written down again to be timed beside ours.

Paddle Inference with oneDNN runs the whole official graphs: the detector with its suppression, and the embedder for one
crop a call. Pictures are normalised by numpy in float32, as its `preprocess.py` and `det_preprocess.py` do. The index is
HNSW32 by inner product, its configuration's default.
"""

from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.engines.loader import load_program

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
DETECTOR_SIDE, EMBEDDER_SIDE = 640, 224
STAGES = ("decode", "detect", "embed", "search")


@dataclass
class Reference:
    """The pipeline; `threshold` and `detections` choose the boxes, to which the whole photo is added."""

    detector: Any
    embedder: Any
    index: Any
    threshold: float
    detections: int

    def __call__(self, image_bytes: bytes) -> tuple[list[Any], dict[str, float]]:
        """What is nearest to each box, and each stage's milliseconds."""
        at = [perf_counter()]
        image = cv2.imdecode(np.frombuffer(image_bytes, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        at.append(perf_counter())
        boxes = [*self.boxes(image), (0, 0, image.shape[1], image.shape[0])]
        at.append(perf_counter())
        rows = [self.embedding(image[y1:y2, x1:x2, :].copy()) for x1, y1, x2, y2 in boxes]
        at.append(perf_counter())
        found = [self.index.search(row, 1) for row in rows]
        at.append(perf_counter())
        return found, dict(zip(STAGES, 1e3 * np.diff(at), strict=True))

    def boxes(self, image: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
        """DetResize without keeping the ratio, cubic; DetNormalizeImage; DetPermute; the graph; the threshold."""
        side = DETECTOR_SIDE
        scale = side / np.array(image.shape[:2], np.float32)
        pixels = cv2.resize(image, None, None, fx=float(scale[1]), fy=float(scale[0]), interpolation=cv2.INTER_CUBIC)
        pixels = pixels.astype(np.float32, copy=False) / 255.0
        pixels = (pixels - MEAN[None, None, :]) / STD[None, None, :]
        planes = pixels.transpose((2, 0, 1)).copy()
        inputs = {
            "image": planes[None].astype(np.float32),
            "im_shape": np.array([[side, side]], np.float32),
            "scale_factor": scale[None],
        }
        rows = self.detector.run(inputs)[self.detector.outputs[0].name]
        kept = [row for row in rows if row[1] > self.threshold][: self.detections]
        height, width = image.shape[:2]
        found = []
        for _, _, x1, y1, x2, y2 in kept:
            box = (max(int(x1), 0), max(int(y1), 0), min(int(x2), width), min(int(y2), height))
            if box[0] < box[2] and box[1] < box[3]:
                found.append(box)
        return found

    def embedding(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """ResizeImage, NormalizeImage, ToCHWImage; a batch of one; unit length."""
        pixels = cv2.resize(crop, (EMBEDDER_SIDE, EMBEDDER_SIDE), interpolation=cv2.INTER_LINEAR)
        pixels = (pixels.astype("float32") * np.float32(1 / 255) - MEAN.astype("float32")) / STD.astype("float32")
        (spec,) = self.embedder.inputs
        row = self.embedder.run({spec.name: pixels.transpose((2, 0, 1))[None].astype("float32")})[
            self.embedder.outputs[0].name
        ]
        return np.divide(row, np.sqrt(np.sum(np.square(row), axis=1, keepdims=True)))


def load_reference(
    detector: Path, embedder: Path, rows: NDArray[np.float32], threads: int, threshold: float, detections: int
) -> Reference:
    """Of official folders with their parameters; `rows` (N, D) are indexed."""
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
