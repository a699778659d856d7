"""What a client may send for a detection, an embedding or a classification: a photo, options and a webhook."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model

from contracts.jobs import Priority
from contracts.options import CLASSIFY_OPTIONS, DETECT_OPTIONS, EMBED_OPTIONS, NEAREST_OPTIONS
from web.requests.members import PRIORITY, Filters, JobMetadata, Strict, Webhook, fields_of

_Detect: Any = create_model("_Detect", __base__=Strict, **fields_of(DETECT_OPTIONS))
_Embed: Any = create_model("_Embed", __base__=Strict, **fields_of(EMBED_OPTIONS))
_Classify: Any = create_model("_Classify", __base__=Strict, **fields_of(CLASSIFY_OPTIONS))
_Nearest: Any = create_model("_Nearest", __base__=Strict, **fields_of(NEAREST_OPTIONS))


class DetectOptions(_Detect):  # type: ignore[misc]  # its fields are declared in contracts.options
    """How objects are detected."""


class EmbedOptions(_Embed):  # type: ignore[misc]  # as above
    """What is embedded."""


class ClassifyOptions(_Classify):  # type: ignore[misc]  # as above
    """What is classified."""


WHICH: Any = Field(
    None,
    min_length=1,
    max_length=1024,
    description="The name or the digest of one of the workers' embedders; null: the default.",
)


class NearestOptions(_Nearest):  # type: ignore[misc]  # as above
    """Which items are found."""


class PhotoRequest(Strict):
    """The JSON form of a request about one photo."""

    image: dict[str, Any] = Field(description="One of base64, url and upload.")
    webhook: Webhook | None = None
    metadata: JobMetadata = Field(default_factory=dict)
    priority: Priority = PRIORITY


class PhotoFields(Strict):
    """The text fields of a multipart request about one photo, the file `image`."""

    webhook_url: str | None = None
    metadata: JobMetadata = Field(default_factory=dict)
    priority: Priority = PRIORITY


class DetectionRequest(PhotoRequest):
    """A detection in JSON."""

    options: DetectOptions = Field(default_factory=lambda: DetectOptions.model_validate({}))


class DetectionFields(PhotoFields):
    """A detection's text fields."""

    options: DetectOptions = Field(default_factory=lambda: DetectOptions.model_validate({}))


class EmbeddingRequest(PhotoRequest):
    """An embedding in JSON."""

    embedder: str | None = WHICH
    options: EmbedOptions = Field(default_factory=lambda: EmbedOptions.model_validate({}))


class EmbeddingFields(PhotoFields):
    """An embedding's text fields."""

    embedder: str | None = WHICH
    options: EmbedOptions = Field(default_factory=lambda: EmbedOptions.model_validate({}))


class ClassificationRequest(PhotoRequest):
    """A classification in JSON."""

    options: ClassifyOptions = Field(default_factory=lambda: ClassifyOptions.model_validate({}))


class ClassificationFields(PhotoFields):
    """A classification's text fields."""

    options: ClassifyOptions = Field(default_factory=lambda: ClassifyOptions.model_validate({}))


class ItemSearchRequest(PhotoRequest):
    """A search for items in JSON."""

    filter: Filters = Field(default_factory=list)
    options: NearestOptions = Field(default_factory=lambda: NearestOptions.model_validate({}))


class ItemSearchFields(PhotoFields):
    """A search for items as text fields."""

    filter: Filters = Field(default_factory=list)
    options: NearestOptions = Field(default_factory=lambda: NearestOptions.model_validate({}))
