"""Each kind of mistake is found, once, at its level and with its fix; and nothing in a gallery without one."""

from __future__ import annotations

import shlex

import numpy as np
import pytest

from infra.galleries.findings import Finding, counted
from infra.galleries.lint import lint
from infra.galleries.neighbours import Found, search
from infra.galleries.store import Item
from tests.infra.galleries.lint_cases import Pictures, clean, near, view


def linted(made: Pictures, seconds: float | None = None) -> list[Finding]:
    found = Found.nothing(len(made.items))
    search([item.label for item in made.items], made.embeddings, found, seconds)
    return lint("g", made.items, made.embeddings, found)


def require(found: list[Finding], kind: str, level: str, items: list[Item], method: str, words: str) -> Finding:
    """Exactly one finding: of these items, with this fix."""
    assert [(one.kind, one.level) for one in found] == [(kind, level)], [one.message for one in found]
    (one,) = found
    assert [item.id for item in one.items] == [item.id for item in items]
    assert one.fix.method == method
    assert one.fix.command.startswith(f"shitu gallery {words}"), one.fix.command
    return one


def test_a_gallery_without_mistakes_has_no_findings() -> None:
    assert linted(clean()) == []
    assert linted(Pictures()) == []


def test_a_picture_under_a_wrong_label_goes_to_the_likely_one() -> None:
    made = clean()
    wrong = made.add("tea", view(0, 9))
    one = linted(made)
    finding = require(one, "mislabelled", "error", [wrong, one[0].items[1]], "PATCH", f"rename g --item {wrong.id}")
    assert finding.items[1].label == "cola"
    assert (finding.fix.path, finding.fix.body) == (f"/v1/galleries/g/items/{wrong.id}", {"label": "cola"})
    assert finding.labels == ("tea", "cola")


def test_a_picture_a_little_more_like_another_label_is_a_warning() -> None:
    made = clean()
    between = view(1, 9, 0.2) + 1.25 * view(0, 9, 0.2)
    made.add("tea", np.asarray(between / np.linalg.norm(between), np.float32))
    assert [(one.kind, one.level) for one in linted(made)] == [("mislabelled", "warning")]


def test_the_same_bytes_under_two_labels_are_an_error_and_the_one_that_fits_less_goes() -> None:
    made = clean()
    duplicate = made.add("tea", made.rows[0], content="0")
    finding = require(
        linted(made), "same_picture", "error", [duplicate, made.items[0]], "DELETE", f"remove g --item {duplicate.id}"
    )
    assert finding.similarity == pytest.approx(1)
    assert finding.labels == ("tea", "cola")


@pytest.mark.parametrize(("similarity", "level"), [(0.99, "error"), (0.975, "error")])
def test_the_same_object_under_two_labels_by_its_embedding(similarity: float, level: str) -> None:
    made = clean()
    duplicate = made.add("tea", near(made.rows[0], similarity))
    finding = require(linted(made), "two_labels", level, [duplicate, made.items[0]], "DELETE", "remove g --item")
    assert finding.similarity == pytest.approx(similarity, abs=1e-4)


def test_a_label_that_is_another_one_by_a_second_name_is_merged() -> None:
    made = clean()
    for at in range(4):
        made.add("Coca-Cola", near(made.rows[at], 0.95))
    found = linted(made)
    assert [(one.kind, one.level) for one in found] == [("two_labels", "warning")]  # one, not four
    fix = found[0].fix
    assert (fix.method, fix.path) in {
        ("PATCH", "/v1/galleries/g/items?label=Coca-Cola"),
        ("PATCH", "/v1/galleries/g/items?label=cola"),
    }
    assert fix.body is not None
    assert fix.body["merge"] is True
    made = clean()
    made.add("Coca & Cola", near(made.rows[0], 0.98))  # its only picture
    fix = linted(made)[0].fix
    assert (fix.path, fix.body) == ("/v1/galleries/g/items?label=Coca%20%26%20Cola", {"label": "cola", "merge": True})
    assert shlex.split(fix.command)[2:] == ["merge", "g", "--label", "Coca & Cola", "--into", "cola"]


def test_copies_within_a_label_are_reported_once_each() -> None:
    made = clean()
    box = (10, 10, 200, 200)
    part = made.add("cola", view(0, 20), content="photo", box=box)
    again = made.add("cola", view(0, 21), content="photo", box=(12, 10, 200, 201))
    other = made.add("cola", view(0, 22), content="photo", box=(300, 10, 500, 200))  # another part of the photo
    require(linted(made), "duplicate", "warning", [again, part], "DELETE", f"remove g --item {again.id}")
    made = clean()
    copies = [made.add("cola", near(made.rows[0], 0.985)), made.add("cola", near(made.rows[0], 0.98))]
    found = linted(made)
    assert {(one.kind, one.level, one.items[0].id) for one in found} == {
        ("near_duplicate", "info", copy.id) for copy in copies
    }
    assert other.box is not None


def test_a_picture_of_something_else_is_an_outlier() -> None:
    made = clean()
    strange = made.add("milk", view(40, 1))
    one = linted(made)
    require(one, "outlier", "warning", [strange, one[0].items[1]], "DELETE", f"remove g --item {strange.id}")
    assert one[0].items[1].label == "milk"


def test_labels_with_few_or_similar_pictures_want_more() -> None:
    made = clean()
    lonely = made.add("juice", view(9, 0))
    finding = require(linted(made), "few_pictures", "info", [lonely], "POST", "add FOLDER --gallery g")
    assert (finding.fix.path, finding.fix.body) == ("/v1/galleries/g/items", {"labels": "juice"})
    assert finding.fix.to_dict("")["content_type"] == "multipart/form-data"
    made = clean()
    for seed in range(3):
        made.add("juice", view(9, seed, 0.17))
    finding = next(one for one in linted(made) if one.kind == "similar_pictures")
    assert (finding.level, finding.labels, finding.fix.method) == ("info", ("juice",), "POST")


def test_labels_that_would_be_taken_for_each_other_are_predicted() -> None:
    """Two flavours in one design: half of the one's pictures are nearer to the other's."""
    made = clean()
    rng = np.random.default_rng(5)
    for at in range(8):
        row = view(9, 0, 0.2) + 0.7 * rng.normal(size=64) / 8
        made.add(("lemon", "lime")[at % 2], np.asarray(row / np.linalg.norm(row), np.float32))
    found = [one for one in linted(made) if one.kind == "confusion"]
    assert {frozenset(one.labels) for one in found} == {frozenset(("lemon", "lime"))}
    worst = found[0]
    assert worst.count is not None
    assert worst.of == 4
    assert worst.level == ("warning" if worst.count >= 2 else "info")
    assert [item.label for item in worst.items] == list(worst.labels)
    assert f"{worst.count} of 4 pictures of {worst.labels[0]!r}" in worst.message


def test_findings_come_worst_first_and_are_counted() -> None:
    made = clean()
    made.add("juice", view(9, 0))
    made.add("milk", view(40, 1))
    made.add("tea", view(0, 9))
    found = linted(made)
    assert [one.level for one in found] == ["error", "warning", "info"]
    levels, kinds = counted(found)
    assert levels == {"error": 1, "warning": 1, "info": 1}
    assert kinds == {"mislabelled": 1, "outlier": 1, "few_pictures": 1}


def test_a_part_of_a_search_finds_no_more_than_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.galleries.neighbours.LARGEST_BLOCK", 2)
    made = clean()
    made.add("tea", view(0, 9))
    made.add("milk", view(40, 1))
    found = Found.nothing(len(made.items))
    whole = {(one.kind, one.items[0].id) for one in linted(made)}
    while not found.complete:
        search([item.label for item in made.items], made.embeddings, found, 0)
        part = {(one.kind, one.items[0].id) for one in lint("g", made.items, made.embeddings, found)}
        assert part <= whole
    assert part == whole
