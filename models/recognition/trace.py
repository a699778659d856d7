"""Notes what was seen on the way from a photo to its answer, for the option `trace`. It changes no answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.recognition.results import rounded
from models.recognition.second_look import CLOSE, DOUBTFUL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contracts.traces import Outcome, Trace, TracedDetection, TracedLabel, TracedMatch, TracedPart
    from models.engines.program import Array
    from models.options import RecognizeOptions
    from models.recognition.decide import Part
    from models.recognition.results import Box, Decision, Dropped, Recognition


class Tracer:
    """One photo's notes."""

    def __init__(self) -> None:
        self._detections: list[TracedDetection] = []
        self._threshold: float | None = None
        self._ranked: list[Part] = []
        self._searched: list[Box] = []

    def detected(self, boxes: Array, scores: Array, threshold: float, most: int) -> None:
        """All boxes (n, 4) and scores (n,) that the detector proposed, best first."""
        self._threshold = threshold
        for at, (box, score) in enumerate(zip(boxes.tolist(), scores.tolist(), strict=True)):
            found: TracedDetection = {
                "box": [round(corner, 1) for corner in box],
                "confidence": round(score, 6),
                "reason": None,
            }
            if at >= most:
                found["reason"] = "over_max_detections"
            elif score < threshold:
                found["reason"] = "below_detection_threshold"
            elif int(box[0]) >= int(box[2]) or int(box[1]) >= int(box[3]):
                found["reason"] = "empty"
            self._detections.append(found)

    def ranked(self, parts: Sequence[Part], searched: Sequence[Box]) -> None:
        """The parts by their embeddings alone, and what of the photo was embedded for each."""
        self._ranked, self._searched = list(parts), list(searched)

    def finished(
        self,
        parts: Sequence[Part],
        recognitions: Sequence[Recognition],
        dropped: Sequence[Dropped],
        decision: Decision,
        options: RecognizeOptions,
    ) -> Trace:
        """The whole trace; `parts` are those of `ranked` after the second look."""
        ended: list[Recognition | Dropped] = [*recognitions, *dropped]
        ends = {(one.source, one.box, one.given): one for one in ended}
        traced = []
        for before, after, searched in zip(self._ranked, parts, self._searched, strict=True):
            end = ends.get((after.source, after.box, after.given))
            traced.append(_part(before, after, searched, end, decision))
        return {
            "detections": self._detections,
            "parts": traced,
            "thresholds": {
                "detection_threshold": rounded(self._threshold),
                "max_detections": options.max_detections,
                "min_precision": decision.min_precision,
                "probability_threshold": rounded(decision.probability_threshold),
                "similarity_threshold": rounded(decision.similarity_threshold),
                "suppression_iou": options.suppression_iou,
                "doubtful_probabilities": list(DOUBTFUL),
                "doubtful_gap": CLOSE,
            },
        }


def _part(
    before: Part, after: Part, searched: Box, end: Recognition | Dropped | None, decision: Decision
) -> TracedPart:
    outcome: Outcome = "whole_image_not_needed" if end is None else getattr(end, "reason", "recognized")
    found: TracedPart = {
        "box": list(after.box),
        "searched": list(searched),
        "confidence": rounded(after.confidence),
        "source": after.source,
        "matches": _matches(before, dict(after.looks)),
        "labels": _labels(before, after),
        "outcome": outcome,
        "why": _why(outcome, after, end, decision),
    }
    if after.given is not None:
        found["given"] = after.given
    return found


def _matches(part: Part, inliers: dict[str, int]) -> list[TracedMatch]:
    found = []
    for match in part.found.matches if part.found else ():
        one: TracedMatch = {
            "label": match.item.label,
            "similarity": round(match.similarity, 6),
            "item_id": match.item.id,
        }
        if (gallery := getattr(match.item, "gallery", None)) is not None:
            one["gallery"] = gallery
        if match.item.id in inliers:
            one["inliers"] = inliers[match.item.id]
        found.append(one)
    return found


def _labels(before: Part, after: Part) -> list[TracedLabel]:
    """In the order of the answer; those beyond the candidates have no probability and are left out."""
    scores = {one.label: one for one in before.found.labels} if before.found else {}
    first = {one.label: one.probability for one in before.candidates}
    return [
        {
            "label": one.label,
            "similarity": round(one.similarity, 6),
            "nearest": round(scores[one.label].nearest, 6),
            "pictures": scores[one.label].pictures,
            "probability": round(first[one.label], 4),
            "verified_probability": round(one.probability, 4) if after.compared else None,
        }
        for one in after.candidates
    ]


def _why(outcome: Outcome, part: Part, end: Recognition | Dropped | None, decision: Decision) -> str:
    """The outcome as a sentence."""
    best = part.candidates[0] if part.candidates else None
    message = f"Its best label {best.label!r} has" if best else "It has no label"
    if best and decision.similarity_threshold is not None:
        numbers = f"{message} the similarity {best.similarity:.3f}, and {decision.similarity_threshold:.3f} is needed"
    elif best:
        numbers = (
            f"{message} the probability {best.probability:.3f}, and {decision.probability_threshold or 0:.3f} is needed"
        )
    else:
        numbers = message
    reasons = {
        "unlike_whole_image": "; but it is a small piece of a photo that looks like another label",
        "suppressed": f"; but it overlaps the better {getattr(end, 'suppressed_by', None)}",
        "whole_image_not_needed": "; but a detection was recognised, so that the whole photo was not needed",
        "empty_gallery": ": the gallery is empty",
        "no_match": ": nothing of the gallery is near",
        "invalid_embedding": ": the embedder gave no usable answer for it",
    }
    return numbers + reasons.get(outcome, "") + "."
