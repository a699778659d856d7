"""Looks twice at parts whose answer is in doubt: local features of the nearest items re-rank the labels and are evidence."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from models.galleries.calibration import shared
from models.recognition.results import Verification
from models.verification import rerank_bonus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from models.galleries.calibration import Calibration
    from models.galleries.gallery import Gallery, LabeledItem
    from models.options import RecognizeOptions
    from models.recognition.decide import Part
    from models.recognition.results import Box, Candidate

BUDGET_MS = 150.0  # of one photo, with verify "auto"
ALWAYS_BUDGET_MS = 5000.0  # with "always": a hundred detections of twenty items each would hold a worker for minutes
DOUBTFUL = (0.05, 0.97)  # probabilities between which an answer is looked at again
CLOSE = 0.08  # scores of the first two labels nearer than that are in doubt, whatever the probability


class Agrees(Protocol):
    """What `agree` of a verifier gives: how many features agree, and their places in both pictures, in fractions (M, 2)."""

    @property
    def inliers(self) -> int: ...

    @property
    def query_points(self) -> NDArray[Any]: ...

    @property
    def item_points(self) -> NDArray[Any]: ...


class Verifies(Protocol):
    """The functions of `models.verification`, as a module or an object. Features have a length, how many they are."""

    def describe(self, image: NDArray[Any], /) -> Any: ...

    def agree(self, query: Any, item: Any, /) -> Agrees: ...


@dataclass(frozen=True)
class Look:
    """The evidence of local features for one label: its best agreement."""

    inliers: int = 0
    agreement: Agrees | None = None
    item: LabeledItem | None = None


@dataclass(frozen=True)
class Standing:
    """A candidate after a second look, with what its probability follows from."""

    candidate: Candidate
    rival: float | None  # the best similarity of another label
    pictures: int
    inliers: int | None  # None: no picture of the label was compared
    rival_inliers: int  # of the other label that agrees most
    probability: float  # that the label is right, whatever the others are


def look_twice(
    parts: Sequence[Part],
    crops: Sequence[tuple[Box, Callable[[], NDArray[Any]]]],
    size: tuple[int, int],
    gallery: Gallery,
    calibration: Calibration,
    verifier: Verifies,
    options: RecognizeOptions,
    checkpoint: Callable[[], object] = lambda: None,
) -> list[Part]:
    """The parts, with those that were verified ranked again and their evidence.

    `crops` give the pixels of each part, if it is looked at, with the box that they fill in a photo of `size` (width, height). With `verify`
    "auto" only what is in doubt is looked at, within BUDGET_MS, with "always" every part, in turn, within
    ALWAYS_BUDGET_MS; items without features are passed over. `checkpoint` is called before each item that is compared, and
    may raise to end the work.
    """
    until = time.perf_counter() + (ALWAYS_BUDGET_MS if options.verify == "always" else BUDGET_MS) / 1000
    seen = []
    for part, (box, pixels) in zip(parts, crops, strict=True):
        wanted = options.verify == "always" or in_doubt(part)
        compared: list[tuple[str, int]] = []
        about = (options.verify_top, until, checkpoint, compared)
        looks = compare(part, pixels, gallery, verifier, *about) if wanted else None
        one = replace(part, looks=tuple(compared))
        seen.append(one if looks is None else _ranked(one, looks, box, size, calibration))
    return seen


def in_doubt(part: Part) -> bool:
    """Whether the best label's probability is neither high nor hopeless, or another label is close."""
    if not part.candidates:
        return False
    best = part.candidates[0]
    near = any(best.similarity - other.similarity < CLOSE for other in part.candidates[1:2])
    return DOUBTFUL[0] <= best.probability and (best.probability <= DOUBTFUL[1] or near)


def compare(
    part: Part,
    pixels: Callable[[], Any],
    gallery: Gallery,
    verifier: Verifies,
    most: int,
    until: float = float("inf"),
    checkpoint: Callable[[], object] = lambda: None,
    compared: list[tuple[str, int]] | None = None,
) -> dict[str, Look] | None:
    """For each label that an item was compared of, what agrees; at most so many items. None if none was.

    Each item that was compared is noted in `compared`, with its inliers. A crop or an item without a single feature is not compared: no agreement would mean nothing. No further item is begun after `until`, by time.perf_counter: where features are still to be made, one takes long.
    """
    if part.found is None:
        return None
    # The first two labels are compared even where all of the nearest items are of one.
    order = [one.match.item for one in part.candidates[:2]] + [match.item for match in part.found.matches]
    items = list({(getattr(item, "source", 0), item.id): item for item in order}.values())[:most]
    query, looks = None, dict[str, Look]()
    for item in items:
        if time.perf_counter() >= until:
            break
        checkpoint()
        features = gallery.features_of(item)
        if features is None or not len(features):
            continue
        if query is None:
            query = verifier.describe(pixels())
            if not len(query):
                return None
        agreement = verifier.agree(query, features)
        if compared is not None:
            compared.append((item.id, agreement.inliers))
        known = looks.setdefault(item.label, Look())
        if agreement.inliers > known.inliers:
            looks[item.label] = Look(agreement.inliers, agreement, item)
    return looks or None


def standings(part: Part, looks: dict[str, Look], calibration: Calibration) -> list[Standing]:
    """The candidates in the order of the answer: the likeliest first, equally likely ones by similarity and agreement.

    A label that was not compared is as likely as before: that nothing is known of it does not speak against it.
    """
    inliers = {label: look.inliers for label, look in looks.items()}
    scores = {one.label: one.similarity for one in part.candidates}
    pictures = {one.label: one.pictures for one in part.found.labels} if part.found else {}
    found = []
    for one in part.candidates:
        others = [label for label in scores if label != one.label]
        rival = max((scores[label] for label in others), default=None)
        agreeing = max((inliers.get(label, 0) for label in others), default=0)
        of_label, own = pictures.get(one.label, 1), inliers.get(one.label)
        if own is None:
            probability = calibration.probability(one.similarity, rival, of_label)
        else:
            probability = calibration.verified_probability(one.similarity, rival, of_label, own, agreeing)
        found.append(Standing(one, rival, of_label, own, agreeing, probability))
    return sorted(found, key=lambda one: (-one.probability, -one.candidate.similarity - rerank_bonus(one.inliers or 0)))


def _ranked(part: Part, looks: dict[str, Look], box: Box, size: tuple[int, int], calibration: Calibration) -> Part:
    """The part with probabilities that know of what agrees, its labels in their order, and the evidence of the first."""
    order = standings(part, looks, calibration)
    probabilities = shared([one.probability for one in order])
    ranked = tuple(
        replace(one.candidate, probability=fraction) for one, fraction in zip(order, probabilities, strict=True)
    )
    look = looks.get(ranked[0].label)
    evidence = None if look is None else _evidence(look, box, size)
    return replace(part, candidates=ranked, verification=evidence, compared=True)


def _evidence(look: Look, box: Box, size: tuple[int, int]) -> Verification:
    """The agreeing points, in fractions of the whole photo instead of the crop."""
    if look.agreement is None or look.item is None:
        return Verification(0)
    x1, y1, x2, y2 = box
    width, height = size
    points = tuple(
        ((x1 + float(qx) * (x2 - x1)) / width, (y1 + float(qy) * (y2 - y1)) / height, float(ix), float(iy))
        for (qx, qy), (ix, iy) in zip(look.agreement.query_points, look.agreement.item_points, strict=True)
    )
    gallery: str | None = getattr(look.item, "gallery", None)
    return Verification(look.inliers, look.item.id, points, getattr(look.item, "box", None), gallery)
