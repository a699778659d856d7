"""`/recognition/prediction`, as the PP-ShiTu pipeline of Paddle Serving answers over HTTP.

A photo is a recognition job with the option `compat`, waited for: once accepted it is in the ledger, and continues where the
client gives up. Their client sends JSON without saying so, so no media type is required. Errors keep their HTTP status;
`err_no` is one of theirs, `code` is ours.
"""

from __future__ import annotations

import json

from flask import Blueprint, Response, jsonify, request

from contracts.jobs import JobKind
from contracts.keys import Scope
from infra.errors.jobs import AnswerLate, JobWithoutAnswer
from infra.errors.requests import InvalidRequest
from web.access.scopes import needs
from web.openapi.operations import UPLOAD, operation
from web.paddlex.photo_job import bytes_of, photo_job
from web.paddlex.routes import PROBLEM
from web.paddlex.serving_records import PredictionAnswer, PredictionError, PredictionQuery, PredictionRequest
from web.requests.parsing import parse, parse_json
from web.requests.uploads import read_body
from web.services import services

IMAGE = "image"
# as their configurations have them: the thresholds of detections and of overlaps; that of similarities is the embedder's
OPTIONS = {"compat": "paddleclas", "detection_threshold": 0.2, "max_detections": 5, "suppression_iou": 0.05}
# Theirs by our HTTP status (`CustomExceptionCode` of Paddle Serving's pipeline): a wrong input, a time-out, no service, ...
ERR_NO = {404: 4000, 409: 9000, 501: 3000, 503: 3002, 504: 6000}
WRONG_INPUT, OTHER = 5000, 10000

blueprint = Blueprint("paddle_serving", __name__)


@blueprint.post("/recognition/prediction")
@needs(Scope.RECOGNIZE)
@operation(
    "paddleServingPrediction",
    "Recognise what is in a photo (Paddle Serving).",
    {200: PredictionAnswer},
    (*UPLOAD, AnswerLate, JobWithoutAnswer),
    error_form=PredictionError,
    body={"application/json": PredictionRequest},
    query=PredictionQuery,
)
def predict() -> Response:
    """The accepted answers, best first, as PaddleClas' procedure has them."""
    query = parse(PredictionQuery, request.args.to_dict())
    sent = parse(PredictionRequest, parse_json(read_body()))
    image = _image(sent)
    gallery = query.gallery or services().settings.web.paddle_serving_gallery
    if not gallery:
        detail = "no gallery is named; add ?gallery=NAME, or set SHITU_WEB__PADDLE_SERVING_GALLERY"
        raise InvalidRequest(f"{detail}.", errors=[{"pointer": "/gallery", "detail": detail}])
    services().galleries.manifest(gallery)
    job = {"gallery": gallery, "options": OPTIONS}
    found = photo_job(JobKind.RECOGNITION, image, job, f"/value/{sent.key.index(IMAGE)}")
    return jsonify(err_no=0, err_msg="", key=["result"], value=[str(found["paddleclas"])], tensors=[])


@blueprint.after_request
def in_their_form(response: Response) -> Response:
    """A problem document as their errors are; the status stays."""
    if response.mimetype == PROBLEM:
        problem = json.loads(response.get_data())
        status = response.status_code
        err_no = ERR_NO.get(status, WRONG_INPUT if status < 500 else OTHER)
        answer = {"err_no": err_no, "err_msg": problem["detail"], "key": [], "value": [], "tensors": []}
        answer |= {name: problem[name] for name in ("code", "errors") if name in problem}
        response.set_data(json.dumps(answer, ensure_ascii=False))
        response.content_type = "application/json"
    return response


def _image(sent: PredictionRequest) -> str:
    """The one picture. Raises InvalidRequest that names every mistake."""
    errors = []
    if len(sent.key) != len(sent.value):
        errors.append(("/value", f"must have a value for each key: {len(sent.key)}, not {len(sent.value)}"))
    if sent.key.count(IMAGE) != 1:
        errors.append(("/key", "must have 'image' once"))
    errors += [
        (f"/key/{at}", f"there is no {name!r}; 'image' is all") for at, name in enumerate(sent.key) if name != IMAGE
    ]
    for at, (name, value) in enumerate(zip(sent.key, sent.value, strict=False)):
        if name == IMAGE and not bytes_of(value):
            errors.append((f"/value/{at}", "is no picture in base64"))
    if errors:
        details = "; ".join(f"{pointer.removeprefix('/')}: {detail}" for pointer, detail in errors)
        raise InvalidRequest(details, errors=[{"pointer": pointer, "detail": detail} for pointer, detail in errors])
    return sent.value[sent.key.index(IMAGE)]
