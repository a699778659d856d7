"""A photo in, its recognitions out: detect, crop, embed, search, decide."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from models.boxes import iou
from models.errors import ModelError
from models.gallery import Gallery, Match
from models.image import crop
from models.options import OptionsError, RecognizeOptions

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Dropped", "OptionsError", "Recognition", "Recognitions", "RecognizeOptions", "Recognizer"]

Box = tuple[int, int, int, int]
Source = Literal["detection", "whole_image"]
DropReason = Literal["below_similarity_threshold", "suppressed", "empty_gallery", "no_match", "invalid_embedding"]
Reason = Literal["empty_gallery", "nothing_detected", "nothing_recognized"]

ONE_PIXEL = 1.0  # the convention of PaddleClas' suppression: both corners belong to a box


class Body(Protocol):
    """A detection: its box in pixels of the image, and how sure the detector is."""

    @property
    def box(self) -> tuple[float, float, float, float]: ...

    @property
    def confidence(self) -> float: ...


class Detects(Protocol):
    """A detector, as models.detector.Detector: bodies of a (H, W, 3) uint8 image, best first. A threshold of None is its own."""

    def __call__(self, image: NDArray[np.uint8], threshold: float | None, max_detections: int) -> Sequence[Body]: ...


class Embeds(Protocol):
    """An embedder, as models.embedder.Embedder: (N, D) unit float32 of crops. ModelError `embedding_invalid`: it cannot."""

    @property
    def name(self) -> str: ...

    @property
    def digest(self) -> str: ...

    @property
    def dim(self) -> int: ...

    @property
    def similarity_threshold(self) -> float: ...

    def __call__(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class Candidate:
    """A part of the photo that may be recognised: a detected body, or the whole image (`confidence` None)."""

    box: Box
    confidence: float | None
    source: Source
    matches: tuple[Match, ...] = ()


@dataclass(frozen=True)
class Recognition:
    """A recognised part of the photo; label and similarity are those of the nearest item, the first of `matches`."""

    box: Box
    confidence: float | None
    source: Source
    label: str
    similarity: float
    matches: tuple[Match, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "box": list(self.box),
            "confidence": _rounded(self.confidence),
            "source": self.source,
            "label": self.label,
            "similarity": round(self.similarity, 6),
            "matches": [match.to_dict() for match in self.matches],
        }


@dataclass(frozen=True)
class Dropped:
    """A candidate that is no recognition, and why; `suppressed_by` is the box of the better one that it overlaps."""

    box: Box
    confidence: float | None
    source: Source
    reason: DropReason
    matches: tuple[Match, ...] = ()
    suppressed_by: Box | None = None

    def to_dict(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            "box": list(self.box),
            "confidence": _rounded(self.confidence),
            "source": self.source,
            "reason": self.reason,
            "matches": [match.to_dict() for match in self.matches],
        }
        if self.suppressed_by is not None:
            told["suppressed_by"] = list(self.suppressed_by)
        return told


@dataclass(frozen=True)
class Recognitions:
    """Everything found in one photo of `width` x `height` pixels, most similar first; `reason` says why there is nothing."""

    width: int
    height: int
    recognitions: tuple[Recognition, ...]
    dropped: tuple[Dropped, ...]
    reason: Reason | None
    timings_ms: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The model's part of a job's `result`."""
        return {
            "image": {"width": self.width, "height": self.height},
            "recognitions": [recognition.to_dict() for recognition in self.recognitions],
            "dropped": [dropped.to_dict() for dropped in self.dropped],
            "reason": self.reason,
            "timings_ms": {stage: round(took_ms, 3) for stage, took_ms in self.timings_ms.items()},
        }


class Recognizer:
    """Recognises what a gallery knows. Without a detector the whole image is the one body. One thread at a time."""

    def __init__(self, detector: Detects | None, embedder: Embeds) -> None:
        self.detector = detector
        self.embedder = embedder

    def __call__(
        self, image: NDArray[np.uint8], gallery: Gallery, options: RecognizeOptions | None = None
    ) -> Recognitions:
        """The recognitions in `image`, (H, W, 3) RGB uint8. Raises ModelError."""
        options = options or RecognizeOptions()
        clock = _Clock()
        bodies = self._detect(image, options)
        clock.lap("detect")
        candidates = find_candidates(bodies, image, options, has_detector=self.detector is not None)
        crops = [crop(image, candidate.box) for candidate in candidates]
        clock.lap("crop")
        embeddings, valid = self._embed(crops)
        clock.lap("embed")
        found = iter(gallery.search(embeddings, 1 if options.compat else options.top_k))
        candidates = [
            replace(candidate, matches=tuple(next(found))) if is_valid else candidate
            for candidate, is_valid in zip(candidates, valid, strict=True)
        ]
        clock.lap("search")
        accepted, unlike = split_by_similarity(candidates, valid, gallery, self._similarity_threshold(options))
        if options.whole_image == "fallback" and not options.compat:
            accepted, unlike = without_idle_fallback(accepted, unlike)
        recognitions, suppressed = suppress_overlaps(
            accepted, options.suppression_iou, whole_image_suppresses=options.compat == "paddleclas"
        )
        height, width = image.shape[:2]
        reason = None if recognitions else why_nothing(candidates, gallery)
        return Recognitions(width, height, recognitions, (*suppressed, *unlike), reason, clock.laps_ms())

    def _similarity_threshold(self, options: RecognizeOptions) -> float:
        own = self.embedder.similarity_threshold
        return own if options.similarity_threshold is None else options.similarity_threshold

    def _detect(self, image: NDArray[np.uint8], options: RecognizeOptions) -> Sequence[Body]:
        if self.detector is None:
            return ()
        return self.detector(image, options.detection_threshold, options.max_detections)

    def _embed(self, crops: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.float32], list[bool]]:
        """Embeddings of the crops that have one, all from one batch, and which crops those are."""
        if not crops:
            return np.empty((0, 0), np.float32), []
        try:
            rows = self.embedder(crops)
        except ModelError as error:
            if error.code != "embedding_invalid":
                raise
            if len(crops) == 1:
                return np.empty((0, 0), np.float32), [False]
            # One crop must not cost the photo its other recognitions: find it.
            parts = [self._embed([one]) for one in crops]
            some = [rows for rows, _ in parts if len(rows)]
            valid = [is_valid for _, flags in parts for is_valid in flags]
            return (np.concatenate(some) if some else np.empty((0, 0), np.float32)), valid
        return rows, [True] * len(crops)


def find_candidates(
    bodies: Sequence[Body], image: NDArray[np.uint8], options: RecognizeOptions, *, has_detector: bool
) -> list[Candidate]:
    """The detected bodies, best first, and after them the whole image, if the policy may want it."""
    height, width = image.shape[:2]
    candidates = [Candidate(whole_pixels(body.box, height, width), body.confidence, "detection") for body in bodies]
    if options.compat or options.whole_image != "never" or not has_detector:
        candidates.append(Candidate((0, 0, width, height), None, "whole_image"))
    return candidates


def whole_pixels(box: Sequence[float], height: int, width: int) -> Box:
    """`box` with its corners cut to whole numbers, within the image and at least one pixel wide and high."""
    x1, y1 = min(max(int(box[0]), 0), width - 1), min(max(int(box[1]), 0), height - 1)
    x2, y2 = max(min(int(box[2]), width), x1 + 1), max(min(int(box[3]), height), y1 + 1)
    return x1, y1, x2, y2


def split_by_similarity(
    candidates: Sequence[Candidate], valid: Sequence[bool], gallery: Gallery, threshold: float
) -> tuple[list[Recognition], list[Dropped]]:
    """Those whose nearest item is at least `threshold` similar, and the others with their reasons."""
    accepted: list[Recognition] = []
    dropped: list[Dropped] = []
    for candidate, is_valid in zip(candidates, valid, strict=True):
        box, confidence, source, matches = candidate.box, candidate.confidence, candidate.source, candidate.matches
        if not is_valid:
            dropped.append(Dropped(box, confidence, source, "invalid_embedding"))
        elif not matches:
            dropped.append(Dropped(box, confidence, source, "no_match" if len(gallery) else "empty_gallery"))
        elif matches[0].similarity < threshold:
            dropped.append(Dropped(box, confidence, source, "below_similarity_threshold", matches))
        else:
            nearest = matches[0]
            accepted.append(Recognition(box, confidence, source, nearest.item.label, nearest.similarity, matches))
    return accepted, dropped


def without_idle_fallback(
    accepted: Sequence[Recognition], dropped: Sequence[Dropped]
) -> tuple[list[Recognition], list[Dropped]]:
    """Both without the whole image, if a detected body is recognised: the fallback was not needed."""
    if all(recognition.source == "whole_image" for recognition in accepted):
        return list(accepted), list(dropped)
    return [one for one in accepted if one.source == "detection"], [one for one in dropped if one.source == "detection"]


def suppress_overlaps(
    accepted: Sequence[Recognition], threshold: float, *, whole_image_suppresses: bool
) -> tuple[tuple[Recognition, ...], tuple[Dropped, ...]]:
    """Greedy suppression by similarity, whatever the labels: what stays, most similar first, and what went.

    One goes if its overlap (IoU, with both corners in the box) with a better one that stays is above `threshold`. The
    whole image overlaps everything; unless `whole_image_suppresses`, as in PaddleClas, it removes nothing.
    """
    kept: list[Recognition] = []
    gone: list[Dropped] = []
    for one in sorted(accepted, key=lambda recognition: -recognition.similarity):
        rivals = [better for better in kept if better.source == "detection" or whole_image_suppresses]
        boxes = np.array([better.box for better in rivals], np.float32).reshape(-1, 4)
        over = np.flatnonzero(iou(np.array([one.box], np.float32), boxes, ONE_PIXEL)[0] > threshold)
        if over.size:
            by = rivals[over[0]].box
            gone.append(Dropped(one.box, one.confidence, one.source, "suppressed", one.matches, by))
        else:
            kept.append(one)
    return tuple(kept), tuple(gone)


def why_nothing(candidates: Sequence[Candidate], gallery: Gallery) -> Reason:
    """Why a photo has no recognition."""
    if not len(gallery):
        return "empty_gallery"
    return "nothing_recognized" if candidates else "nothing_detected"


class _Clock:
    """Times stages that follow each other."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self._laps[stage] = 1000 * (now - self._last)
        self._last = now

    def laps_ms(self) -> dict[str, float]:
        return {**self._laps, "total": 1000 * (time.perf_counter() - self._started)}


def _rounded(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 6)
