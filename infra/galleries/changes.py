"""What is different between two versions of a gallery: items that came, went, or are the same picture under another label or box."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts.versions import CHANGES

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from contracts.versions import ChangeKind
    from infra.galleries.files import Item


@dataclass(frozen=True)
class Change:
    """One item: `before` None: it was added, `after` None: it was removed."""

    kind: ChangeKind
    before: Item | None
    after: Item | None

    @property
    def item(self) -> Item:
        """As it is, or was."""
        found = self.after or self.before
        if found is None:
            raise ValueError("a change is of an item")
        return found


@dataclass(frozen=True)
class Difference:
    """All changes, those of a kind together, and how many items are in both alike."""

    changes: list[Change]
    unchanged: int

    def counts(self) -> dict[ChangeKind, int]:
        """How many of each kind there are."""
        found = Counter(one.kind for one in self.changes)
        return {kind: found[kind] for kind in CHANGES}


def difference(before: Sequence[Item], after: Sequence[Item]) -> Difference:
    """From the items of one version to those of another. In time that grows with their number alone."""
    old, new = {item.id: item for item in before}, {item.id: item for item in after}
    kept = [(old[one], new[one]) for one in old.keys() & new.keys()]
    changes = [
        Change("relabelled", was, now) for was, now in kept if was.label != now.label
    ]  # an id may outlive a name
    gone = [item for item in before if item.id not in new]
    come = [item for item in after if item.id not in old]
    for kind, same in (("relabelled", _content), ("moved", _picture)):
        pairs, gone, come = _paired(gone, come, same)
        changes += [Change(kind, was, now) for was, now in pairs]  # type: ignore[arg-type]  # both are kinds
    changes += [Change("added", None, item) for item in come] + [Change("removed", item, None) for item in gone]
    order = {item.id: place for place, item in enumerate((*before, *after))}
    changes.sort(key=lambda one: (CHANGES.index(one.kind), order[one.item.id]))
    return Difference(changes, sum(was.label == now.label for was, now in kept))


def labels_of(before: Sequence[Item], after: Sequence[Item]) -> list[tuple[str, int, int]]:
    """(label, items before, items after) of each label with another number of them, by name."""
    old, new = Counter(item.label for item in before), Counter(item.label for item in after)
    return [(label, old[label], new[label]) for label in sorted(old.keys() | new.keys()) if old[label] != new[label]]


def _content(item: Item) -> Hashable:
    return item.sha256, item.box


def _picture(item: Item) -> Hashable:
    return item.sha256, item.label


def _paired(
    gone: Sequence[Item], come: Sequence[Item], same: Callable[[Item], Hashable]
) -> tuple[list[tuple[Item, Item]], list[Item], list[Item]]:
    """Those that belong together, and what is left of either."""
    waiting: dict[Hashable, list[Item]] = defaultdict(list)
    for item in reversed(come):
        waiting[same(item)].append(item)
    pairs, left = [], []
    for item in gone:
        if waiting[same(item)]:
            pairs.append((item, waiting[same(item)].pop()))
        else:
            left.append(item)
    found = {now.id for _, now in pairs}
    return pairs, left, [item for item in come if item.id not in found]
