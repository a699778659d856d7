"""`/shitu-index-build`, `-add`, `-remove`, `/shitu-infer` and `/image-classification`, as PaddleX serving answers them.

Each is a job that is waited for: what is accepted is in the ledger, and continues where the client gives up. An index is a
gallery whose name is its key. Errors are in their form, `errorCode` is the HTTP status; `code` is ours.
"""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, g, jsonify
from werkzeug.datastructures import FileStorage

from contracts.jobs import JobKind
from contracts.keys import Scope
from contracts.names import LabelRefused, clean_label
from infra.errors.galleries import GalleryNotFound, InvalidGalleryName, ItemNotFound
from infra.errors.jobs import AnswerLate, JobWithoutAnswer, ModelNotConfigured
from infra.errors.requests import InvalidRequest
from infra.galleries.staging import Stage
from infra.runtime import audit
from web.access.scopes import needs
from web.jobs import jobs
from web.jobs.photo_jobs import require_model
from web.openapi.operations import BODY, UPLOAD, operation
from web.paddlex.photo_job import URLS, bytes_of, ended, photo_job
from web.paddlex.records import (
    ClassifyAnswer,
    ClassifyRequest,
    IndexAddRequest,
    IndexAnswer,
    IndexBuildRequest,
    IndexRemoveRequest,
    InferAnswer,
    InferRequest,
    PaddleXError,
)
from web.requests import idempotency
from web.requests.import_uploads import Import, keep
from web.requests.json_body import sent_json
from web.requests.terms import read_terms
from web.services import services

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.galleries.store import Item
    from web.paddlex.records import ImageLabelPair

BITS = 48  # of an item's number: JSON of every language holds it
PROBLEM = "application/problem+json"

blueprint = Blueprint("paddlex", __name__)


@blueprint.post("/shitu-index-build")
@needs(Scope.MANAGE)
@operation(
    "paddlexIndexBuild",
    "Build an index (PaddleX serving).",
    {200: IndexAnswer},
    (*BODY, AnswerLate, JobWithoutAnswer),
    error_form=PaddleXError,
    body={"application/json": IndexBuildRequest},
)
def build() -> Response:
    """A new gallery of the pictures; its name is the key."""
    sent = sent_json(IndexBuildRequest)
    _check_labels(sent.imageLabelPairs)
    key = f"paddlex-{uuid.uuid4().hex}"
    services().galleries.create(key)
    _enrol(key, sent.imageLabelPairs, new=True)
    return _index(key)


@blueprint.post("/shitu-index-add")
@needs(Scope.MANAGE)
@operation(
    "paddlexIndexAdd",
    "Add pictures to an index (PaddleX serving).",
    {200: IndexAnswer},
    (*BODY, AnswerLate, JobWithoutAnswer, GalleryNotFound, InvalidGalleryName),
    error_form=PaddleXError,
    body={"application/json": IndexAddRequest},
)
def add() -> Response:
    """One new version with these pictures, too; what is there already stays one item."""
    sent = sent_json(IndexAddRequest)
    _check_labels(sent.imageLabelPairs)
    services().galleries.manifest(sent.indexKey)
    _enrol(sent.indexKey, sent.imageLabelPairs)
    return _index(sent.indexKey)


@blueprint.post("/shitu-index-remove")
@needs(Scope.MANAGE)
@operation(
    "paddlexIndexRemove",
    "Remove pictures of an index (PaddleX serving).",
    {200: IndexAnswer},
    (*BODY, GalleryNotFound, InvalidGalleryName, ItemNotFound),
    error_form=PaddleXError,
    body={"application/json": IndexRemoveRequest},
)
def remove() -> Response:
    """One new version without them. Raises ItemNotFound that names the ids which are none."""
    sent = sent_json(IndexRemoveRequest)
    found = {number_of(item): item.id for item in _items(sent.indexKey)}
    if missing := sorted(set(sent.ids) - found.keys()):
        raise ItemNotFound(f"The index {sent.indexKey!r} has no id {', '.join(map(str, missing))}.")
    services().galleries.remove(sent.indexKey, item_ids=tuple(found[one] for one in dict.fromkeys(sent.ids)))
    return _index(sent.indexKey)


@blueprint.post("/shitu-infer")
@needs(Scope.RECOGNIZE)
@operation(
    "paddlexInfer",
    "Recognise what is in a photo (PaddleX serving).",
    {200: InferAnswer},
    (*UPLOAD, AnswerLate, JobWithoutAnswer, ModelNotConfigured),
    error_form=PaddleXError,
    body={"application/json": InferRequest},
)
def infer() -> Response:
    """All objects, each with its `topk` labels; no object suppresses another, and the photo stands in where there is none."""
    sent = sent_json(InferRequest)
    if sent.hammingRadius is not None:
        detail = "not done here: leave it out; `recThreshold` decides"
        raise InvalidRequest(f"hammingRadius: {detail}.", errors=[{"pointer": "/hammingRadius", "detail": detail}])
    options: dict[str, Any] = {} if sent.detThreshold is None else {"detection_threshold": sent.detThreshold}
    if sent.indexKey is None:
        result = photo_job(JobKind.DETECTION, sent.image, {"options": options})
        found = [_object(one["box"], [], one["confidence"]) for one in result["detections"]]
        return _answer({"detectedObjects": found})
    services().galleries.manifest(sent.indexKey)
    options |= {"top_k": sent.topk, "suppression_iou": 1.0}
    if sent.recThreshold is not None:
        options["similarity_threshold"] = sent.recThreshold
    result = photo_job(JobKind.RECOGNITION, sent.image, {"gallery": sent.indexKey, "options": options})
    known = [_object(one["box"], one["matches"], one["confidence"]) for one in result["recognitions"]]
    rest = [_object(one["box"], [], one["confidence"]) for one in result["dropped"] if one["source"] == "detection"]
    return _answer({"detectedObjects": known + rest})


@blueprint.post("/image-classification")
@needs(Scope.RECOGNIZE)
@operation(
    "paddlexClassify",
    "Classify a photo (PaddleX serving).",
    {200: ClassifyAnswer},
    (*UPLOAD, AnswerLate, JobWithoutAnswer, ModelNotConfigured),
    error_form=PaddleXError,
    body={"application/json": ClassifyRequest},
)
def classify() -> Response:
    """The likeliest classes of the whole photo."""
    sent = sent_json(ClassifyRequest)
    require_model("classifier")
    result = photo_job(JobKind.CLASSIFICATION, sent.image, {"options": {"top_k": sent.topk}})
    classes = result["classifications"][0]["classes"]
    report = [
        {"id": one["class_id"], "name": one["label"] or str(one["class_id"]), "score": one["score"]} for one in classes
    ]
    return _answer({"categories": report})


@blueprint.after_request
def in_their_form(response: Response) -> Response:
    """A problem document as their errors are; the status stays."""
    if response.mimetype == PROBLEM:
        problem = json.loads(response.get_data())
        report = {"logId": _log_id(), "errorCode": response.status_code, "errorMsg": problem["detail"]}
        report |= {name: problem[name] for name in ("code", "errors") if name in problem}
        response.set_data(json.dumps(report, ensure_ascii=False))
        response.content_type = "application/json"
    return response


def number_of(item: Item) -> int:
    """The id of an item in an `idMap`: of its content, so that it is the same in every version."""
    return int(item.id.removeprefix("itm_")[: BITS // 4], 16)


def _items(key: str) -> Sequence[Item]:
    store = services().galleries
    return store.items(key, store.manifest(key).version)


def _index(key: str) -> Response:
    return _answer({"indexKey": key, "idMap": {str(number_of(item)): item.label for item in _items(key)}})


def _answer(result: dict[str, Any]) -> Response:
    return jsonify(logId=_log_id(), errorCode=0, errorMsg="Success", result=result)


def _log_id() -> str:
    return str(g.get("request_id", ""))


def _object(box: Sequence[float], matches: Sequence[dict[str, Any]], confidence: float | None) -> dict[str, Any]:
    labels = [{"label": one["label"], "score": one["similarity"]} for one in matches]
    return {"bbox": [float(side) for side in box], "recResults": labels, "score": confidence or 0.0}


def _check_labels(pairs: Sequence[ImageLabelPair]) -> None:
    """Raises InvalidRequest that names every label and every picture that can't be one."""
    errors = []
    for at, pair in enumerate(pairs):
        try:
            clean_label(pair.label)
        except LabelRefused as error:
            errors.append({"pointer": f"/imageLabelPairs/{at}/label", "detail": str(error)})
        if not pair.image.startswith(URLS) and bytes_of(pair.image) is None:
            errors.append({"pointer": f"/imageLabelPairs/{at}/image", "detail": "is neither a URL nor base64"})
    if errors:
        report = "; ".join(f"{one['pointer'].removeprefix('/')}: {one['detail']}" for one in errors)
        raise InvalidRequest(report, errors=errors)


def _enrol(key: str, pairs: Sequence[ImageLabelPair], *, new: bool = False) -> None:
    """An import job of the pictures, waited for; a `new` gallery goes if none can be used. Raises JobWithoutAnswer where one can't be used: theirs does so, too."""
    rows, archive = [], io.BytesIO()
    with zipfile.ZipFile(archive, "w") as pictures:
        for at, pair in enumerate(pairs):
            source = pair.image
            if not source.startswith(URLS):
                source = f"{at}.img"
                pictures.writestr(source, bytes_of(pair.image) or b"")
            rows.append(f"{source}\t{clean_label(pair.label)}\n")
    files = [_file("labels.tsv", "".join(rows).encode()), _file("pictures.zip", archive.getvalue())]
    job_id = idempotency.new_id_of(JobKind.IMPORT.prefix)
    sent = Import(files, ["labels.tsv", "pictures.zip"], None, None, True, "whole", "\t", None)
    requested = {
        "gallery": key, "files": keep(Stage(services().objects, job_id), sent), "source": None, "list": None,
        "delimiter": sent.delimiter, "crop": sent.crop, "activate": True,
    }  # fmt: skip
    job = jobs.create(JobKind.IMPORT, requested, terms=read_terms(), job_id=job_id)
    audit.accepted(key, job.id, len(files))
    result = ended(job)
    if rejected := result["rejected"]:
        report = "; ".join(f"imageLabelPairs/{one['line'] - 1}: {one['error']['message']}" for one in rejected)
        counts = result["counts"]
        if counts.get("rejected") == counts["total"]:
            if new:  # a client that tries again shall not leave an empty gallery each time
                services().galleries.delete(key)
            raise JobWithoutAnswer(f"None of the pictures could be used. {report}")
        raise JobWithoutAnswer(f"Not all pictures could be used; the others are in the index {key}. {report}")


def _file(name: str, data: bytes) -> FileStorage:
    return FileStorage(io.BytesIO(data), name)
