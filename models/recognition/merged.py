"""One answer from the answers of several galleries that are of different embedders: similarities of two embedders mean
different things, but probabilities do not, so that the likeliest label wins.

Each part of the photo gets the best of what was recognised of it, and the candidates of all.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from models.recognition.decide import suppress_overlaps, without_idle_fallback
from models.recognition.results import CANDIDATES, Candidate, Dropped, Recognition, Recognitions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from contracts.results import Reason
    from models.options import RecognizeOptions
    from models.recognition.results import Box

Place = tuple["Box", str, int | None]


def merged(several: Sequence[Recognitions], options: RecognizeOptions) -> Recognitions:
    """The answers of one photo, one for each embedder, as one; its `decision` is that of the first.

    `several` are of the same parts of the photo. Raises ValueError for none.
    """
    if not several:
        raise ValueError("there is no answer to merge")
    if len(several) == 1:
        return several[0]
    recognized: dict[Place, list[Recognition]] = defaultdict(list)
    others: dict[Place, list[Dropped]] = defaultdict(list)
    for found in several:
        for one in found.recognitions:
            recognized[_place(one)].append(one)
        for other in found.dropped:
            others[_place(other)].append(other)
    accepted = [_best(ones, others.get(place, ())) for place, ones in recognized.items()]
    dropped = [_likeliest(ones) for place, ones in others.items() if place not in recognized]
    if options.whole_image == "fallback" and not options.compat and options.boxes is None:
        accepted, dropped = without_idle_fallback(accepted, dropped)
    iou = options.suppression_iou if options.boxes is None else 1.0
    kept, suppressed = suppress_overlaps(accepted, iou, paddleclas=options.compat == "paddleclas")
    reason = None if kept else _reason([found.reason for found in several])
    timings = _added([found.timings_ms for found in several])
    return replace(
        several[0], recognitions=kept, dropped=(*suppressed, *dropped), reason=reason, timings_ms=timings, trace=None
    )


def _place(one: Recognition | Dropped) -> Place:
    return one.box, one.source, one.given


def _best(ones: Sequence[Recognition], others: Iterable[Dropped]) -> Recognition:
    """The likeliest, with what the other galleries say of the same part below it."""
    best, *rest = sorted(ones, key=lambda one: -one.probability)
    below_it: list[Recognition | Dropped] = [*rest, *others]
    listed = _ranked(candidate for one in below_it for candidate in one.candidates)
    more = [one for one in listed if one.label not in {own.label for own in best.candidates}]
    below = sorted((*best.candidates[1:], *more), key=lambda one: -one.probability)
    candidates = (*best.candidates[:1], *below)[:CANDIDATES]  # the answer stays in front
    return replace(best, candidates=candidates)


def _likeliest(ones: Sequence[Dropped]) -> Dropped:
    best = max(ones, key=lambda one: one.candidates[0].probability if one.candidates else -1.0)
    candidates = tuple(_ranked(candidate for one in ones for candidate in one.candidates)[:CANDIDATES])
    return replace(best, candidates=candidates)


def _ranked(candidates: Iterable[Candidate]) -> list[Candidate]:
    """The likeliest of each label, best first."""
    best: dict[str, Candidate] = {}
    for one in candidates:
        if one.label not in best or one.probability > best[one.label].probability:
            best[one.label] = one
    return sorted(best.values(), key=lambda one: -one.probability)


def _reason(reasons: Sequence[Reason | None]) -> Reason | None:
    """Why there is nothing: what a gallery with items says comes before that another one has none."""
    said = [one for one in reasons if one not in (None, "empty_gallery")]
    return said[0] if said else "empty_gallery"


def _added(several: Sequence[dict[str, float]]) -> dict[str, float]:
    times: dict[str, float] = defaultdict(float)
    for one in several:
        for stage, took_ms in one.items():
            times[stage] += took_ms
    return dict(times)
