"""A photo in, its recognitions out: detect, crop, embed, search, verify, decide."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from contracts.options import outside
from models.errors import ModelError
from models.galleries.calibration import from_threshold
from models.options import OptionsError, RecognizeOptions
from models.pictures.image import crop, whole_pixels, with_margin
from models.pictures.inputs import as_image
from models.recognition.decide import (
    Part,
    candidates_of,
    decision_of,
    nearest_first,
    split_by_decision,
    suppress_overlaps,
    why_nothing,
    without_contradicted,
    without_idle_fallback,
)
from models.recognition.results import CANDIDATES, Dropped, Recognition, Recognitions
from models.recognition.second_look import look_twice
from models.recognition.trace import Tracer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.galleries.calibration import Calibration
    from models.galleries.gallery import Found, Gallery
    from models.pictures.inputs import Picture
    from models.recognition.results import Box
    from models.recognition.second_look import Verifies

__all__ = ["Dropped", "OptionsError", "Recognition", "Recognitions", "RecognizeOptions", "Recognizer"]


class Detected(Protocol):
    """A detection: its box in pixels of the image, and how sure the detector is."""

    @property
    def box(self) -> tuple[float, float, float, float]: ...

    @property
    def confidence(self) -> float: ...


class Detects(Protocol):
    """A detector, as models.detector.Detector: detections in a (H, W, 3) uint8 image, best first. A threshold of None is its own."""

    def __call__(
        self, image: NDArray[np.uint8], threshold: float | None, max_detections: int
    ) -> Sequence[Detected]: ...


@runtime_checkable
class ListsCandidates(Protocol):
    """A detector that also lists what it did not choose, as models.detector.Detector does."""

    @property
    def confidence_threshold(self) -> float: ...

    def candidates(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...

    def chosen(
        self, boxes: NDArray[np.float32], scores: NDArray[np.float32], threshold: float, max_detections: int
    ) -> Sequence[Detected]: ...


class Embeds(Protocol):
    """An embedder, as models.embedder.Embedder: (N, D) unit float32 of crops. ModelError `embedding_invalid`: it cannot.

    Its `calibration`, where it has one, gives how sure answers are in galleries without their own.
    """

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
class Sight:
    """What the networks see in a photo of `width` x `height` pixels: its parts, with the box of each that is embedded.

    `embeddings` (N, D) are those of the parts that are `valid`. `timings_ms` says how long each stage took.
    """

    width: int
    height: int
    parts: tuple[Part, ...]
    boxes: tuple[Box, ...]
    embeddings: NDArray[np.float32]
    valid: tuple[bool, ...]
    timings_ms: dict[str, float]


class Recognizer:
    """Recognises what a gallery knows. Without a detector the whole image is the one region. One thread at a time.

    `verifier` compares local features, as the module `models.verification` does; without one nothing is verified.
    """

    def __init__(self, detector: Detects | None, embedder: Embeds, verifier: Verifies | None = None) -> None:
        self.detector = detector
        self.embedder = embedder
        self.verifier = verifier

    def __call__(
        self,
        image: Picture,
        gallery: Gallery,
        options: RecognizeOptions | None = None,
        checkpoint: Callable[[], object] = lambda: None,
    ) -> Recognitions:
        """The recognitions in `image`: (H, W, 3) RGB uint8, or what else `models.pictures.inputs.as_image` takes. Raises ModelError.

        `checkpoint` is called between the stages and while parts are verified; what it raises ends the work.
        """
        options = options or RecognizeOptions()
        image = as_image(image)
        tracer = Tracer() if options.trace else None
        sight = self.look(image, options, checkpoint, tracer)
        return self.answer(sight, lambda: image, gallery, options, checkpoint, tracer)

    def look(
        self,
        image: NDArray[np.uint8],
        options: RecognizeOptions,
        checkpoint: Callable[[], object] = lambda: None,
        tracer: Tracer | None = None,
    ) -> Sight:
        """What the networks see in the photo, whatever the gallery."""
        height, width = image.shape[:2]
        clock = _Clock()
        if options.boxes is None:
            detections = self._detect(image, options, tracer)
            parts = find_parts(detections, image, options, has_detector=self.detector is not None)
        else:
            parts = given_parts(options.boxes, height, width)
        clock.lap("detect")
        boxes = [part.box if options.compat else with_margin(part.box, height, width) for part in parts]
        crops = [crop(image, box) for box in boxes]
        clock.lap("crop")
        checkpoint()
        embeddings, valid = self._embed(crops)
        clock.lap("embed")
        return Sight(width, height, tuple(parts), tuple(boxes), embeddings, tuple(valid), clock.laps_ms())

    def look_again(self, sight: Sight, image: NDArray[np.uint8], checkpoint: Callable[[], object]) -> Sight:
        """The same parts as in a sight by the same detector, embedded with this recogniser's embedder."""
        clock = _Clock()
        crops = [crop(image, box) for box in sight.boxes]
        clock.lap("crop")
        checkpoint()
        embeddings, valid = self._embed(crops)
        clock.lap("embed")
        return replace(sight, embeddings=embeddings, valid=tuple(valid), timings_ms=clock.laps_ms())

    def answer(
        self,
        sight: Sight,
        image: Callable[[], NDArray[np.uint8]],
        gallery: Gallery,
        options: RecognizeOptions,
        checkpoint: Callable[[], object] = lambda: None,
        tracer: Tracer | None = None,
    ) -> Recognitions:
        """What the gallery says of a sight. `image` gives the photo, which only a second look needs."""
        width, height, boxes = sight.width, sight.height, sight.boxes
        clock = _Clock({name: took for name, took in sight.timings_ms.items() if name != "total"})
        calibration = self._calibration(gallery)
        verifier = None if options.verify == "never" or options.compat else self.verifier
        # Every label that may be compared may turn out to be the answer.
        most = CANDIDATES if verifier is None else max(CANDIDATES, options.verify_top)
        found = iter(self._search(gallery, sight.embeddings, options))
        parts = [
            ranked(part, next(found), calibration, gallery, options, most) if is_valid else part
            for part, is_valid in zip(sight.parts, sight.valid, strict=True)
        ]
        clock.lap("search")
        if tracer is not None:
            tracer.ranked(parts, list(boxes))
        checkpoint()
        if verifier is not None:
            crops = [(box, partial(_crop_of, image, box)) for box in boxes]
            parts = look_twice(parts, crops, (width, height), gallery, calibration, verifier, options, checkpoint)
        clock.lap("verify")
        verified = sum(part.compared for part in parts)
        decision = decision_of(options, calibration, self.embedder.similarity_threshold, verified)
        parts, all_parts = [shown(part, options.top_k) for part in parts], parts
        accepted, unlike = split_by_decision(parts, gallery, decision)
        if decision.probability_threshold is not None:
            accepted, pieces = without_contradicted(accepted, parts)
            unlike += pieces
        if options.whole_image == "fallback" and not options.compat and options.boxes is None:
            accepted, unlike = without_idle_fallback(accepted, unlike)
        iou = options.suppression_iou if options.boxes is None else 1.0  # who gives boxes wants each of them answered
        recognitions, suppressed = suppress_overlaps(accepted, iou, paddleclas=options.compat == "paddleclas")
        reason = None if recognitions else why_nothing(parts, gallery)
        dropped = (*suppressed, *unlike)
        trace = None if tracer is None else tracer.finished(all_parts, recognitions, dropped, decision, options)
        return Recognitions(width, height, recognitions, dropped, reason, clock.laps_ms(), decision, trace)

    def _calibration(self, gallery: Gallery) -> Calibration:
        """The gallery's own, else the embedder's, else what its similarity threshold says."""
        if not gallery.calibratable:
            return replace(from_threshold(self.embedder.similarity_threshold), source="uncalibrated")
        own: Calibration | None = gallery.calibration or getattr(self.embedder, "calibration", None)
        return own or from_threshold(self.embedder.similarity_threshold)

    def _detect(self, image: NDArray[np.uint8], options: RecognizeOptions, tracer: Tracer | None) -> Sequence[Detected]:
        if self.detector is None:
            return ()
        if tracer is not None and isinstance(self.detector, ListsCandidates):
            least = options.detection_threshold
            least = self.detector.confidence_threshold if least is None else least
            boxes, scores = self.detector.candidates(image)
            tracer.detected(boxes, scores, least, options.max_detections)
            return self.detector.chosen(boxes, scores, least, options.max_detections)
        return self.detector(image, options.detection_threshold, options.max_detections)

    def _search(self, gallery: Gallery, embeddings: NDArray[np.float32], options: RecognizeOptions) -> list[Found]:
        if options.compat:
            return gallery.search_labels(embeddings, 1)
        return gallery.search_labels(embeddings, max(options.top_k, options.verify_top))

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


def find_parts(
    detections: Sequence[Detected], image: NDArray[np.uint8], options: RecognizeOptions, *, has_detector: bool
) -> list[Part]:
    """The detections, best first, and after them the whole image, if the policy may want it."""
    height, width = image.shape[:2]
    parts = [
        Part(whole_pixels(detected.box, height, width), detected.confidence, "detection") for detected in detections
    ]
    if options.compat or options.whole_image != "never" or not has_detector:
        parts.append(Part((0, 0, width, height), None, "whole_image"))
    return parts


def given_parts(boxes: Sequence[Sequence[int]], height: int, width: int) -> list[Part]:
    """The boxes that the caller gave, cut to the image. Raises OptionsError that names all that lie outside."""
    faults = [f"{at}: {list(box)} holds no pixel of it" for at, box in enumerate(boxes) if outside(box, width, height)]
    if faults:
        raise OptionsError("boxes", f"the photo has {width} x {height} pixels, upright; " + "; ".join(faults))
    return [Part(whole_pixels(box, height, width), None, "given", given=at) for at, box in enumerate(boxes)]


def ranked(
    part: Part, found: Found, calibration: Calibration, gallery: Gallery, options: RecognizeOptions, most: int
) -> Part:
    """The part with what it found, and at most so many of its labels as candidates."""
    candidates = candidates_of(found, calibration, gallery, most)
    if options.compat and found.matches:
        candidates = nearest_first(candidates, found.matches[0])
    return replace(part, found=found, candidates=candidates)


def shown(part: Part, top_k: int) -> Part:
    """The part with so many matches as are requested, and CANDIDATES; verification may have needed more."""
    if part.found is None:
        return part
    found = replace(part.found, matches=part.found.matches[:top_k])
    return replace(part, found=found, candidates=part.candidates[:CANDIDATES])


def _crop_of(image: Callable[[], NDArray[np.uint8]], box: Box) -> NDArray[np.uint8]:
    return crop(image(), box)


class _Clock:
    """Times stages that follow each other, after those of `laps`, in milliseconds."""

    def __init__(self, laps: dict[str, float] | None = None) -> None:
        self._last = time.perf_counter()
        self._started = self._last - sum((laps or {}).values()) / 1000
        self._laps: dict[str, float] = dict(laps or {})

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self._laps[stage] = 1000 * (now - self._last)
        self._last = now

    def laps_ms(self) -> dict[str, float]:
        return {**self._laps, "total": 1000 * (time.perf_counter() - self._started)}
