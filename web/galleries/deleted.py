"""Deleted galleries as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import url_for
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from contracts.jobs import described
from infra.jobs.records import isoformat
from web.services import services

if TYPE_CHECKING:
    import infra.galleries.deleted


class DeletedLinks(TypedDict):
    """What can be done with it."""

    restore: str


@described
class DeletedGallery(TypedDict):
    """A gallery that was deleted and can be restored."""

    name: str
    generation: str
    """Distinguishes deleted galleries of one name."""
    version: int
    item_count: int
    embedder_digest: str | None
    deleted_at: str
    purge_at: str | None
    """From when on it can no longer be restored."""
    links: DeletedLinks


@described
class DeletedGalleryList(TypedDict):
    """The galleries that can be restored, in the order of their deletion."""

    galleries: list[DeletedGallery]


class GalleriesQuery(BaseModel):
    """The query of the list of galleries."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    deleted: bool = Field(False, description="Those that were deleted and can be restored, instead of those in force.")


class RestoreQuery(BaseModel):
    """Which of several deleted galleries of one name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    generation: str | None = Field(None, description="As listed; without it the one that was deleted last.")


def describe_deleted(one: infra.galleries.deleted.DeletedGallery) -> DeletedGallery:
    """A deleted gallery as JSON."""
    link = url_for("undo.restore_gallery", name=one.name, generation=one.generation)
    return {
        "name": one.name,
        "generation": one.generation,
        "version": one.version,
        "item_count": one.item_count,
        "embedder_digest": one.embedder_digest,
        "deleted_at": one.deleted_at,
        "purge_at": isoformat(one.deleted_s + services().settings.galleries.keep_deleted_s),
        "links": {"restore": link},
    }
