"""From what the parts of a photo found to its recognitions: what is sure enough, what overlaps, and why the rest is dropped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from models.boxes import iou
from models.galleries.gallery import Found, Match
from models.recognition.results import CANDIDATES, Candidate, Decision, Dropped, Recognition, Verification

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contracts.results import Reason
    from contracts.traces import DropReason, Source
    from models.galleries.calibration import Calibration
    from models.galleries.gallery import Gallery
    from models.options import RecognizeOptions
    from models.recognition.results import Box

# Of a photo filled by one product, or by a heap of it, the detector finds pieces, and a piece may look like something else.
# Chosen on every second photo of grocery/val (against packshots, and 3 photos a class) and on rendered scenes.
PIECE = 0.15  # of the photo's area: what is smaller may be a piece of what fills the photo
CONTRADICTS = 0.15  # the whole photo's best label, if it is so likely for each part that the piece's own is
ONE_PIXEL = 1.0  # the convention of PaddleClas' suppression: both corners belong to a box


@dataclass(frozen=True)
class Part:
    """A part of the photo that may be recognised: a detection, or (`confidence` None) the whole image or a given box.

    `given` is which of the boxes that the caller gave. `found` is None where it has no embedding. Its `candidates` are best first, the answer in front. `compared` says that
    local features were looked at; `verification` is their evidence for the answer, None without evidence.
    """

    box: Box
    confidence: float | None
    source: Source
    found: Found | None = None
    candidates: tuple[Candidate, ...] = ()
    verification: Verification | None = None
    compared: bool = False
    given: int | None = None
    looks: tuple[tuple[str, int], ...] = ()  # the items whose pictures were compared, and how many features agree


def decision_of(
    options: RecognizeOptions, calibration: Calibration, similarity_threshold: float, verified: int
) -> Decision:
    """What answers are held to: `similarity_threshold` is the embedder's own, for PaddleClas' way."""
    wanted = options.similarity_threshold
    if options.compat and wanted is None:
        wanted = similarity_threshold
    least = None if wanted is not None else calibration.threshold_for(options.min_precision)
    return Decision(
        min_precision=None if least is None else options.min_precision,
        probability_threshold=least,
        similarity_threshold=wanted,
        calibration=calibration.source,
        calibration_queries=calibration.queries,
        verify="never" if options.compat else options.verify,
        verified=verified,
    )


def candidates_of(
    found: Found, calibration: Calibration, gallery: Gallery, most: int = CANDIDATES
) -> tuple[Candidate, ...]:
    """The labels that a query found, best first, with their probabilities: at most so many, together at most 1."""
    probabilities = calibration.probabilities(found.labels, most)
    return tuple(
        Candidate(fraction, label.score, Match(gallery.nearest_item(label), label.nearest))
        for fraction, label in zip(probabilities, found.labels, strict=False)
    )


def nearest_first(candidates: Sequence[Candidate], nearest: Match) -> tuple[Candidate, ...]:
    """PaddleClas' way: the nearest item's label is the answer, with that item's similarity, whatever others add up to."""
    own = [one for one in candidates if one.label == nearest.item.label]
    first = Candidate(own[0].probability if own else 0.0, nearest.similarity, nearest)
    return (first, *[one for one in candidates if one.label != nearest.item.label])


def split_by_decision(
    parts: Sequence[Part], gallery: Gallery, decision: Decision
) -> tuple[list[Recognition], list[Dropped]]:
    """Those whose best candidate reaches what is decided by, and the others with their reasons."""
    accepted: list[Recognition] = []
    dropped: list[Dropped] = []
    for part in parts:
        matches = part.found.matches if part.found else ()
        reason = _too_little(part, gallery, decision)
        if reason is not None:
            entry = Dropped(part.box, part.confidence, part.source, reason, matches, None, part.candidates)
            dropped.append(replace(entry, verification=part.verification, given=part.given))
            continue
        best = part.candidates[0]
        accepted.append(
            Recognition(
                part.box,
                part.confidence,
                part.source,
                best.label,
                best.similarity,
                matches,
                best.probability,
                part.candidates,
                part.verification,
                part.given,
            )
        )
    return accepted, dropped


def _too_little(part: Part, gallery: Gallery, decision: Decision) -> DropReason | None:
    if part.found is None:
        return "invalid_embedding"
    if not part.candidates:
        return "no_match" if len(gallery) else "empty_gallery"
    best = part.candidates[0]
    if decision.similarity_threshold is not None:
        return "below_similarity_threshold" if best.similarity < decision.similarity_threshold else None
    least = decision.probability_threshold
    return "below_min_precision" if least is not None and best.probability < least else None


def without_contradicted(
    accepted: Sequence[Recognition], parts: Sequence[Part]
) -> tuple[list[Recognition], list[Dropped]]:
    """The recognitions that the whole photo does not contradict, and the others, dropped.

    It contradicts a small one of several detections if it looks rather like another label, which none of the detections
    is recognised as: in a scene of several products the whole looks like none of them, or like one that is found.
    """
    whole = next((part for part in parts if part.source == "whole_image" and part.candidates), None)
    detections = [part for part in parts if part.source == "detection"]
    if whole is None or len(detections) < 2:
        return list(accepted), []
    looks_like = whole.candidates[0]
    if any(one.source == "detection" and one.label == looks_like.label for one in accepted):
        return list(accepted), []
    kept: list[Recognition] = []
    dropped: list[Dropped] = []
    for one in accepted:
        is_piece = one.source == "detection" and _area(one.box) < PIECE * _area(whole.box)
        if is_piece and looks_like.probability >= CONTRADICTS * one.probability:
            entry = Dropped(
                one.box, one.confidence, one.source, "unlike_whole_image", one.matches, None, one.candidates
            )
            dropped.append(replace(entry, verification=one.verification))
        else:
            kept.append(one)
    return kept, dropped


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def without_idle_fallback(
    accepted: Sequence[Recognition], dropped: Sequence[Dropped]
) -> tuple[list[Recognition], list[Dropped]]:
    """Both without the whole image, if a detection is recognised: the fallback was not needed."""
    if all(recognition.source == "whole_image" for recognition in accepted):
        return list(accepted), list(dropped)
    return [one for one in accepted if one.source == "detection"], [one for one in dropped if one.source == "detection"]


def suppress_overlaps(
    accepted: Sequence[Recognition], threshold: float, *, paddleclas: bool = False
) -> tuple[tuple[Recognition, ...], tuple[Dropped, ...]]:
    """Greedy suppression, whatever the labels: what stays, likeliest first, and what went.

    One goes if its overlap (IoU, with both corners in the box) with a better one that stays is above `threshold`. Better is
    likelier, then more similar; in PaddleClas' way more similar alone. The whole image overlaps everything: it removes
    nothing, but in PaddleClas' way.
    """
    kept: list[Recognition] = []
    gone: list[Dropped] = []
    for one in sorted(accepted, key=lambda found: (0.0 if paddleclas else -found.probability, -found.similarity)):
        rivals = [better for better in kept if better.source == "detection" or paddleclas]
        boxes = np.array([better.box for better in rivals], np.float32).reshape(-1, 4)
        over = np.flatnonzero(iou(np.array([one.box], np.float32), boxes, ONE_PIXEL)[0] > threshold)
        if over.size:
            by = rivals[over[0]].box
            entry = Dropped(one.box, one.confidence, one.source, "suppressed", one.matches, by, one.candidates)
            gone.append(replace(entry, verification=one.verification))
        else:
            kept.append(one)
    return tuple(kept), tuple(gone)


def why_nothing(parts: Sequence[Part], gallery: Gallery) -> Reason:
    """Why a photo has no recognition."""
    if not len(gallery):
        return "empty_gallery"
    return "nothing_recognized" if parts else "nothing_detected"
