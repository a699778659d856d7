"""What clients of Paddle Serving's pipelines send and are answered over HTTP: lists of keys and of values.

Source: PaddleClas, deploy/paddleserving/recognition; the form is that of Paddle Serving's pipeline gateway.
"""

from __future__ import annotations

from typing import Any, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from contracts.jobs import described
from web.answers import FieldError
from web.requests.members import Strict


class PredictionRequest(Strict):
    """One photo: `{"key": ["image"], "value": ["<base64>"]}`. What else their clients may send has no effect."""

    key: list[str] = Field(min_length=1, description="The names of the values: `image`.")
    value: list[str] = Field(min_length=1, description="A value for each key: the picture's bytes in base64.")
    tensors: list[Any] = Field(default=[], max_length=0, description="Empty: pictures are sent as values.")
    name: str | None = Field(None, description="Accepted; the path says it.")
    method: str | None = Field(None, description="Accepted; the path says it.")
    logid: int | None = Field(None, description="Accepted; a request has its own id here.")
    clientip: str | None = Field(None, description="Accepted; not believed.")


class PredictionQuery(BaseModel):
    """Which gallery is searched."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    gallery: str | None = Field(
        None, min_length=1, description="The gallery; without it that of `SHITU_WEB__PADDLE_SERVING_GALLERY`."
    )


@described
class PredictionAnswer(TypedDict):
    """Their answer; `value` has one text, a list of dicts as Python writes it: `bbox`, `rec_docs`, `rec_scores`."""

    err_no: int
    err_msg: str
    key: list[str]
    value: list[str]
    tensors: list[str]


@described
class PredictionError(TypedDict):
    """Their answer where something is wrong: `err_no` is one of theirs, `code` is the service's own."""

    err_no: int
    err_msg: str
    key: list[str]
    value: list[str]
    tensors: list[str]
    code: str
    errors: NotRequired[list[FieldError]]


ANSWERED = "[{'bbox': [60, 90, 260, 420], 'rec_docs': 'cola', 'rec_scores': 0.91}]"
EXAMPLES: dict[str, Any] = {
    "PredictionRequest": {"key": ["image"], "value": ["aGVsbG8="]},
    "PredictionAnswer": {"err_no": 0, "err_msg": "", "key": ["result"], "value": [ANSWERED], "tensors": []},
    "PredictionError": {
        "err_no": 4000,
        "err_msg": "There is no gallery 'shop'.",
        "key": [],
        "value": [],
        "tensors": [],
        "code": "gallery_not_found",
    },
}
