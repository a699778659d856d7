"""What is different between two versions of a gallery."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field

from contracts.keys import Scope
from contracts.names import without_surrogates
from contracts.versions import ChangeKind, VersionDiff
from infra.errors.galleries import VersionNotFound
from infra.errors.requests import InvalidCursor, InvalidRequest
from infra.galleries.changes import difference, labels_of
from web.access.scopes import needs
from web.galleries.items import read_cursor
from web.openapi.operations import GALLERY, operation
from web.requests.parsing import parse
from web.services import services

if TYPE_CHECKING:
    from contracts.versions import ChangedItem
    from infra.galleries.files import Item

MOST_LABELS = 1000

blueprint = Blueprint("version_diff", __name__, url_prefix="/v1/galleries")


class DiffQuery(BaseModel):
    """What to compare with, and which changes; numbers arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    to: int | None = Field(None, ge=1, description="The other version; without it the current one.")
    kind: ChangeKind | None = Field(None, description="Only changes of this kind.")
    label: str | None = Field(None, description="Only changes of items that have or had this label.")
    limit: int = Field(100, ge=1, le=1000, description="Changes in one page.")
    after: str | None = Field(None, description="The `next_after` of the page before.")


@blueprint.get("/<name>/versions/<int:version>/diff")
@needs(Scope.READ)
@operation(
    "diffVersions",
    "What is different in another version, by pages.",
    {200: VersionDiff},
    (*GALLERY, VersionNotFound, InvalidRequest, InvalidCursor),
    query=DiffQuery,
)
def diff(name: str, version: int) -> Response:
    """From one version to another. The cursor holds on to the other one, as that of items does."""
    query = parse(DiffQuery, request.args.to_dict())
    to, start = read_cursor(query.after) if query.after is not None else (query.to, 0)
    store = services().galleries
    to = store.manifest(name, to).version
    before, after = store.items(name, version), store.items(name, to)
    found = difference(before, after)
    shown = [
        one
        for one in found.changes
        if query.kind in (None, one.kind)
        and (query.label is None or query.label in [item.label for item in (one.before, one.after) if item is not None])
    ]
    end = start + query.limit
    counts = found.counts()
    report: VersionDiff = {
        "gallery": name,
        "version": version,
        "to": to,
        "counts": {
            "removed": counts["removed"], "relabelled": counts["relabelled"], "moved": counts["moved"],
            "added": counts["added"], "unchanged": found.unchanged,
        },
        "labels": [
            {"label": label, "before": was, "after": now} for label, was, now in labels_of(before, after)[:MOST_LABELS]
        ] if start == 0 else [],
        "changes": [
            {"kind": one.kind, "sha256": one.item.sha256, "before": _reported(one.before), "after": _reported(one.after)}
            for one in shown[start:end]
        ],
        "next_after": f"v{to}.{end}" if end < len(shown) else None,
    }  # fmt: skip
    return Response(without_surrogates(json.dumps(report, ensure_ascii=False)), content_type="application/json")


def _reported(item: Item | None) -> ChangedItem | None:
    if item is None:
        return None
    return {"id": item.id, "label": item.label, "box": None if item.box is None else list(item.box)}
