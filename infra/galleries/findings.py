"""A finding of the linter and the one call that mends it; as JSON by contracts.lint."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

from contracts import lint
from contracts.lint import KINDS, LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from contracts.lint import Kind, Level
    from infra.galleries.files import Item

WITHOUT_DETECTOR = (
    "the pictures are looked at only if that is asked for: ?objects=true, or `shitu gallery lint NAME --objects`"
)


@dataclass(frozen=True)
class Fix:
    """One request below /v1, and the words of the command that does the same."""

    method: Literal["DELETE", "PATCH", "POST"]
    path: str
    command: str
    body: dict[str, Any] | None = None
    form: bool = False  # whether the body goes as a form, with the caller's pictures

    def to_dict(self, root: str) -> lint.Fix:
        """As JSON; `root` is where the service lies."""
        kind: Literal["application/json", "multipart/form-data"] | None = None
        if self.body is not None:
            kind = "multipart/form-data" if self.form else "application/json"
        return {
            "method": self.method,
            "path": root + self.path,
            "content_type": kind,
            "body": self.body,
            "command": self.command,
        }


@dataclass(frozen=True)
class Finding:
    """What was found of which items, the doubted one first; numbers where the kind has some."""

    kind: Kind
    level: Level
    message: str
    labels: tuple[str, ...]
    items: tuple[Item, ...]
    fix: Fix
    similarity: float | None = None
    count: int | None = None
    of: int | None = None

    def to_dict(self, gallery: str, root: str = "") -> lint.Finding:
        """As JSON; `root` is where the service lies."""
        return {
            "kind": self.kind,
            "level": self.level,
            "message": self.message,
            "labels": list(self.labels),
            "items": [_item(gallery, item, root) for item in self.items],
            "similarity": None if self.similarity is None else round(self.similarity, 4),
            "count": self.count,
            "of": self.of,
            "fix": self.fix.to_dict(root),
        }


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """The worst level first, then by kind, the most similar or most frequent first."""
    return sorted(
        findings,
        key=lambda one: (
            LEVELS.index(one.level),
            KINDS.index(one.kind),
            -(one.count or 0) if one.kind == "confusion" else -(one.similarity or 0.0),
            one.labels,
            [item.id for item in one.items],
        ),
    )


def counted(findings: Sequence[Finding]) -> tuple[lint.LevelCounts, dict[str, int]]:
    """How many there are of each level, and of each kind that there are any of."""
    levels, kinds = Counter(one.level for one in findings), Counter(one.kind for one in findings)
    report: lint.LevelCounts = {"error": levels["error"], "warning": levels["warning"], "info": levels["info"]}
    return report, {kind: kinds[kind] for kind in KINDS if kinds[kind]}


def several_objects(gallery: str, item: Item, count: int) -> Finding:
    """A picture that shows so many objects."""
    report = f"A picture of {item.label!r} shows {count} objects; enrol the one that is meant alone."
    return Finding(
        "several_objects", "warning", report, (item.label,), (item,), delete_item(gallery, item), count=count
    )


def delete_item(gallery: str, item: Item) -> Fix:
    """The item goes."""
    return Fix(
        "DELETE",
        f"{_items(gallery)}/{quote(item.id, safe='')}",
        _command("remove", gallery, "--item", item.id),
    )


def relabel_item(gallery: str, item: Item, label: str) -> Fix:
    """The item bears another label."""
    return Fix(
        "PATCH",
        f"{_items(gallery)}/{quote(item.id, safe='')}",
        _command("rename", gallery, "--item", item.id, "--new-label", label),
        {"label": label},
    )


def merge_labels(gallery: str, label: str, into: str) -> Fix:
    """One label becomes another."""
    return Fix(
        "PATCH",
        f"{_items(gallery)}?{urlencode({'label': label}, quote_via=quote)}",
        _command("merge", gallery, "--label", label, "--into", into),
        {"label": into, "merge": True},
    )


def add_pictures(gallery: str, label: str) -> Fix:
    """More pictures of a label; they are the user's to take."""
    return Fix("POST", _items(gallery), _command("add", "FOLDER", "--gallery", gallery), {"labels": label}, form=True)


def _items(gallery: str) -> str:
    return f"/v1/galleries/{quote(gallery, safe='')}/items"


def _command(*words: str) -> str:
    return shlex.join(["shitu", "gallery", *words])


def _item(gallery: str, item: Item, root: str) -> lint.LintedItem:
    return {
        "id": item.id,
        "label": item.label,
        "box": None if item.box is None else list(item.box),
        "links": {"image": f"{root}{_items(gallery)}/{quote(item.id, safe='')}/image"},
    }
