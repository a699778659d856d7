"""The members that several requests have, as types of pydantic's: options, pictures, metadata, names, filters, boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from contracts.filters import MOST_FILTERS
from contracts.filters import PATTERN as FILTER_PATTERN
from contracts.filters import RULE as FILTER_RULE
from contracts.metadata import RULE, mistakes
from contracts.options import FARTHEST_PX, MOST_BOXES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from contracts.options import Option


MOST_GALLERIES = 10  # of one request
FILE = {"type": "string", "contentMediaType": "application/octet-stream"}  # of a form
ONE_IMAGE = {"image": FILE | {"description": "The photo, one file."}}


def _four(box: Any) -> Any:
    """Raises an error that says what a box is: an error about the length of a list or its type would not."""
    if not isinstance(box, list) or len(box) != 4:
        given = f"this list has {len(box)}" if isinstance(box, list) else "this is not a list"
        report = f"a box is [x1, y1, x2, y2], four whole numbers of pixels; {given}"
        raise PydanticCustomError("box", "{detail}", {"detail": report})
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


def _checked_metadata(value: Any) -> Any:
    """Raises one error that names every entry which breaks the rule."""
    wrong = mistakes(value) if isinstance(value, dict) else {}  # of another type pydantic says what it should be
    if wrong:
        report = "; ".join(f"{name}: {why}" if name else why for name, why in wrong.items())
        raise PydanticCustomError("metadata", "{detail}", {"detail": report})
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


def given(name: str, kind: str) -> dict[str, Any]:
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


# The pattern is reported alone: what breaks it has a code of its own (web.requests.filters).
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


PixelBox = Annotated[
    list[int],
    Field(min_length=4, max_length=4, description="x1, y1, x2, y2 in whole pixels of the upright photo."),
    BeforeValidator(_four),
]
