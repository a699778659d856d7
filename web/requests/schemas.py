"""What a client may send, as pydantic models; web.requests.parsing reads it.

Every model refuses names that it does not know: a misspelt option that is silently ignored costs its user a day. The
options with their ranges are those of contracts.options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    field_validator,
)
from pydantic_core import PydanticCustomError

from contracts.filters import MOST_FILTERS
from contracts.filters import PATTERN as FILTER_PATTERN
from contracts.filters import RULE as FILTER_RULE
from contracts.jobs import Priority
from contracts.metadata import RULE, mistakes
from contracts.options import ENROLL_OPTIONS, FARTHEST_PX, MOST_BOXES, RECOGNIZE_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contracts.options import Option


MOST_GALLERIES = 10  # of one request
FILE = {"type": "string", "contentMediaType": "application/octet-stream"}  # of a form


def _four(box: Any) -> Any:
    """Raises an error that says what a box is: neither the length of a list nor its type tells that."""
    if not isinstance(box, list) or len(box) != 4:
        given = f"this list has {len(box)}" if isinstance(box, list) else "this is not a list"
        told = f"a box is [x1, y1, x2, y2], four whole numbers of pixels; {given}"
        raise PydanticCustomError("box", "{told}", {"told": told})
    return box


_CORNER = Annotated[int, Field(ge=-FARTHEST_PX, le=FARTHEST_PX)]
BOXES: Any = Annotated[
    list[Annotated[list[_CORNER], Field(min_length=4, max_length=4), BeforeValidator(_four)]],
    Field(min_length=1, max_length=MOST_BOXES),
]


class Strict(BaseModel):
    """Unknown names are refused; a number is not read from a string."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def fields_of(options: Mapping[str, Option]) -> dict[str, Any]:
    """Declared options as pydantic's fields."""
    found: dict[str, Any] = {}
    for one in options.values():
        kind = BOXES if one.boxes else one.annotation
        if not one.choices and not one.boxes and not one.flag:
            kind = Annotated[one.annotation, Field(ge=one.lowest, le=one.highest)]
        found[one.name] = (kind | None if one.nullable else kind, Field(one.default, description=one.description))
    return found


_Declared: Any = create_model("_Declared", __base__=Strict, **fields_of(RECOGNIZE_OPTIONS))
_DeclaredEnroll: Any = create_model("_DeclaredEnroll", __base__=Strict, **fields_of(ENROLL_OPTIONS))


class RecognizeOptions(_Declared):  # type: ignore[misc]  # its fields are declared in contracts.options
    """How a photo is recognised. What is left out takes the worker's own default."""


def _checked_metadata(value: Any) -> Any:
    """Raises one error that names every entry which breaks the rule."""
    wrong = mistakes(value) if isinstance(value, dict) else {}  # of another type pydantic says what it should be
    if wrong:
        told = "; ".join(f"{name}: {why}" if name else why for name, why in wrong.items())
        raise PydanticCustomError("metadata", "{told}", {"told": told})
    return value


JobMetadata = Annotated[
    dict[str, str], BeforeValidator(_checked_metadata), Field(description=f"Kept with the job and given back: {RULE}.")
]
PRIORITY: Any = Field("normal", description="Which of the waiting jobs is next: `high`, `normal`, or `low`.")
ItemMetadata = Annotated[dict[str, str], BeforeValidator(_checked_metadata)]


class ImageBase64(Strict):
    """A picture within the JSON."""

    base64: str = Field(min_length=1, description="The picture's bytes in standard base64.")
    name: str = Field("", description="A name to show with it.")


class ImageUrl(Strict):
    """A picture that the service fetches after it has answered."""

    url: str = Field(
        min_length=1,
        description="An http or https URL, never of a private address unless allowed by setting; or s3://bucket/key, of a bucket "
        "that a setting opens to requests.",
    )
    name: str = Field("", description="A name to show with it.")


class ImageUpload(Strict):
    """A picture that was sent by the link of an upload."""

    upload: str = Field(min_length=1, description="The `id` of the upload, of the same key.")
    name: str = Field("", description="A name to show with it; without one the upload's.")


class Webhook(Strict):
    """Where the finished job is sent."""

    url: str = Field(min_length=1, description="An http or https URL that takes a signed POST.")


def _given(name: str, kind: str) -> dict[str, Any]:
    """One of several members of which exactly one is given; null counts as left out."""
    return {"required": [name], "properties": {name: {"type": kind}}}


def _different(names: list[str]) -> list[str]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PydanticCustomError("twice", "{names} is named twice", {"names": ", ".join(twice)})
    return names


Names = Annotated[list[str], Field(min_length=1, max_length=MOST_GALLERIES), AfterValidator(_different)]
# No union: where none of its branches fits, pydantic complains of each, and names it within the place of the mistake.
NamesOfForm = Annotated[
    Names, BeforeValidator(lambda sent: [sent] if isinstance(sent, str) else sent, json_schema_input_type=str | Names)
]


# The pattern is told alone: what breaks it has a code of its own (web.requests.filters).
OneFilter = Annotated[str, WithJsonSchema({"type": "string", "pattern": FILTER_PATTERN})]
Filters = Annotated[
    list[OneFilter],
    Field(
        max_length=MOST_FILTERS,
        description=f"Only items whose metadata meets all of these are searched: {FILTER_RULE}.",
    ),
    BeforeValidator(
        lambda sent: [sent] if isinstance(sent, str) else sent,
        json_schema_input_type=OneFilter | Annotated[list[OneFilter], Field(max_length=MOST_FILTERS)],
    ),
]


class RecognitionRequest(Strict):
    """The JSON form of a recognition request."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [_given("gallery", "string"), _given("galleries", "array")]})

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
        """Said of `gallery` beside all other mistakes: a validator of the whole would come after them."""
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


def _flag(sent: Any) -> Any:
    """A form has texts alone."""
    return {"true": True, "1": True, "false": False, "0": False}.get(sent, sent) if isinstance(sent, str) else sent


class EnrollmentFields(_DeclaredEnroll):  # type: ignore[misc]  # as above
    """The text fields of a multipart enrolment request; the pictures are the files `images`."""

    skip_near_duplicates: Annotated[bool, BeforeValidator(_flag)] = Field(
        False, description=ENROLL_OPTIONS["skip_near_duplicates"].description
    )
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


PixelBox = Annotated[
    list[int],
    Field(min_length=4, max_length=4, description="x1, y1, x2, y2 in whole pixels of the upright photo."),
    BeforeValidator(_four),
]


class JobPhoto(Strict):
    """A recognition's photo, or a part of it."""

    job: str = Field(description="The recognition's id.")
    box: PixelBox | None = Field(None, description="The part; null: the whole photo.")


class EnrollmentRequest(Strict):
    """The JSON form of an enrolment: a part of a photo that was recognised."""

    from_: JobPhoto = Field(alias="from")
    label: str = Field(description="As `labels` of the form.")
    webhook: Webhook | None = None
    metadata: JobMetadata = Field(default_factory=dict)
    priority: Priority = PRIORITY
    item_metadata: ItemMetadata = Field(default_factory=dict, description="The item's own.")
    skip_near_duplicates: bool = Field(False, description=ENROLL_OPTIONS["skip_near_duplicates"].description)


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

    model_config = ConfigDict(json_schema_extra={"oneOf": [_given("label", "string"), _given("item_ids", "array")]})

    to: str = Field(description="The gallery that takes them; of the same embedder, or without items.")
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

    verdict: Literal["right", "wrong", "ignore"] | None = Field(None, description="Only judgements of this kind.")
    limit: int = Field(100, ge=1, le=1000, description="Judgements in one page.")
    after: str | None = Field(None, description="The `next_after` of the page before.")
    format: Literal["train", "eval", "coco"] | None = Field(
        None, description="A list of all judged boxes with their labels for training or evaluation, or COCO JSON."
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
    filter: list[OneFilter] = Field(
        default_factory=list, max_length=MOST_FILTERS, description=f"Only items that meet all of these: {FILTER_RULE}."
    )
    limit: int = Field(100, ge=1, le=1000, description="Items in one page.")
    after: str | None = Field(None, description="The `next_after` of the page before.")
    version: int | None = Field(None, ge=1, description="A version other than the current one.")


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
