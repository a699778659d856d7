"""Pages of batches."""

from __future__ import annotations

import json

from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field

from contracts.batches import BatchPage, BatchStatus
from contracts.keys import Scope
from contracts.names import without_surrogates
from infra.errors.requests import InvalidCursor, InvalidRequest
from infra.jobs.batch_list import WantedBatches
from web.access.scopes import needs
from web.jobs import batches
from web.jobs.lists import MOST, Moment, seconds
from web.openapi.operations import operation
from web.requests.parsing import parse
from web.services import services

blueprint = batches.blueprint  # which gets the list here


class BatchesQuery(BaseModel):
    """Which batches to list; all that is given must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: BatchStatus | None = Field(None, description="Only batches that are so now.")
    gallery: str | None = Field(None, description="Only batches of this gallery.")
    created_after: Moment | None = Field(None, description="Only batches created at this time (ISO 8601) or later.")
    created_before: Moment | None = Field(None, description="Only batches created before this time.")
    limit: int = Field(50, ge=1, le=MOST, description="Batches in one page.")
    after: str | None = Field(None, description="The `next_after` of the page before.")


@blueprint.get("")
@needs(Scope.READ)
@operation(
    "listBatches",
    "Batches, the newest first.",
    {200: BatchPage},
    (InvalidRequest, InvalidCursor),
    query=BatchesQuery,
)
def index() -> Response:
    """A page of batches, without their jobs."""
    query = parse(BatchesQuery, request.args.to_dict())
    wanted = WantedBatches(
        status=query.status,
        gallery=query.gallery,
        after=None if query.created_after is None else seconds(query.created_after),
        before=None if query.created_before is None else seconds(query.created_before),
    )
    found = services().ledger.batch_listing.page(wanted, query.limit, query.after)
    report: BatchPage = {
        "batches": [batch.summary(request.script_root) for batch in found.batches],
        "next_after": found.next_after,
    }
    return Response(without_surrogates(json.dumps(report, ensure_ascii=False)), content_type="application/json")
