"""The answer for a photo: its recognitions, what was dropped and why, and how that was decided.

`to_dict` gives the JSON that contracts.results describes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from contracts import results
from contracts.results import Calibrated, Reason
from contracts.traces import DropReason, Source
from models.galleries.gallery import gallery_of, of_item

if TYPE_CHECKING:
    from contracts.options import Verify
    from contracts.traces import Trace
    from models.galleries.gallery import Match

Box = tuple[int, int, int, int]

CANDIDATES = 5  # listed for each object
POINTS = 30  # pairs of points listed of a verification


@dataclass(frozen=True)
class Candidate:
    """A label that an object may have. `similarity` is the label's, of all its pictures; `match` its nearest one."""

    probability: float
    similarity: float
    match: Match

    @property
    def label(self) -> str:
        return self.match.item.label

    def to_dict(self) -> results.Candidate:
        return {
            "label": self.label,
            "probability": round(self.probability, 4),
            "similarity": round(self.similarity, 6),
            "item_id": self.match.item.id,
            "image_key": getattr(self.match.item, "image_key", None),
            **of_item(self.match.item),
        }


@dataclass(frozen=True)
class Verification:
    """How many local features agree between an object's crop and a picture of the answer, the item `item_id`.

    `points` are (x, y) in the photo and (x, y) in the item's picture, or in its `item_box` where only that part was
    enrolled, as fractions of their widths and heights.
    """

    inliers: int
    item_id: str | None = None
    points: tuple[results.Point, ...] = ()
    item_box: Box | None = None
    gallery: str | None = None  # of the item, where several are searched

    def to_dict(self) -> results.Verification:
        pairs = cast("list[results.Point]", [[round(value, 4) for value in pair] for pair in self.points[:POINTS]])
        box = None if self.item_box is None else list(self.item_box)
        record: results.Verification = {
            "inliers": self.inliers,
            "item_id": self.item_id,
            "points": pairs,
            "item_box": box,
        }
        if self.gallery is not None:
            record["gallery"] = self.gallery
        return record


@dataclass(frozen=True)
class Recognition:
    """A recognised object: the label that wins over the others, with all of its pictures.

    `probability` says how likely it is right, `similarity` how alike the label's pictures are; `matches` are the nearest
    items, of any label.
    """

    box: Box
    confidence: float | None
    source: Source
    label: str
    similarity: float
    matches: tuple[Match, ...]
    probability: float = 0.0
    candidates: tuple[Candidate, ...] = ()
    verification: Verification | None = None
    given: int | None = None  # which of the boxes that the caller gave

    def to_dict(self) -> results.RecognizedObject:
        recognized: results.RecognizedObject = {
            "box": list(self.box),
            "confidence": rounded(self.confidence),
            "source": self.source,
            "label": self.label,
            "probability": round(self.probability, 4),
            "similarity": round(self.similarity, 6),
            "verification": None if self.verification is None else self.verification.to_dict(),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "matches": [match.to_dict() for match in self.matches],
        }
        if self.given is not None:
            recognized["given"] = self.given
        if self.candidates:
            recognized.update(gallery_of(self.candidates[0].match.item))  # type: ignore[typeddict-item]  # a part of it
        return recognized


@dataclass(frozen=True)
class Dropped:
    """An object that is no recognition, and why; `suppressed_by` is the box of the better one that it overlaps.

    Its `candidates` are the best guesses, for a person to confirm, and `verification` is of the first of them.
    """

    box: Box
    confidence: float | None
    source: Source
    reason: DropReason
    matches: tuple[Match, ...] = ()
    suppressed_by: Box | None = None
    candidates: tuple[Candidate, ...] = ()
    verification: Verification | None = None
    given: int | None = None

    def to_dict(self) -> results.DroppedObject:
        dropped: results.DroppedObject = {
            "box": list(self.box),
            "confidence": rounded(self.confidence),
            "source": self.source,
            "reason": self.reason,
            "verification": None if self.verification is None else self.verification.to_dict(),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "matches": [match.to_dict() for match in self.matches],
        }
        if self.suppressed_by is not None:
            dropped["suppressed_by"] = list(self.suppressed_by)
        if self.given is not None:
            dropped["given"] = self.given
        return dropped


@dataclass(frozen=True)
class Decision:
    """What an answer had to reach, and how that came about.

    Either `min_precision`, and the `probability_threshold` that it means by the calibration, or a `similarity_threshold`.
    `verified` is how many objects were compared by local features.
    """

    min_precision: float | None
    probability_threshold: float | None
    similarity_threshold: float | None
    calibration: Calibrated
    calibration_queries: int
    verify: Verify
    verified: int = 0

    def to_dict(self) -> results.Decision:
        return {
            "min_precision": self.min_precision,
            "probability_threshold": rounded(self.probability_threshold),
            "similarity_threshold": rounded(self.similarity_threshold),
            "calibration": self.calibration,
            "calibration_queries": self.calibration_queries,
            "verify": self.verify,
            "verified": self.verified,
        }


@dataclass(frozen=True)
class Recognitions:
    """Everything found in one photo of `width` x `height` pixels, likeliest first; `reason` says why there is nothing."""

    width: int
    height: int
    recognitions: tuple[Recognition, ...]
    dropped: tuple[Dropped, ...]
    reason: Reason | None
    timings_ms: dict[str, float]
    decision: Decision | None = None
    trace: Trace | None = None

    def to_dict(self) -> results.Recognized:
        """The model's part of a job's `result`."""
        found: results.Recognized = {
            "image": {"width": self.width, "height": self.height},
            "recognitions": [recognition.to_dict() for recognition in self.recognitions],
            "dropped": [dropped.to_dict() for dropped in self.dropped],
            "reason": self.reason,
            "decision": None if self.decision is None else self.decision.to_dict(),
            "timings_ms": {stage: round(took_ms, 3) for stage, took_ms in self.timings_ms.items()},
        }
        if self.trace is not None:
            found["trace"] = self.trace
        return found


def rounded(value: float | None) -> float | None:
    """To six digits, for JSON."""
    return None if value is None else round(value, 6)
