"""Each item's neighbours and scores without itself are those that photos are answered by, also if the search was interrupted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from infra.galleries import neighbours
from infra.galleries.neighbours import NOTHING, Found, search
from models.galleries import label_scores
from models.galleries.label_scores import LabelScores

LABELS = ["tea", "cola", "milk", "tea", "cola", "tea", "绿茶", "tea", "cola", "juice", "juice"] * 3 + ["alone"]


@pytest.fixture
def rows() -> NDArray[np.float32]:
    found = np.random.default_rng(3).normal(size=(len(LABELS), 8))
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def searched(labels: list[str], rows: NDArray[np.float32]) -> Found:
    found = Found.nothing(len(labels))
    search(labels, rows, found)
    assert found.complete
    return found


def test_scores_are_those_of_answers(rows: NDArray[np.float32]) -> None:
    assert neighbours.HALFWAY == label_scores.HALFWAY
    found, served = searched(LABELS, rows), LabelScores(LABELS, rows)
    everything = np.arange(len(rows))
    for place, row in enumerate(rows):
        scores = served.score(row, everything, rows @ row, own=place)
        best = next(one for one in scores if one.label != LABELS[place])
        assert found.other_score[place] == pytest.approx(best.score, abs=1e-5)
        assert (found.other_place[place], LABELS[int(found.other_place[place])]) == (best.place, best.label)
        assert found.other_near[place] == pytest.approx(best.nearest, abs=1e-5)
        own = [one for one in scores if one.label == LABELS[place]]
        if own:
            assert found.own_score[place] == pytest.approx(own[0].score, abs=1e-5)
            assert (found.own_place[place], found.own_near[place]) == (
                own[0].place,
                pytest.approx(own[0].nearest, abs=1e-5),
            )
        else:
            assert (LABELS[place], found.own_place[place], found.own_score[place]) == ("alone", -1, NOTHING)
        others = [one for one in range(len(rows)) if LABELS[one] != LABELS[place]]
        nearest_other = max(others, key=lambda one: float(rows[one] @ row))
        assert (found.twin_place[place], found.twin_near[place]) == (
            nearest_other,
            pytest.approx(rows[nearest_other] @ row, abs=1e-5),
        )


def test_a_search_continues_where_it_stopped(rows: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = searched(LABELS, rows)
    monkeypatch.setattr(neighbours, "LARGEST_BLOCK", 7)
    found, turns = Found.nothing(len(rows)), []
    while not found.complete:
        search(LABELS, rows, found, seconds=0)
        turns.append(int(found.done.sum()))
    assert turns == sorted(set(turns))
    assert len(turns) == 5
    for member in dataclasses.fields(Found):
        np.testing.assert_allclose(getattr(found, member.name), getattr(whole, member.name), atol=1e-5)


def test_few_items_have_no_neighbours() -> None:
    one = np.eye(1, 4, dtype=np.float32)
    assert searched([], np.zeros((0, 0), np.float32)).complete
    alone = searched(["tea"], one)
    assert (alone.own_place[0], alone.other_place[0], alone.twin_near[0]) == (-1, -1, NOTHING)
    same = searched(["tea", "tea"], np.repeat(one, 2, axis=0))
    assert (same.own_place.tolist(), same.other_place.tolist()) == ([1, 0], [-1, -1])
    assert same.own_near.tolist() == [1, 1]
