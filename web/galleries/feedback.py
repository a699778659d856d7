"""Feedback on answers: right, wrong with the right label, or to be ignored; kept with the gallery, listed, and made lists of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, jsonify, request, url_for

from contracts.jobs import JobKind
from contracts.keys import Scope
from infra.errors.galleries import FeedbackNotFound
from infra.errors.jobs import JobUnfinished, JobWithoutAnswer
from infra.errors.photos import ObjectNotFound, PhotoNotFetched
from infra.errors.requests import InvalidBox, InvalidCursor, InvalidFeedback, InvalidRequest
from infra.galleries.feedback import PREFIX, GalleryFeedback, coco_of, held_out, list_of
from web import answers
from web.access.scopes import needs
from web.answers import FeedbackPage, JobFeedback
from web.jobs import jobs
from web.jobs.photos import keep, label_at, photo_of, require_box
from web.openapi.operations import BODY, GALLERY, JOB, RENDERING, operation
from web.pictures import ANY_IMAGE, stored
from web.requests import idempotency
from web.requests.gallery_schemas import FeedbackQuery, FeedbackRequest
from web.requests.json_body import sent_json
from web.requests.parsing import parse
from web.requests.schemas import PictureQuery
from web.services import services

if TYPE_CHECKING:
    from infra.galleries.feedback import Feedback
    from infra.jobs.records import Job

LIST = "text/tab-separated-values"

blueprint = Blueprint("feedback", __name__)


@blueprint.post(f"{JobKind.RECOGNITION.path}/<job_id>/feedback")
@needs(Scope.RECOGNIZE)
@operation(
    "createFeedback",
    "Say that an answer is right or wrong, and what is right.",
    {201: answers.Feedback},
    (
        *JOB, *BODY, *GALLERY, JobUnfinished, JobWithoutAnswer, InvalidBox, InvalidFeedback, ObjectNotFound,
        PhotoNotFetched,
    ),
    body={"application/json": FeedbackRequest},
    headers=("Idempotency-Key",),
)  # fmt: skip
def create(job_id: str) -> tuple[Response, int]:
    """Keeps the feedback and the photo with the gallery."""
    sent = sent_json(FeedbackRequest)
    label = None if sent.label is None else label_at(sent.label, "/label")
    photo = photo_of(job_id)
    result = photo.job.result
    if result is None or photo.size is None:
        raise JobWithoutAnswer(
            f"The job {job_id} has no answer: it {photo.job.status}.", job_status=str(photo.job.status)
        )
    box = None
    if sent.box is not None:
        require_box(sent.box, photo, "/box")
        box = (sent.box[0], sent.box[1], sent.box[2], sent.box[3])
    found = _at(result, sent.box, photo.size)
    answer = None if found is None else found.get("label")
    _require_sense(sent, label, answer)
    gallery = _gallery_of(photo.job, found)
    services().galleries.manifest(gallery)  # before the photo is kept
    right = answer if sent.verdict == "right" and label is None else label
    made_id = idempotency.new_id_of(PREFIX) if idempotency.read_key() is not None else None
    made = book().add(
        gallery,
        job_id,
        result["gallery"]["version"],
        box,
        sent.verdict,
        answer,
        right,
        keep(photo),
        photo.size,
        made_id,
    )
    return jsonify(describe(made)), 201


@blueprint.get(f"{JobKind.RECOGNITION.path}/<job_id>/feedback")
@needs(Scope.READ)
@operation("listJobFeedback", "What was said of a recognition.", {200: JobFeedback}, (*JOB, *GALLERY))
def of_job(job_id: str) -> Response:
    """All that was said of the job's answers."""
    job = jobs.find(JobKind.RECOGNITION, job_id)
    found = [one for name in jobs.galleries_of(job) for one in book().of_job(name, job_id)]
    return jsonify(feedback=[describe(one) for one in sorted(found, key=lambda one: one.id)])


@blueprint.get("/v1/galleries/<name>/feedback")
@needs(Scope.READ)
@operation(
    "listFeedback",
    "What was said of a gallery's answers: by pages, or as a list for training or evaluation.",
    {200: (FeedbackPage, LIST)},
    (*GALLERY, InvalidRequest, InvalidCursor),
    query=FeedbackQuery,
)
def of_gallery(name: str) -> Response:
    """A page of feedback, or with `format` a list of all its labelled boxes."""
    sent = request.args.to_dict()
    query = parse(FeedbackQuery, sent)
    if query.format is None:
        if query.holdout is not None:
            _refuse(["holdout"], "goes with format=train and format=eval")
        page = book().page(name, query.after, query.limit, query.verdict)
        return jsonify(
            gallery=name,
            feedback=[describe(one) for one in page.feedback],
            counts=page.counts,
            next_after=page.next_after,
        )
    _refuse([one for one in ("verdict", "limit", "after") if one in sent], "does not go with format: a list is whole")
    if query.format == "coco" and query.holdout is not None:
        _refuse(["holdout"], "goes with format=train and format=eval")
    latest = book().latest(name)
    if query.format == "coco":
        return Response(json.dumps(coco_of(latest), ensure_ascii=False), content_type="application/json")
    if query.holdout:
        kept = held_out(latest)
        latest = [one for one in latest if (one.image_key in kept) == (query.format == "eval")]
    return Response("".join(list_of(latest)), content_type=f"{LIST}; charset=utf-8")


@blueprint.get("/v1/galleries/<name>/feedback/<feedback_id>/image")
@needs(Scope.READ)
@operation(
    "getFeedbackImage",
    "The photo that the feedback is about, or a smaller one of it.",
    {200: ANY_IMAGE, 304: None},
    (*GALLERY, *RENDERING, FeedbackNotFound),
    query=PictureQuery,
    headers=("If-None-Match",),
)
def image(name: str, feedback_id: str) -> Response:
    """The photo, as it was sent; it is kept for as long as the feedback."""
    query = parse(PictureQuery, request.args.to_dict())
    return stored(book().find(name, feedback_id).image_key, query.width)


def book() -> GalleryFeedback:
    """The feedback of this application's galleries."""
    return GalleryFeedback(services().objects, services().galleries)


def describe(one: Feedback) -> answers.Feedback:
    """An entry of feedback as JSON."""
    return {
        "id": one.id,
        "job_id": one.job_id,
        "gallery": one.gallery,
        "version": one.version,
        "box": None if one.box is None else list(one.box),
        "verdict": one.verdict,
        "answer": one.answer,
        "label": one.label,
        "created_at": one.created_at,
        "image_key": one.image_key,
        "width": one.width,
        "height": one.height,
        "links": {"image": url_for("feedback.image", name=one.gallery, feedback_id=one.id)},
    }


def _at(result: dict[str, Any], box: list[int] | None, size: tuple[int, int]) -> dict[str, Any] | None:
    """What the answer has at the very box, recognised or dropped; without a box, of the whole photo."""
    wanted = [0, 0, *size] if box is None else box
    return next((one for one in (*result["recognitions"], *result["dropped"]) if one["box"] == wanted), None)


def _require_sense(sent: FeedbackRequest, label: str | None, answer: str | None) -> None:
    """Raises InvalidFeedback."""
    detail = ""
    if sent.verdict == "ignore" and label is not None:
        detail = "what is to be ignored has no label; leave it out"
    elif sent.verdict == "right" and answer is None and label is None:
        detail = "nothing is answered at this box; give the label that is right"
    elif sent.verdict == "right" and label not in (None, answer) and answer is not None:
        detail = f"the answer at this box is {answer!r}; if {label!r} is right, the answer is wrong"
    elif sent.verdict == "wrong" and label is not None and label == answer:
        detail = f"{label!r} is the answer at this box, so it can't be wrong"
    if detail:
        raise InvalidFeedback(f"label: {detail}", errors=[{"pointer": "/label", "detail": detail}])


def _gallery_of(job: Job, found: dict[str, Any] | None) -> str:
    """The gallery whose answer the feedback is about: of several, the one that the nearest item is in, else the first."""
    names = jobs.galleries_of(job)
    nearest = (found or {}).get("matches") or [{}]
    return str(nearest[0].get("gallery") or names[0])


def _refuse(names: list[str], why: str) -> None:
    if names:
        errors = [{"pointer": f"/{name}", "detail": f"this parameter {why}"} for name in names]
        raise InvalidRequest("; ".join(f"{name}: this parameter {why}" for name in names), errors=errors)
