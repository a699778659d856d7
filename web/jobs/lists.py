"""Pages of jobs: the query, and the answer. Each kind of job has its own route."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, ClassVar

from flask import Response, request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from contracts.jobs import Status
from contracts.names import readable_label, without_surrogates
from infra.errors.requests import InvalidRequest
from infra.jobs.listing import Wanted
from web.requests.parsing import parse
from web.services import services

if TYPE_CHECKING:
    from contracts.jobs import JobKind

METADATA = "metadata."
MOST = 200


def _moment(text: str) -> str:
    try:
        seconds(text)
    except (ValueError, OverflowError):
        report = "give a time as ISO 8601 has it, as 2026-01-31T12:00:00Z; without a zone it is UTC"
        raise PydanticCustomError("moment", "{detail}", {"detail": report}) from None
    return text


def seconds(text: str) -> float:
    """Since 1970. Raises ValueError, OverflowError."""
    at = datetime.fromisoformat(
        text.strip().replace(" ", "+") if text.strip().count(" ") == 1 and "T" in text else text
    )
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


Moment = Annotated[str, AfterValidator(_moment), Field(json_schema_extra={"format": "date-time"})]


class JobsQuery(BaseModel):
    """Which jobs to list. Besides these, `metadata.KEY=VALUE` as often as wanted; all must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    PREFIXES: ClassVar[dict[str, str]] = {
        METADATA: "Only jobs with this value under this name (`KEY`) in their metadata."
    }

    status: Status | None = Field(None, description="Only jobs that are so now.")
    gallery: str | None = Field(None, description="Only jobs of this gallery.")
    label: str | None = Field(None, description="Only recognitions that found this label; enrolments that bring it.")
    created_after: Moment | None = Field(None, description="Only jobs created at this time (ISO 8601) or later.")
    created_before: Moment | None = Field(None, description="Only jobs created before this time.")
    limit: int = Field(50, ge=1, le=MOST, description="Jobs in one page.")
    after: str | None = Field(None, description="The `next_after` of the page before.")


def page(kind: JobKind, name: str) -> Response:
    """The current request's page of jobs of a kind, as the member `name`. Raises InvalidRequest, InvalidCursor."""
    sent = request.args.to_dict()
    metadata = {key.removeprefix(METADATA): sent.pop(key) for key in list(sent) if key.startswith(METADATA)}
    if "" in metadata:
        detail = "name what to look for: metadata.KEY=VALUE"
        raise InvalidRequest(detail, errors=[{"pointer": f"/{METADATA}", "detail": detail}])
    query = parse(JobsQuery, sent)
    wanted = Wanted(
        status=query.status,
        gallery=query.gallery,
        label=None if query.label is None else readable_label(query.label),
        metadata=metadata,
        after=None if query.created_after is None else seconds(query.created_after),
        before=None if query.created_before is None else seconds(query.created_before),
    )
    found = services().ledger.listing.page(kind, wanted, query.limit, query.after)
    answer = {name: [job.to_dict(request.script_root) for job in found.jobs], "next_after": found.next_after}
    return Response(without_surrogates(json.dumps(answer, ensure_ascii=False)), content_type="application/json")
