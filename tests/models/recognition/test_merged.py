"""Answers of galleries of different embedders as one: the likeliest wins, whatever the similarities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from models.galleries.gallery import Match
from models.options import RecognizeOptions
from models.recognition.merged import merged
from models.recognition.results import Box, Candidate, Dropped, Recognition, Recognitions

OPTIONS = RecognizeOptions()
LEFT, RIGHT, WHOLE = (0, 0, 40, 40), (50, 0, 90, 40), (0, 0, 100, 50)


@dataclass(frozen=True)
class Item:
    id: str
    label: str


def candidate(label: str, probability: float, similarity: float = 0.5) -> Candidate:
    return Candidate(probability, similarity, Match(Item(f"itm_{label}", label), similarity))


def seen(box: Box, *candidates: Candidate, source: str = "detection") -> Recognition:
    best = candidates[0]
    return Recognition(
        box, 0.9, source, best.label, best.similarity, (best.match,), best.probability, candidates  # type: ignore[arg-type]
    )  # fmt: skip


def unsure(box: Box, *candidates: Candidate, source: str = "detection", reason: str = "below_min_precision") -> Dropped:
    return Dropped(box, 0.9, source, reason, (), None, candidates)  # type: ignore[arg-type]


def answer(*parts: Recognition | Dropped, reason: str | None = None) -> Recognitions:
    known = tuple(one for one in parts if isinstance(one, Recognition))
    dropped = tuple(one for one in parts if isinstance(one, Dropped))
    return Recognitions(100, 50, known, dropped, reason, {"embed": 2.0, "total": 3.0})  # type: ignore[arg-type]


def test_the_likeliest_label_of_a_part_answers_with_the_candidates_of_all() -> None:
    one = answer(seen(LEFT, candidate("tea", 0.8, 0.99), candidate("milk", 0.1)), unsure(RIGHT, candidate("rice", 0.2)))
    two = answer(seen(LEFT, candidate("cola", 0.9, 0.3)), unsure(RIGHT, candidate("salt", 0.4), candidate("rice", 0.1)))
    for several in ((one, two), (two, one)):
        found = merged(several, OPTIONS)
        (recognition,) = found.recognitions
        assert (recognition.label, recognition.probability) == ("cola", 0.9)
        assert [one.label for one in recognition.candidates] == ["cola", "tea", "milk"]
        (dropped,) = found.dropped
        assert [(one.label, one.probability) for one in dropped.candidates] == [("salt", 0.4), ("rice", 0.2)]
        assert found.reason is None
        assert found.timings_ms == {"embed": 4.0, "total": 6.0}


def test_what_one_recognises_is_not_dropped_for_the_other() -> None:
    one = answer(unsure(LEFT, candidate("tea", 0.95)), reason="nothing_recognized")
    two = answer(seen(LEFT, candidate("cola", 0.9)))
    found = merged([one, two], OPTIONS)
    assert ([one.label for one in found.recognitions], found.dropped) == (["cola"], ())
    # The answer stays in front of what is likelier and not sure enough by its own threshold.
    assert [one.label for one in found.recognitions[0].candidates] == ["cola", "tea"]


def test_the_whole_photo_answers_only_where_no_object_is_recognised_by_any() -> None:
    one = answer(seen(WHOLE, candidate("tea", 0.99), source="whole_image"), unsure(LEFT, candidate("tea", 0.1)))
    two = answer(seen(LEFT, candidate("cola", 0.9)))
    assert [one.label for one in merged([one, two], OPTIONS).recognitions] == ["cola"]
    always = merged([one, two], replace(OPTIONS, whole_image="always"))
    assert [one.label for one in always.recognitions] == ["tea", "cola"]


def test_overlapping_parts_that_different_galleries_recognise_are_one() -> None:
    near = (1, 0, 41, 40)
    one = answer(seen(LEFT, candidate("tea", 0.8)), unsure(near, candidate("tea", 0.3)))
    two = answer(unsure(LEFT, candidate("cola", 0.2)), seen(near, candidate("cola", 0.9)))
    found = merged([one, two], OPTIONS)
    assert [one.label for one in found.recognitions] == ["cola"]
    assert [(one.reason, one.suppressed_by) for one in found.dropped] == [("suppressed", near)]


@pytest.mark.parametrize(
    ("reasons", "reason"),
    [
        (("empty_gallery", "nothing_recognized"), "nothing_recognized"),
        (("empty_gallery", "empty_gallery"), "empty_gallery"),
        (("nothing_detected", "empty_gallery"), "nothing_detected"),
    ],
)
def test_why_there_is_nothing(reasons: tuple[str, str], reason: str) -> None:
    assert merged([answer(reason=one) for one in reasons], OPTIONS).reason == reason


def test_one_answer_stays_as_it_is() -> None:
    one = answer(seen(LEFT, candidate("tea", 0.8)))
    assert merged([one], OPTIONS) is one
    with pytest.raises(ValueError, match="no answer"):
        merged([], OPTIONS)
