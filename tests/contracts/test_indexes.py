from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from contracts.indexes import FLAT_BELOW, IndexChoice, choice_of, is_used, kind_of, things_of


@pytest.mark.parametrize(
    ("choice", "gallery", "part", "kind"),
    [
        ({}, FLAT_BELOW - 1, FLAT_BELOW - 1, None),
        ({}, FLAT_BELOW, FLAT_BELOW, "PQ"),
        ({}, 1_000_000, 100, None),  # a small addition to a large gallery
        ({"index_method": "Flat"}, 1_000_000, 1_000_000, None),
        ({"index_method": "HNSW32"}, 200, 200, "HNSW32"),
        ({"index_method": "IVF", "dist_type": "L2"}, 200, 200, "IVF"),
        ({"index_method": "IVF"}, 200, 20, None),
        ({"index_method": "HNSW32", "dist_type": "hamming"}, 1_000_000, 1_000_000, None),
        ({"fuse": True}, 1_000_000, 1_000_000, None),
    ],
)
def test_the_index_follows_from_the_choice_and_the_size(
    choice: dict[str, Any], gallery: int, part: int, kind: str | None
) -> None:
    assert kind_of(choice_of(choice), 512, gallery, part) == kind


def test_codes_of_four_dimensions_need_a_multiple_of_four() -> None:
    assert kind_of(IndexChoice(), 30, 10**6, 10**6) is None
    assert kind_of(IndexChoice(), None, 0, 0) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"index_method": "flat"},
        {"dist_type": "cosine"},
        {"rerank": -1},
        {"rerank": 1001},
        {"rerank": True},
        {"fuse": "yes"},
        {"fuse": True, "index_method": "IVF"},
        {"fuse_by": "sku"},
        {"fuse_by": "", "fuse": True},
        {"fuse_by": "a b", "fuse": True},
    ],
)
def test_what_there_is_not_is_refused_and_when_stored_passed_over(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        IndexChoice(**wrong)
    assert choice_of(wrong) == IndexChoice()
    assert choice_of({"of a later version": 1}) == IndexChoice()


def test_a_poor_index_is_used_only_where_its_method_was_chosen() -> None:
    assert not is_used(IndexChoice(), 0.9)
    assert is_used(IndexChoice("HNSW32"), 0.9)


def test_what_is_not_fused_is_kept_as_before_there_was_a_choice() -> None:
    assert IndexChoice().to_dict() == {"index_method": "auto", "dist_type": "IP", "rerank": 100}
    for choice in (IndexChoice("IVF", "hamming", 0, fuse=True), IndexChoice(fuse=True, fuse_by="sku")):
        assert choice_of(choice.to_dict()) == choice


def test_a_thing_is_a_label_or_what_of_it_has_the_same_metadata() -> None:
    @dataclass
    class Shot:
        label: str
        metadata: dict[str, str] | None = None

    items = [
        Shot("tea", {"sku": "1"}),
        Shot("cola", {"sku": "1"}),
        Shot("tea"),
        Shot("tea", {"sku": "1"}),
        Shot("tea", {}),
    ]
    assert things_of(IndexChoice(), items) is None
    assert things_of(IndexChoice(fuse=True), items) == [0, 1, 0, 0, 0]
    assert things_of(IndexChoice(fuse=True, fuse_by="sku"), items) == [0, 1, 2, 0, 2]
