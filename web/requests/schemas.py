"""What a client may send, as pydantic models; web.requests.parsing reads it.

Every model refuses names that it does not know: a misspelt option that is silently ignored costs its user a day. The
options with their ranges are those of contracts.options.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, create_model, field_validator
from pydantic_core import PydanticCustomError

from contracts.jobs import Priority
from contracts.options import ENROLL_OPTIONS, RECOGNIZE_OPTIONS
from web.requests.members import (
    PRIORITY,
    Filters,
    ItemMetadata,
    JobMetadata,
    Names,
    NamesOfForm,
    PixelBox,
    Strict,
    Webhook,
    fields_of,
    given,
)

_Declared: Any = create_model("_Declared", __base__=Strict, **fields_of(RECOGNIZE_OPTIONS))
_DeclaredEnroll: Any = create_model("_DeclaredEnroll", __base__=Strict, **fields_of(ENROLL_OPTIONS))


class RecognizeOptions(_Declared):  # type: ignore[misc]  # its fields are declared in contracts.options
    """How a photo is recognised. What is left out takes the worker's own default."""


class RecognitionRequest(Strict):
    """The JSON form of a recognition request."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [given("gallery", "string"), given("galleries", "array")]})

    galleries: Names | None = Field(None, description="Instead of gallery: several, searched as one; 1 to 10.")
    gallery: str | None = Field(None, validate_default=True)
    image: dict[str, Any] = Field(description="One of base64, url and upload.")
    filter: Filters = Field(default_factory=list)
    options: RecognizeOptions = Field(default_factory=lambda: RecognizeOptions.model_validate({}))
    webhook: Webhook | None = None
    metadata: JobMetadata = Field(default_factory=dict)
    priority: Priority = PRIORITY

    @field_validator("gallery")
    @classmethod
    def _one_of_both(cls, gallery: str | None, info: ValidationInfo) -> str | None:
        """Said of `gallery` together with all other mistakes: a validator of the whole would come after them."""
        if "galleries" in info.data and (gallery is None) == (info.data["galleries"] is None):
            detail = "this field is required" if gallery is None else "give either gallery or galleries"
            raise PydanticCustomError("missing" if gallery is None else "both", detail)
        return gallery


class ComparisonRequest(Strict):
    """What an old answer is compared with: another gallery, another version of the same one, or the one in force."""

    gallery: str | None = Field(None, description="Another gallery; without it those that the old job searched.")
    version: int | None = Field(None, ge=1, description="A version that is kept; without it the one in force.")
    filter: Filters | None = Field(None, description="Instead of the old job's filter; an empty list: all items.")
    webhook: Webhook | None = None


class RecognitionFields(Strict):
    """The text fields of a multipart recognition request; the picture is the file `image`."""

    gallery: NamesOfForm = Field(description="Repeated for several galleries, searched as one; at most 10.")
    filter: Filters = Field(default_factory=list)
    options: RecognizeOptions = Field(default_factory=lambda: RecognizeOptions.model_validate({}))
    webhook_url: str | None = None
    metadata: JobMetadata = Field(default_factory=dict)
    priority: Priority = PRIORITY


class BatchFields(RecognitionFields):
    """The text fields of a batch, for all its photos; these are the files `images`."""

    gallery: str = Field(description="One alone.")  # type: ignore[assignment]


class PhotosRequest(Strict):
    """The JSON form of a batch: photos that stand in it, that were uploaded by links, or that the service is to fetch."""

    gallery: str
    images: list[dict[str, Any]] = Field(min_length=1, description="Of each one of base64, url and upload.")
    filter: Filters = Field(default_factory=list)
    options: RecognizeOptions = Field(default_factory=lambda: RecognizeOptions.model_validate({}))
    webhook: Webhook | None = None
    metadata: JobMetadata = Field(default_factory=dict)
    priority: Priority = PRIORITY


def _flag(sent: Any) -> Any:
    """A form has texts alone."""
    return {"true": True, "1": True, "false": False, "0": False}.get(sent, sent) if isinstance(sent, str) else sent


class EnrollmentFields(_DeclaredEnroll):  # type: ignore[misc]  # as above
    """The text fields of a multipart enrolment request; the pictures are the files `images`."""

    skip_near_duplicates: Annotated[bool, BeforeValidator(_flag)] = Field(
        False, description=ENROLL_OPTIONS["skip_near_duplicates"].description
    )
    activate: Annotated[bool, BeforeValidator(_flag)] = Field(True, description=ENROLL_OPTIONS["activate"].description)
    labels: list[str] = Field(
        min_length=1,
        description="Brought to Unicode NFC and trimmed; 1 to 200 characters, no control or invisible ones.",
    )
    webhook_url: str | None = None
    metadata: JobMetadata = Field(default_factory=dict)
    priority: Priority = PRIORITY
    item_metadata: list[ItemMetadata] = Field(
        default_factory=list,
        description="The items' own: a JSON list with an object for each picture in the same order, or one object for all.",
    )


class JobPhoto(Strict):
    """A recognition's photo, or a part of it."""

    job: str = Field(description="The recognition's id.")
    box: PixelBox | None = Field(None, description="The part; null: the whole photo.")


class EnrollmentRequest(Strict):
    """An enrolment in JSON: a part of a photo that was recognised."""

    from_: JobPhoto = Field(alias="from")
    label: str = Field(description="As `labels` of the form.")
    webhook: Webhook | None = None
    metadata: JobMetadata = Field(default_factory=dict)
    priority: Priority = PRIORITY
    item_metadata: ItemMetadata = Field(default_factory=dict, description="The item's own.")
    skip_near_duplicates: bool = Field(False, description=ENROLL_OPTIONS["skip_near_duplicates"].description)
    activate: bool = Field(True, description=ENROLL_OPTIONS["activate"].description)


class NamedItem(Strict):
    """A picture to add."""

    image: dict[str, Any] = Field(description="One of base64, url and upload.")
    label: str | None = Field(None, description="As `labels` of the form; null: that of the request.")
    metadata: ItemMetadata = Field(default_factory=dict, description="The item's own.")


class ItemsRequest(_DeclaredEnroll):  # type: ignore[misc]  # as above
    """An enrolment in JSON: pictures that stand in it, that were uploaded by links, or that the service is to fetch."""

    items: list[NamedItem] = Field(min_length=1)
    label: str | None = Field(None, description="Of all pictures that have none of their own.")
    webhook: Webhook | None = None
    metadata: JobMetadata = Field(default_factory=dict)
    priority: Priority = PRIORITY


class PictureQuery(BaseModel):
    """The query of a picture; numbers arrive as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int | None = Field(
        None, ge=16, le=4096, description="A JPEG of at most so many pixels across, upright; never enlarged."
    )


class StoredQuery(PictureQuery):
    """The query of a picture as it is stored."""

    link: bool = Field(
        False, description="1: instead of the picture a link to it that needs no key, `url` and `expires_at`."
    )


class PhotoQuery(StoredQuery):
    """The query of a job's photo."""

    annotated: bool = Field(
        False, description="1: with the answers drawn over it, as a JPEG of at most 2048 pixels across."
    )
