"""What a gallery has in it that is better mended, by pages; each finding with the request that mends it."""

from __future__ import annotations

import hashlib

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field

from contracts.keys import Scope
from contracts.lint import KINDS, LEVELS, Kind, Level, Lint
from infra.errors.galleries import GalleryBusy, VersionNotFound
from infra.errors.requests import InvalidCursor, InvalidRequest
from infra.galleries.findings import WITHOUT_DETECTOR, counted
from web.access.scopes import needs
from web.galleries.galleries import read_cursor
from web.openapi.operations import GALLERY, operation
from web.requests.parsing import parse
from web.services import services

blueprint = Blueprint("lint", __name__, url_prefix="/v1/galleries")


class LintQuery(BaseModel):
    """The query of a page of findings; numbers arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: Level = Field("info", description="Only findings of this level and of worse ones.")
    kind: Kind | None = Field(None, description="Only findings of this kind.")
    limit: int = Field(100, ge=1, le=1000, description="Findings in one page.")
    after: str | None = Field(None, description="The `next_after` of the page before.")
    version: int | None = Field(None, ge=1, description="A version other than the current one.")


@blueprint.get("/<name>/lint")
@needs(Scope.READ)
@operation(
    "lintGallery",
    "What is better mended: wrong labels, duplicates, outliers, confusions; each with the request that mends it.",
    {200: Lint, 304: None},
    (*GALLERY, GalleryBusy, VersionNotFound, InvalidRequest, InvalidCursor),
    query=LintQuery,
    headers=("If-None-Match",),
)
def lint(name: str) -> Response:
    """One page of a version's findings. The cursor holds on to the version, as that of items does."""
    query = parse(LintQuery, request.args.to_dict())
    version, start = read_cursor(query.after) if query.after is not None else (query.version, 0)
    service = services()
    manifest = service.galleries.manifest(name, version)
    report = service.linter.report(manifest)
    least = LEVELS.index(query.level)
    kinds = KINDS if query.kind is None else (query.kind,)
    shown = [one for one in report.findings if LEVELS.index(one.level) <= least and one.kind in kinds]
    end = start + query.limit
    levels, counts = counted(report.findings)
    told: Lint = {
        "gallery": name,
        "version": manifest.version,
        "item_count": manifest.item_count,
        "checked_items": report.checked,
        "complete": report.complete,
        "levels": levels,
        "kinds": counts,
        "findings": [one.to_dict(name, request.script_root) for one in shown[start:end]],
        "skipped": [{"kind": "several_objects", "reason": WITHOUT_DETECTOR}],
        "next_after": f"v{manifest.version}.{end}" if end < len(shown) else None,
    }
    response = jsonify(told)
    response.headers["Cache-Control"] = "private, no-cache"
    response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32])
    response.make_conditional(request)
    return response
