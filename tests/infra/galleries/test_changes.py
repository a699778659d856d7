"""What is reported of two versions adds up, whatever was done between them."""

from __future__ import annotations

from infra.galleries.changes import difference, labels_of
from infra.galleries.store import Item, item_id


def item(content: str, label: str, box: tuple[int, int, int, int] | None = None) -> Item:
    return Item(item_id(content, label, box), label, f"images/{content}", content, box, "2026-01-01T00:00:00Z")


def test_each_change_is_reported_once_by_its_kind() -> None:
    part, other = (0, 0, 9, 9), (1, 1, 8, 8)
    before = [item("a", "tea"), item("b", "tea"), item("c", "tea", part), item("d", "tea"), item("d", "milk")]
    after = [item("a", "tea"), item("b", "cola"), item("c", "tea", other), item("e", "wine"), item("d", "milk")]
    found = difference(before, after)
    report = [
        (one.kind, one.item.sha256, one.before and one.before.label, one.after and one.after.label)
        for one in found.changes
    ]
    assert report == [
        ("removed", "d", "tea", None),
        ("relabelled", "b", "tea", "cola"),
        ("moved", "c", "tea", "tea"),
        ("added", "e", None, "wine"),
    ]
    assert found.unchanged == 2
    assert found.counts() == {"removed": 1, "relabelled": 1, "moved": 1, "added": 1}
    assert labels_of(before, after) == [("cola", 0, 1), ("tea", 4, 2), ("wine", 0, 1)]
    assert [one.kind for one in difference(after, before).changes] == ["removed", "relabelled", "moved", "added"]
    assert difference(before, before).changes == []


def test_an_item_that_kept_its_id_under_another_label_is_relabelled() -> None:
    kept = item("a", "tea")
    renamed = Item(kept.id, "green tea", kept.image_key, kept.sha256, None, kept.added_at)
    (one,) = difference([kept], [renamed]).changes
    assert (one.kind, one.before, one.after) == ("relabelled", kept, renamed)


def test_copies_are_paired_one_by_one() -> None:
    before = [item("a", "x"), item("a", "y"), item("a", "z")]
    after = [item("a", "v"), item("a", "w")]
    assert sorted(one.kind for one in difference(before, after).changes) == ["relabelled", "relabelled", "removed"]
