"""What a gallery has in it that makes it answer worse: found by its items' embeddings and contents, without a network.

The limits are similarities of the bundled embedder, chosen on real photos with deliberate mistakes among them: how many of
those are found, and how many false alarms there are, is in docs/galleries.md.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

from infra.galleries import findings as fixes
from infra.galleries.findings import Finding, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from contracts.lint import Kind
    from infra.galleries.files import Item
    from infra.galleries.neighbours import Found

SAME = 0.97  # the median re-compressed picture is as like its original, and other pictures seldom
TWINS = 0.90  # above any two pictures of different products that were seen
SURE, DOUBTED = 0.20, 0.10  # by how much another label fits better
LIKELY = 0.50  # what the other label must score: a picture of nothing in the gallery scores less
STRANGE = 0.30  # what a picture of something else scores at most in a label of three pictures
UNIFORM = 0.95  # mean similarity of a label's pictures
OFTEN, OFTEN_COUNT = 0.2, 2  # the share and the number of items from which a confusion is a warning
HALF = 0.5
SAME_BOX = 0.8  # intersection over union


def lint(gallery: str, items: Sequence[Item], embeddings: NDArray[np.float32], found: Found) -> list[Finding]:
    """All findings, the worst first; `found` is what infra.galleries.neighbours found of these items (embeddings (N, D))."""
    return in_order(_Lint(gallery, items, embeddings, found).all())


class _Lint:
    def __init__(self, gallery: str, items: Sequence[Item], embeddings: NDArray[np.float32], found: Found) -> None:
        self.gallery, self.items, self.embeddings, self.found = gallery, items, embeddings, found
        self.labels = [item.label for item in items]
        self.counts = Counter(self.labels)
        self.margin = found.other_score - found.own_score  # by how much another label fits an item better
        self.reported: set[int] = set()  # places in a finding that explains whatever else is strange about them
        self.doubted: set[int] = set()  # those of them that are to go, or to get another label
        self.merged: set[frozenset[str]] = set()  # labels that are to become one
        self.duplicates: set[int] = set()
        self.like_wrong: dict[int, int] = {}  # items that are like one with a wrong label, which is no fault of theirs
        self.shares = self._twin_shares()

    def all(self) -> Iterator[Finding]:
        yield from self._contents()
        yield from self._twins()
        yield from self._mislabelled()
        yield from self._near_duplicates()
        yield from self._labels()
        yield from self._confusions()

    def _contents(self) -> Iterator[Finding]:
        """The same bytes and part twice: each item is reported once, with another label's first."""
        by_content: dict[str, list[int]] = defaultdict(list)
        for place, item in enumerate(self.items):
            by_content[item.sha256].append(place)
        for places in by_content.values():
            for at, place in enumerate(places[1:], 1):
                same = [one for one in places[:at] if _same_part(self.items[one], self.items[place])]
                if not same:
                    continue
                other = next((one for one in same if self.labels[one] != self.labels[place]), None)
                if other is None:
                    self.duplicates.add(place)
                    yield self._redundant("duplicate", place, same[0], "is the same picture as another of its label")
                else:
                    yield self._conflict("same_picture", *self._doubted_first(place, other))

    def _twins(self) -> Iterator[Finding]:
        """Pictures of different labels that show the same, the most alike first."""
        near = np.flatnonzero(self.found.twin_near >= TWINS)
        for place in near[np.argsort(-self.found.twin_near[near], kind="stable")].tolist():
            other = int(self.found.twin_place[place])
            if {place, other} & self.doubted or self._pair_of_labels(place, other) in self.merged:
                self.reported.update((place, other))
                continue
            doubted, right = self._doubted_first(place, other)
            if self.found.twin_near[place] < SAME and self._is_mislabelled(doubted):
                self.like_wrong.setdefault(right, doubted)
            else:
                yield self._conflict("two_labels", doubted, right)

    def _mislabelled(self) -> Iterator[Finding]:
        has_own = self.found.own_place >= 0
        wrong = [place for place in np.flatnonzero(self.margin > DOUBTED).tolist() if self._is_mislabelled(place)]
        for place in sorted(wrong, key=lambda place: place in self.like_wrong):
            if place in self.reported or self.like_wrong.get(place) in self.reported:
                continue
            self.reported.add(place)
            other = int(self.found.other_place[place])
            label, likely = self.labels[place], self.labels[other]
            sure = self.margin[place] > SURE
            yield Finding(
                "mislabelled",
                "error" if sure else "warning",
                f"A picture of {label!r} looks {'much ' if sure else ''}more like {likely!r} than like the others of its label.",
                (label, likely),
                (self.items[place], self.items[other]),
                fixes.relabel_item(self.gallery, self.items[place], likely),
                float(self.found.other_near[place]),
            )
        for place in np.flatnonzero(has_own & (self.found.own_score < STRANGE)).tolist():
            if place in self.reported or self.counts[self.labels[place]] < 3:
                continue
            self.reported.add(place)
            own, label = int(self.found.own_place[place]), self.labels[place]
            yield Finding(
                "outlier",
                "warning",
                f"A picture of {label!r} is unlike all others of its label.",
                (label,),
                (self.items[place], self.items[own]),
                fixes.delete_item(self.gallery, self.items[place]),
                float(self.found.own_near[place]),
            )

    def _near_duplicates(self) -> Iterator[Finding]:
        """Of pictures that are alike, all but the first."""
        first: dict[int, int] = {}

        def root(place: int) -> int:
            while (above := first.get(place, place)) != place:
                place = above
            return place

        near = np.flatnonzero(self.found.own_near >= SAME).tolist()
        for place in near:
            one, two = root(place), root(int(self.found.own_place[place]))
            first[max(one, two)] = min(one, two)
        for place in near:
            other = int(self.found.own_place[place])
            if root(place) != place and place not in self.duplicates:
                yield self._redundant("near_duplicate", place, other, "is nearly the same as another of its label")

    def _labels(self) -> Iterator[Finding]:
        places: dict[str, list[int]] = defaultdict(list)
        for place, label in enumerate(self.labels):
            places[label].append(place)
        for label, hers in places.items():
            shown = tuple(self.items[place] for place in hers[:2])
            more = fixes.add_pictures(self.gallery, label)
            if len(hers) == 1:
                yield Finding("few_pictures", "info", f"{label!r} has one picture.", (label,), shown, more)
            elif len(hers) > 2 and (alike := _mean_similarity(self.embeddings[hers])) >= UNIFORM:
                report = f"All {len(hers)} pictures of {label!r} show nearly the same view."
                yield Finding("similar_pictures", "info", report, (label,), shown, more, alike)

    def _confusions(self) -> Iterator[Finding]:
        """What would be answered wrongly, were each item's picture asked without it; not what was told of already."""
        asked: Counter[str] = Counter()
        wrong: dict[tuple[str, str], list[int]] = defaultdict(list)
        for place in np.flatnonzero(self.found.own_place >= 0).tolist():
            if place in self.reported or place in self.like_wrong:
                continue
            asked[self.labels[place]] += 1
            if self.margin[place] > 0:
                wrong[self.labels[place], self.labels[int(self.found.other_place[place])]].append(place)
        for (label, answer), places in wrong.items():
            worst = max(places, key=lambda place: float(self.margin[place]))
            share = len(places) / asked[label]
            back = len(wrong.get((answer, label), ())) / max(asked[answer], 1)
            often = len(places) >= OFTEN_COUNT and share >= OFTEN
            yield Finding(
                "confusion",
                "warning" if often else "info",
                f"{len(places)} of {asked[label]} pictures of {label!r} would be taken for {answer!r}.",
                (label, answer),
                (self.items[worst], self.items[int(self.found.other_place[worst])]),
                self._merged(label, answer) if min(share, back) >= HALF else fixes.add_pictures(self.gallery, label),
                float(self.found.other_near[worst]),
                len(places),
                asked[label],
            )

    def _conflict(self, kind: Kind, place: int, other: int) -> Finding:
        """Two items of different labels that are one thing, the doubted one first."""
        self.reported.update((place, other))
        self.doubted.add(place)
        label, right = self.labels[place], self.labels[other]
        alike = float(self.embeddings[place] @ self.embeddings[other])
        both = min(self.shares.get((label, right), 0.0), self.shares.get((right, label), 0.0)) >= HALF
        merge = self.counts[label] == 1 or both
        if merge:
            self.merged.add(self._pair_of_labels(place, other))
        if kind == "same_picture":
            report = f"The same picture is {label!r} and {right!r}."
        else:
            report = f"Pictures of {label!r} and {right!r} show {'the same' if alike >= SAME else 'nearly the same'}."
        return Finding(
            kind,
            "error" if kind == "same_picture" or alike >= SAME else "warning",
            report,
            (label, right),
            (self.items[place], self.items[other]),
            self._merged(label, right) if merge else fixes.delete_item(self.gallery, self.items[place]),
            alike,
        )

    def _redundant(self, kind: Kind, place: int, other: int, what: str) -> Finding:
        return Finding(
            kind,
            "warning" if kind == "duplicate" else "info",
            f"A picture of {self.labels[place]!r} {what}.",
            (self.labels[place],),
            (self.items[place], self.items[other]),
            fixes.delete_item(self.gallery, self.items[place]),
            float(self.embeddings[place] @ self.embeddings[other]),
        )

    def _merged(self, label: str, other: str) -> fixes.Fix:
        """The label of fewer items goes into the other."""
        small, large = sorted((label, other), key=lambda one: (self.counts[one], one != label))
        return fixes.merge_labels(self.gallery, small, large)

    def _twin_shares(self) -> dict[tuple[str, str], float]:
        """The share of a label's items that have a twin in another label."""
        pairs = Counter(
            (self.labels[place], self.labels[int(self.found.twin_place[place])])
            for place in np.flatnonzero(self.found.twin_near >= TWINS).tolist()
        )
        return {(label, other): count / self.counts[label] for (label, other), count in pairs.items()}

    def _doubted_first(self, place: int, other: int) -> tuple[int, int]:
        """The one that fits its label less, or was added later, and the other."""
        score = self.found.own_score
        return (place, other) if (score[place], -place) < (score[other], -other) else (other, place)

    def _is_mislabelled(self, place: int) -> bool:
        has_own = self.found.own_place[place] >= 0
        return bool(has_own and self.margin[place] > DOUBTED and self.found.other_score[place] >= LIKELY)

    def _pair_of_labels(self, place: int, other: int) -> frozenset[str]:
        return frozenset((self.labels[place], self.labels[other]))


def _same_part(one: Item, two: Item) -> bool:
    """Whether two items of one file show the same of it; a part and the whole picture do not."""
    if one.box is None or two.box is None:
        return one.box == two.box
    x1, y1, x2, y2 = one.box
    u1, v1, u2, v2 = two.box
    shared = max(0, min(x2, u2) - max(x1, u1)) * max(0, min(y2, v2) - max(y1, v1))
    return shared >= SAME_BOX * ((x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared)


def _mean_similarity(rows: NDArray[np.float32]) -> float:
    """Of all pairs of two different ones of these rows, which are of unit length."""
    count = len(rows)
    return float((np.square(rows.sum(axis=0)).sum() - np.square(rows).sum()) / (count * (count - 1)))
