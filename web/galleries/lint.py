"""The problems of a gallery, by pages; each finding with the request that fixes it.

A worker checks a version at its first request: that one makes the job, and those that follow meanwhile get the same job,
for its id follows from the version.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field

from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.lint import KINDS, LEVELS, Kind, Level, Lint
from infra.errors.galleries import VersionNotFound
from infra.errors.jobs import JobExpired, JobNotFound, JobWithoutAnswer
from infra.errors.requests import InvalidCursor, InvalidRequest
from infra.galleries.findings import WITHOUT_DETECTOR
from infra.galleries.lint_reports import LintReports, manifest_hash
from infra.jobs.records import ALPHABET
from infra.jobs.terms import USUAL
from web.access.scopes import needs
from web.galleries.items import read_cursor
from web.jobs import jobs
from web.openapi.operations import GALLERY, operation
from web.requests.parsing import parse
from web.requests.waiting import held, preferred_s
from web.services import services

if TYPE_CHECKING:
    from contracts.lint import Finding, Skipped
    from infra.galleries.store import GalleryManifest
    from infra.jobs.records import Job

blueprint = Blueprint("lint", __name__, url_prefix="/v1/galleries")


class LintQuery(BaseModel):
    """The query of a page of findings; numbers arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    level: Level = Field("info", description="Only findings of this level and of worse ones.")
    kind: Kind | None = Field(None, description="Only findings of this kind.")
    limit: int = Field(100, ge=1, le=1000, description="Findings in one page.")
    after: str | None = Field(None, description="The `next_after` of the page before.")
    version: int | None = Field(None, ge=1, description="A version other than the current one.")
    objects: bool = Field(
        False,
        description="true: pictures with several objects too, by the detector, which runs on each of them.",
    )


@blueprint.get("/<name>/lint")
@needs(Scope.READ)
@operation(
    "lintGallery",
    "The problems of a gallery: wrong labels, duplicates, outliers, confusions; each with the request that fixes it.",
    {200: Lint, 202: Lint, 304: None},
    (*GALLERY, VersionNotFound, JobWithoutAnswer, InvalidRequest, InvalidCursor),
    query=LintQuery,
    headers=("Prefer", "If-None-Match"),
)
def lint(name: str) -> Response:
    """One page of a version's findings, or how far they are. The cursor holds on to the version, as that of items does."""
    query = parse(LintQuery, request.args.to_dict())
    version, start = read_cursor(query.after) if query.after is not None else (query.version, 0)
    manifest = services().galleries.manifest(name, version)
    reports = LintReports(services().objects)
    waited = None
    findings = reports.find(manifest, objects=query.objects)
    if findings is None:
        job = job_of(manifest, objects=query.objects)
        with held(preferred_s()) as waited:
            if waited is not None:
                job = services().ledger.wait(job.id, waited)
        findings = reports.find(manifest, objects=query.objects)
        if findings is None:
            return jobs.report(_unfinished(manifest, job, query.objects), finished=False, waited=waited)
    least = LEVELS.index(query.level)
    kinds = KINDS if query.kind is None else (query.kind,)
    shown = [one for one in findings if LEVELS.index(one["level"]) <= least and one["kind"] in kinds]
    end = start + query.limit
    levels, by_kind = Counter(one["level"] for one in findings), Counter(one["kind"] for one in findings)
    report: Lint = {
        "gallery": name,
        "version": manifest.version,
        "item_count": manifest.item_count,
        "checked_items": manifest.item_count,
        "complete": True,
        "levels": {"error": levels["error"], "warning": levels["warning"], "info": levels["info"]},
        "kinds": {kind: by_kind[kind] for kind in KINDS if by_kind[kind]},
        "findings": [_rooted(one, request.script_root) for one in shown[start:end]],
        "skipped": _skipped(query.objects, reports, manifest),
        "next_after": f"v{manifest.version}.{end}" if end < len(shown) else None,
    }
    response = jsonify(report)
    response.headers["Cache-Control"] = "private, no-cache"
    response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32])
    response.make_conditional(request)
    return jobs.report(response, finished=True, waited=waited)


def job_of(manifest: GalleryManifest, *, objects: bool = False) -> Job:
    """The job that checks this version (`objects`: its pictures, too): the open one, a failed one tried again, or a new one."""
    ledger = services().ledger
    for turn in count():
        job_id = _job_id(manifest, turn, objects)
        try:
            job = ledger.get(job_id)
        except JobNotFound:
            requested = {
                "gallery": manifest.name,
                "version": manifest.version,
                **({"objects": True} if objects else {}),
            }
            job = jobs.create(JobKind.LINT, requested, terms=USUAL, job_id=job_id)
            jobs.publish(job)
        except JobExpired:
            continue
        if job.status == "failed":
            job = ledger.replay(job_id)
            jobs.publish(job)
        if not job.finished:  # else it was cancelled, or its findings are gone
            return job
    raise AssertionError("there is always a next one")


def _job_id(manifest: GalleryManifest, turn: int, objects: bool) -> str:
    """The same for all requests of this version; another one at each `turn`."""
    number = int(
        hashlib.sha256(f"{manifest_hash(manifest)} {turn}{' objects' if objects else ''}".encode()).hexdigest(), 16
    )
    return f"{JobKind.LINT.prefix}_{number & 7}" + "".join(ALPHABET[number >> shift & 31] for shift in range(3, 128, 5))


def _skipped(
    objects: bool, reports: LintReports | None = None, manifest: GalleryManifest | None = None
) -> list[Skipped]:
    """What was not looked for; of pictures, how many could not be looked at."""
    if not objects:
        return [{"kind": "several_objects", "reason": WITHOUT_DETECTOR}]
    counts = {} if reports is None or manifest is None else reports.counted_objects(manifest)
    unread = sum(count is None for count in counts.values())
    return (
        [{"kind": "several_objects", "reason": f"{unread} pictures are not there or cannot be read"}] if unread else []
    )


def _unfinished(manifest: GalleryManifest, job: Job, objects: bool) -> Response:
    """How far the check is. Raises JobWithoutAnswer if it has failed."""
    if job.status == "failed":
        why = "" if job.error is None else job.error["message"]
        raise JobWithoutAnswer(f"The gallery could not be checked: {why} Send the request again to try again.")
    report: Lint = {
        "gallery": manifest.name,
        "version": manifest.version,
        "item_count": manifest.item_count,
        "checked_items": int((job.progress or {}).get("done", 0)),
        "complete": False,
        "job": job.id,
        "levels": {"error": 0, "warning": 0, "info": 0},
        "kinds": {},
        "findings": [],
        "skipped": _skipped(objects),
        "next_after": None,
    }
    response = jsonify(report)
    response.status_code = 202
    response.headers["Cache-Control"] = "no-store"
    return response


def _rooted(finding: Finding, root: str) -> Finding:
    """With the paths as the client has them; `root` is where the service lies."""
    if not root:
        return finding
    items = [{**one, "links": {"image": root + one["links"]["image"]}} for one in finding["items"]]
    return {**finding, "items": items, "fix": {**finding["fix"], "path": root + finding["fix"]["path"]}}  # type: ignore[typeddict-item]
