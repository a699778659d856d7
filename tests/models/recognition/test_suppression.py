"""Suppression is compared with a slow and obvious one."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from models.recognition.decide import suppress_overlaps
from models.recognition.results import Recognition
from tests.models.overlaps import overlap

boxes = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 30), st.integers(1, 30)).map(
    lambda sides: (sides[0], sides[1], sides[0] + sides[2], sides[1] + sides[3])
)
similarities = st.integers(0, 20).map(lambda step: step / 20)
recognised = st.lists(st.tuples(boxes, similarities, st.booleans()), max_size=8).map(
    lambda synthetic: [
        Recognition(box, None, "whole_image" if whole else "detection", str(position), similarity, ())
        for position, (box, similarity, whole) in enumerate(synthetic)
    ]
)


@settings(max_examples=150, deadline=None)
@given(accepted=recognised, threshold=st.sampled_from([0.0, 0.05, 0.3, 1.0]), whole_image_suppresses=st.booleans())
def test_suppression_is_the_obvious_one(
    accepted: list[Recognition], threshold: float, whole_image_suppresses: bool
) -> None:
    kept, gone = suppress_overlaps(accepted, threshold, paddleclas=whole_image_suppresses)
    expected: list[Recognition] = []
    for one in sorted(accepted, key=lambda found: found.similarity, reverse=True):
        rivals = [better for better in expected if whole_image_suppresses or better.source == "detection"]
        if not any(overlap(one.box, better.box) > threshold for better in rivals):
            expected.append(one)
    assert list(kept) == expected
    assert len(kept) + len(gone) == len(accepted)
    for lost in gone:
        assert lost.suppressed_by is not None
        assert lost.suppressed_by in [one.box for one in kept]
        assert overlap(lost.box, lost.suppressed_by) > threshold
    if not whole_image_suppresses:
        # Whole images present or not, the same detections stay.
        detections = [one for one in accepted if one.source == "detection"]
        alone, _ = suppress_overlaps(detections, threshold)
        assert [one for one in kept if one.source == "detection"] == list(alone)


def test_an_overlap_of_exactly_the_threshold_stays() -> None:
    one = Recognition((0, 0, 19, 0), None, "detection", "a", 0.9, ())  # 20 pixels by 1, both corners counted
    inner = Recognition((0, 0, 0, 0), None, "detection", "b", 0.8, ())  # 1 of the 20
    kept, _ = suppress_overlaps([one, inner], 0.05)
    assert len(kept) == 2
    kept, _ = suppress_overlaps([one, inner], 0.049)
    assert len(kept) == 1
