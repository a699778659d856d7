"""Their `predict_system`: a photo in, a list of `bbox`, `rec_docs` and `rec_scores` out, by the files of an `index_dir`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from infra.runtime.machine import usable_cores
from models.boxes import suppress
from models.detector import Detector
from models.embedder import Embedder
from models.galleries.binary import hamming
from models.galleries.gallery import Gallery
from models.pictures.image import crop
from models.recognition.paddleclas import options_from_config, to_paddleclas
from models.recognition.pipeline import Recognizer, find_parts
from shitu.paddleclas.config import ConfigError
from shitu.paddleclas.gallery import codes_of, delimiter_of, distance_of, open_index, require_distance, require_size
from shitu.paddleclas.networks import folder_of, require_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shitu.paddleclas.config import Config

ONE_PIXEL = 1.0  # both corners belong to a box, as they count overlaps
LABEL = "foreground"


def threads_of(config: Config) -> int:
    """`cpu_num_threads`, at most as many as there are cores."""
    return min(config.whole("Global.cpu_num_threads", 1), usable_cores())


def detector_of(config: Config) -> Detector | None:
    """The detector that the configuration names; None: the whole photo is looked up. Raises ModelError."""
    key = "Global.det_inference_model_dir"
    if not (named := config.text(key)):
        return None
    return Detector(folder_of(named, key), threads=threads_of(config))


def embedder_of(config: Config) -> Embedder:
    """The embedder that the configuration names. Raises ModelError."""
    key = "Global.rec_inference_model_dir"
    embedder = Embedder(folder_of(config.text(key), key), threads=threads_of(config))
    require_input(embedder.manifest, config.get("RecPreProcess.transform_ops"), "RecPreProcess.transform_ops")
    return embedder


def detections(config: Config, detector: Detector, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Their `predict_det`: `class_id`, `score`, `bbox`, `label_name` of each, best first."""
    labels = config.get("Global.label_list") or [LABEL]
    if not isinstance(labels, list) or not all(isinstance(one, str) for one in labels):
        raise ConfigError(f"Global.label_list: must be a list of names, not {labels!r}.")
    options = options_from_config({"Global": config.get("Global", {})})
    found = detector(image, options.detection_threshold, options.max_detections)
    return [
        {"class_id": 0, "score": one.confidence, "bbox": [float(corner) for corner in one.box], "label_name": labels[0]}
        for one in found
    ]


class System:
    """Detector, embedder and gallery of a configuration. Raises ModelError."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.distance = distance_of(config)
        require_distance(config, self.distance)
        self.radius = config.number("IndexProcess.hamming_radius", 100)
        table = dict(config.table) | {"IndexProcess": {**config.get("IndexProcess", {}), "dist_type": "IP"}}
        self.options = options_from_config(table)
        self.detector, self.embedder = detector_of(config), embedder_of(config)
        self.index, self.items = open_index(Path(config.text("IndexProcess.index_dir")), delimiter_of(config))
        if self.index.distance != self.distance:
            raise ConfigError(f"IndexProcess.dist_type: is {self.distance}; the gallery has {self.index.distance}.")
        require_size(config, self.embedder)
        sides = self.index.rows.shape[1] * (8 if self.distance == "hamming" else 1)
        if sides != self.embedder.dim:
            raise ConfigError(
                f"IndexProcess.index_dir: its vectors have {sides} dimensions, those of {self.embedder.name} {self.embedder.dim}."
            )
        self.gallery = None if self.distance == "hamming" else Gallery(self.items, self.index.rows)

    def __call__(self, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """The recognitions in (H, W, 3) RGB, best first. Raises ModelError.

        `rec_scores` is the cosine of the embeddings, with `dist_type` L2 too; with hamming the number of bits that differ.
        """
        if self.gallery is not None:
            found = Recognizer(self.detector, self.embedder)(image, self.gallery, self.options)
            return [dict(one) for one in to_paddleclas(found)]
        return self._by_codes(image)

    def _by_codes(self, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
        found = () if self.detector is None else self.detector(
            image, self.options.detection_threshold, self.options.max_detections
        )  # fmt: skip
        parts = find_parts(found, image, self.options, has_detector=self.detector is not None)
        codes = codes_of(self.config, self.embedder([crop(image, part.box) for part in parts]))
        bits = hamming(codes, self.index.rows)
        nearest = bits.argmin(axis=1)
        distances = bits[np.arange(len(bits)), nearest]
        kept = np.flatnonzero(distances <= self.radius)
        boxes = np.array([parts[at].box for at in kept], np.float32).reshape(-1, 4)
        # the nearest first: theirs keeps the farthest of overlapping answers here
        order = suppress(boxes, -distances[kept].astype(np.float32), self.options.suppression_iou, ONE_PIXEL)
        return [
            {
                "bbox": list(parts[at].box),
                "rec_docs": self.items[nearest[at]].label,
                "rec_scores": float(distances[at]),
            }
            for at in kept[order]
        ]
