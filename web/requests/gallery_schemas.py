"""Requests about galleries themselves: their making, and how they are searched."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from contracts.indexes import MOST_RERANK, RERANK, DistType, IndexChoice, IndexMethod
from contracts.metadata import KEY
from web.requests.schemas import Strict


class IndexRequest(Strict):
    """How a gallery is searched, by the names that PP-ShiTu has for it."""

    index_method: IndexMethod = Field("auto", description="`auto`: by the number of items.")
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

    @field_validator("fuse")
    @classmethod
    def _without_index(cls, fuse: bool, info: ValidationInfo) -> bool:
        told = info.data
        if fuse and told.get("index_method") in ("IVF", "HNSW32") and told.get("dist_type") in ("IP", "L2"):
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


class GalleryChange(Strict):
    """What of a gallery is to be another."""

    index: IndexRequest = Field(description="How it is searched; what is left out takes its default.")
