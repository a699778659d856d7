"""What a client may send about galleries: their making and index, corrections, feedback, and the queries of their pages."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from contracts.filters import MOST_FILTERS
from contracts.filters import RULE as FILTER_RULE
from contracts.indexes import MOST_RERANK, RERANK, DistType, IndexChoice, IndexMethod
from contracts.metadata import KEY
from web.requests.members import OneFilter, PixelBox, Strict, given


class IndexRequest(Strict):
    """How a gallery is searched, by the names that PP-ShiTu has for it."""

    index_method: IndexMethod = Field(
        "auto", description="`auto`: by the number of items; `Milvus`: by the Milvus server of the service."
    )
    dist_type: DistType = Field("IP", description="`L2` orders as `IP` does; `hamming` searches binary codes.")
    rerank: int | None = Field(
        None,
        ge=0,
        le=MOST_RERANK,
        description="With `hamming` alone: so many of the nearest codes are put in order by their embeddings; null: 100.",
    )

    fuse: bool = Field(
        False,
        description="Search one vector for each label, the mean of its pictures'. With `auto`, `Flat` or `hamming` alone.",
    )
    fuse_by: str | None = Field(
        None,
        pattern=f"^{KEY.pattern}$",
        description="With `fuse` alone: a name of items' metadata; those of a label with the same value are fused.",
    )

    @field_validator("dist_type")
    @classmethod
    def _of_floats(cls, dist_type: DistType, info: ValidationInfo) -> DistType:
        if dist_type == "hamming" and info.data.get("index_method") == "Milvus":
            raise PydanticCustomError("dist_type", "Milvus goes with IP or L2")
        return dist_type

    @field_validator("fuse")
    @classmethod
    def _without_index(cls, fuse: bool, info: ValidationInfo) -> bool:
        report = info.data
        indexed = report.get("index_method") in ("IVF", "HNSW32", "Milvus")
        if fuse and indexed and report.get("dist_type") in ("IP", "L2"):
            raise PydanticCustomError("fuse", "this goes with the index_method auto or Flat, or with hamming")
        return fuse

    @field_validator("fuse_by")
    @classmethod
    def _of_fused(cls, fuse_by: str | None, info: ValidationInfo) -> str | None:
        if fuse_by is not None and not info.data.get("fuse", True):
            raise PydanticCustomError("fuse_by", "this goes with fuse alone")
        return fuse_by

    @field_validator("rerank")
    @classmethod
    def _of_hamming(cls, rerank: int | None, info: ValidationInfo) -> int | None:
        if rerank is not None and info.data.get("dist_type", "hamming") != "hamming":
            raise PydanticCustomError("rerank", "this goes with the dist_type hamming alone")
        return rerank

    def choice(self) -> IndexChoice:
        """What a gallery keeps of it."""
        rerank = RERANK if self.rerank is None else self.rerank
        return IndexChoice(self.index_method, self.dist_type, rerank, self.fuse, self.fuse_by)


class GalleryRequest(Strict):
    """A gallery to create."""

    name: str = Field(description="Lower-case letters, digits, dots, dashes and underscores.")
    index: IndexRequest | None = Field(None, description="How it is searched; null: by the number of items.")
    embedder: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="The name or the digest of the workers' embedder that it belongs to; null: its first pictures decide, which are embedded with the default.",
    )


class GalleryChange(Strict):
    """What of a gallery is to be another."""

    index: IndexRequest = Field(description="How it is searched; what is left out takes its default.")


class VersionsQuery(BaseModel):
    """The query of a gallery's versions; a flag arrives as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    staged: bool | None = Field(
        None, description="true: only versions that never were in force; false: only the others."
    )


class LabelQuery(BaseModel):
    """Which labels to rename."""

    label: list[str]


class ItemCorrection(Strict):
    """The label that an item shall bear."""

    label: str


class LabelCorrection(Strict):
    """The name that a label shall have."""

    label: str
    merge: bool = Field(False, description="Whether labels become one where there is such a label already.")


class MoveRequest(Strict):
    """Which items go to which gallery: those of some ids, or all of a label."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [given("label", "string"), given("item_ids", "array")]})

    to: str = Field(description="The gallery that takes them; of the same embedder, or without items.")
    item_ids: list[str] | None = Field(None, min_length=1)
    label: str | None = None


class RestoreItemsRequest(Strict):
    """Which items come back: those of some ids, or all of a label."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [given("label", "string"), given("item_ids", "array")]})

    item_ids: list[str] | None = Field(None, min_length=1)
    label: str | None = None


class FeedbackRequest(Strict):
    """What somebody says of an answer."""

    box: PixelBox | None = Field(None, description="Of the answer, or drawn by hand; null: the whole photo.")
    verdict: Literal["right", "wrong", "ignore"]
    label: str | None = Field(None, description="The right label, where the answer is wrong or there was none.")


class FeedbackQuery(BaseModel):
    """The query of a page of feedback, or of a list made of all; numbers arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verdict: Literal["right", "wrong", "ignore"] | None = Field(None, description="Only feedback with this verdict.")
    limit: int = Field(100, ge=1, le=1000, description="Entries in one page.")
    after: str | None = Field(None, description="The `next_after` of the page before.")
    format: Literal["train", "eval", "coco"] | None = Field(
        None, description="A list of all boxes with feedback and their labels for training or evaluation, or COCO JSON."
    )
    holdout: bool | None = Field(
        None, description="With `format`: every fifth photo is in `eval` alone, the others in `train`."
    )


class LabelsQuery(BaseModel):
    """The query of a page of labels; numbers arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prefix: str = Field("", description="Only labels that begin so, without regard to case, accents and Unicode form.")
    limit: int = Field(100, ge=1, le=1000, description="Labels in one page.")
    after: str | None = Field(None, description="The `next_after` of the page before.")


class ItemsQuery(BaseModel):
    """The query of a page of items; numbers arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str | None = Field(None, description="Only items of this label.")
    like: str | None = Field(None, description="The id of an item: the others, the most similar to it first.")
    filter: list[OneFilter] = Field(
        default_factory=list, max_length=MOST_FILTERS, description=f"Only items that meet all of these: {FILTER_RULE}."
    )
    limit: int = Field(100, ge=1, le=1000, description="Items in one page.")
    after: str | None = Field(None, description="The `next_after` of the page before.")
    version: int | None = Field(None, ge=1, description="A version other than the current one.")
