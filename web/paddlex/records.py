"""What clients of PaddleX serving send and are answered, by the published schema of its pipelines.

Names and cases are theirs. Source: PaddleX 3, pipelines "general image recognition" and "image classification", serving.
"""

from __future__ import annotations

from typing import Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from contracts.jobs import described
from web.answers import FieldError
from web.requests.members import Strict

IMAGE: Any = Field(min_length=1, description="A URL, or the picture's bytes in base64.")
KEY: Any = Field(min_length=1, description="The `indexKey` of a build; it is a gallery's name.")
THRESHOLD: Any = Field(None, ge=0, le=1)


class ImageLabelPair(Strict):
    """One picture of an index."""

    image: str = IMAGE
    label: str = Field(min_length=1)


class IndexBuildRequest(Strict):
    """A new index."""

    imageLabelPairs: list[ImageLabelPair] = Field(min_length=1)  # noqa: N815 - theirs


class IndexAddRequest(IndexBuildRequest):
    """More pictures of an index."""

    indexKey: str = KEY  # noqa: N815


class IndexRemoveRequest(Strict):
    """Fewer pictures of an index."""

    ids: list[int] = Field(min_length=1, description="Of an `idMap`.")
    indexKey: str = KEY  # noqa: N815


class InferRequest(Strict):
    """A photo to recognise; without an `indexKey` its objects are detected and bear no labels."""

    image: str = IMAGE
    indexKey: str | None = Field(None, min_length=1, description="The index to search.")  # noqa: N815
    detThreshold: float | None = THRESHOLD  # noqa: N815
    recThreshold: float | None = Field(  # noqa: N815
        None, ge=-1, le=1, description="Least similarity; without it the gallery's probabilities decide."
    )
    hammingRadius: float | None = Field(None, description="Not done here: refused.")  # noqa: N815
    topk: int = Field(5, ge=1, le=100)


class ClassifyRequest(Strict):
    """A photo to classify."""

    image: str = IMAGE
    topk: int = Field(5, ge=1, le=100)


@described
class IndexResult(TypedDict):
    """An index as it is now."""

    indexKey: str
    idMap: dict[str, str]
    """The label of each id."""


@described
class PaddleXLabel(TypedDict):
    """A label and how similar its picture is."""

    label: str
    score: float


@described
class PaddleXObject(TypedDict):
    """An object; `recResults` is empty where nothing in the index is like it."""

    bbox: list[float]
    recResults: list[PaddleXLabel]
    score: float
    """Of the detector; 0 for the whole photo."""


@described
class InferResult(TypedDict):
    """The objects of a photo."""

    detectedObjects: list[PaddleXObject]


@described
class PaddleXCategory(TypedDict):
    """A class and how likely it is."""

    id: int
    name: str
    score: float


@described
class ClassifyResult(TypedDict):
    """The likeliest classes, best first."""

    categories: list[PaddleXCategory]


@described
class IndexAnswer(TypedDict):
    """What is answered about an index."""

    logId: str
    errorCode: int
    errorMsg: str
    result: IndexResult


@described
class PaddleXError(TypedDict):
    """What is answered where something is wrong; `errorCode` is the HTTP status, `code` is the service's own."""

    logId: str
    errorCode: int
    errorMsg: str
    code: str
    errors: NotRequired[list[FieldError]]


@described
class InferAnswer(TypedDict):
    """What is answered about a photo."""

    logId: str
    errorCode: int
    errorMsg: str
    result: InferResult


@described
class ClassifyAnswer(TypedDict):
    """What is answered about a photo's classes."""

    logId: str
    errorCode: int
    errorMsg: str
    result: ClassifyResult
