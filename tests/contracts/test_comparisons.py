"""Which parts of two answers are the same, and what is said of their change."""

from __future__ import annotations

from typing import Any

import pytest

from contracts.comparisons import Compared, difference, galleries_of, standings_of

USED = {"name": "drinks", "version": 2, "items": 4}


def answer(box: list[int], label: str, similarity: float = 0.9, source: str = "detection") -> dict[str, Any]:
    return {
        "box": box,
        "source": source,
        "label": label,
        "similarity": similarity,
        "probability": 0.95,
        "candidates": [],
    }


def drop(box: list[int], *guesses: str, source: str = "detection") -> dict[str, Any]:
    candidates = [{"label": label, "similarity": 0.5, "probability": 0.3} for label in guesses]
    return {"box": box, "source": source, "reason": "below_min_precision", "candidates": candidates}


def result(*parts: dict[str, Any], version: int = 2) -> dict[str, Any]:
    return {
        "recognitions": [part for part in parts if "reason" not in part],
        "dropped": [part for part in parts if "reason" in part],
        "gallery": {**USED, "version": version},
    }


def compared(old: dict[str, Any]) -> Compared:
    return {"job": "rec_0", "galleries": galleries_of(old), "parts": standings_of(old)}


A, B, C, D, E = [0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10], [80, 0, 90, 10]


def test_every_change_has_its_name_and_what_was_before_and_is_now() -> None:
    old = result(answer(A, "tea", 0.8), answer(B, "cola"), drop(C, "milk"), answer(D, "rice"), drop(E))
    new = result(
        answer([0, 0, 10, 9], "tea", 0.85), answer(B, "cocoa"), answer(C, "milk"), drop(D, "rice"), drop(E), version=3
    )
    report = difference(compared(old), new)
    assert report["counts"] == {"relabeled": 1, "lost": 1, "gained": 1, "same": 1, "unanswered": 1}
    assert [part["change"] for part in report["parts"]] == ["relabeled", "lost", "gained", "same", "unanswered"]
    relabeled, lost, gained, same, unanswered = report["parts"]
    assert [relabeled[side]["label"] for side in ("before", "after")] == ["cola", "cocoa"]  # type: ignore[literal-required]
    assert lost["after"] == {
        "answered": False, "label": "rice", "similarity": 0.5, "probability": 0.3, "reason": "below_min_precision",
    }  # fmt: skip
    assert gained["before"] is not None
    assert (gained["before"]["answered"], gained["before"]["label"]) == (False, "milk")
    assert [same[side]["similarity"] for side in ("before", "after")] == [0.8, 0.85]  # type: ignore[literal-required]
    assert unanswered["before"] is not None
    assert unanswered["before"]["label"] is None
    assert (report["before"][0]["version"], report["after"][0]["version"]) == (2, 3)


@pytest.mark.parametrize(
    ("box", "changes"),
    [([0, 0, 10, 6], ["same"]), ([0, 0, 10, 4], ["lost", "gained"]), ([50, 50, 60, 60], ["lost", "gained"])],
)
def test_parts_are_the_same_from_half_an_overlap_on(box: list[int], changes: list[str]) -> None:
    report = difference(compared(result(answer(A, "tea"))), result(answer(box, "tea")))
    assert [part["change"] for part in report["parts"]] == changes
    assert (report["parts"][0]["after"] is None) == (len(changes) == 2)


def test_each_part_is_paired_once_with_the_nearest_and_sources_do_not_mix() -> None:
    near = [1, 0, 11, 10]
    report = difference(
        compared(result(answer(A, "tea"), answer(near, "cola"))), result(answer(near, "cola"), answer(A, "tea"))
    )
    assert report["counts"]["same"] == 2
    whole = difference(compared(result(answer(A, "tea", source="whole_image"))), result(answer(A, "tea")))
    assert whole["counts"] == {"relabeled": 0, "lost": 1, "gained": 1, "same": 0, "unanswered": 0}


def test_nothing_against_nothing_is_no_change() -> None:
    assert difference(compared(result()), result())["parts"] == []
