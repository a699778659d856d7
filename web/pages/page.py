"""The pages for people. Each is a shell of words and places in the reader's language; its script fills it over the API."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, get_args

from flask import Blueprint, Response, render_template, request

from contracts.events import ENDS
from contracts.indexes import METHODS
from contracts.jobs import DeliveryStatus, JobKind, Status
from contracts.keys import Scope, allows
from contracts.lint import LEVELS
from contracts.options import RECOGNIZE_OPTIONS
from web.access import auth
from web.access.scopes import needs
from web.openapi.operations import operation
from web.pages import languages
from web.services import services

if TYPE_CHECKING:
    from typing import Any

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; manifest-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

blueprint = Blueprint("page", __name__)


@blueprint.get("/")
@needs(Scope.READ)
@operation("getPage", "The page for people: recognise photos.", {200: "text/html"})
def show() -> Response:
    """Photos in, answers over them, and their correction; with the ranges of the options."""
    return page("recognise.html", "recognise", options=RECOGNIZE_OPTIONS)


@blueprint.get("/galleries")
@needs(Scope.READ)
@operation("getGalleriesPage", "The page of all galleries.", {200: "text/html"})
def galleries() -> Response:
    """All galleries: make, open, delete."""
    return page("galleries.html", "galleries")


@blueprint.get("/galleries/<name>")
@needs(Scope.READ)
@operation("getGalleryPage", "The page of one gallery.", {200: "text/html"})
def gallery(name: str) -> Response:
    """One gallery's pictures, labels and versions. The script says if there is none of this name."""
    methods = [one for one in METHODS if one != "Milvus" or services().galleries.milvus is not None]
    return page("gallery.html", "galleries", gallery=name, index_methods=methods)


@blueprint.get("/galleries/<name>/lint")
@needs(Scope.READ)
@operation("getLintPage", "The page of a gallery's problems.", {200: "text/html"})
def lint(name: str) -> Response:
    """Findings with their pictures side by side, each fixed by one tap."""
    return page("lint.html", "galleries", gallery=name, levels=LEVELS)


@blueprint.get("/galleries/<name>/versions")
@needs(Scope.READ)
@operation("getVersionsPage", "The page of a gallery's versions side by side.", {200: "text/html"})
def versions(name: str) -> Response:
    """What was added, removed and relabelled between two versions; `from` and `to` are the script's to read."""
    return page("versions.html", "galleries", gallery=name)


@blueprint.get("/jobs")
@needs(Scope.READ)
@operation("getJobsPage", "The page of the jobs.", {200: "text/html"})
def jobs() -> Response:
    """What was requested, newest first."""
    return page("jobs.html", "jobs", statuses=get_args(Status))


@blueprint.get("/batches")
@needs(Scope.READ)
@operation("getBatchesPage", "The page of the batches.", {200: "text/html"})
def batches() -> Response:
    """Many photos at once: send them, and what became of those sent before."""
    return page("batches.html", "batches")


@blueprint.get("/batches/<batch_id>")
@needs(Scope.READ)
@operation("getBatchPage", "The page of one batch.", {200: "text/html"})
def batch(batch_id: str) -> Response:
    """Progress, answers, and the answers as files. The script says if there is none of this id."""
    return page("batch.html", "batches", batch=batch_id)


@blueprint.get("/webhooks")
@needs(Scope.READ)
@operation("getWebhooksPage", "The page of the webhook endpoints.", {200: "text/html"})
def webhooks() -> Response:
    """Endpoints: register, and see which of them take their messages."""
    return page("webhooks.html", "webhooks", scope=Scope.MANAGE.value, kinds=list(JobKind), ends=ENDS)


@blueprint.get("/webhooks/<webhook_id>")
@needs(Scope.READ)
@operation("getWebhookPage", "The page of one webhook endpoint.", {200: "text/html"})
def webhook(webhook_id: str) -> Response:
    """Test, secret, settings, and the log of messages. The script says if there is none of this id."""
    report = {"kinds": list(JobKind), "ends": ENDS, "delivery_statuses": get_args(DeliveryStatus)}
    return page("webhook.html", "webhooks", scope=Scope.MANAGE.value, webhook=webhook_id, **report)


@blueprint.get("/keys")
@needs(Scope.READ)
@operation("getKeysPage", "The page of the API keys.", {200: "text/html"})
def keys() -> Response:
    """Keys: list, make, revoke; for who may not, or where none are required, that this is so."""
    return page("keys.html", "keys", scope=Scope.ADMIN.value, scopes=[scope.value for scope in Scope])


@blueprint.get("/system")
@needs(Scope.READ)
@operation("getSystemPage", "The page of the service itself.", {200: "text/html"})
def system() -> Response:
    """Workers, queue, throughput, models."""
    return page("system.html", "system")


def page(template: str, here: str, **values: Any) -> Response:
    """A template in the reader's language, with the limits of this service. `here`: its entry in the navigation."""
    settings = services().settings
    limits, required, key = settings.web, bool(settings.keys.required), auth.key()
    held = list(Scope) if not required else [] if key is None else key.scopes
    language = languages.wanted(request)
    response = Response(
        render_template(
            template,
            here=here,
            t=partial(languages.said, language),
            language=language,
            languages=languages.NAMES,
            messages=languages.messages(language),
            cookie=languages.COOKIE,
            max_files=limits.max_files,
            max_bytes=limits.max_body_bytes,
            **{"required": required, "may": [scope.value for scope in Scope if allows(held, scope)], **values},
        )
    )
    response.headers["Content-Security-Policy"] = PAGE_POLICY
    response.headers["Content-Language"] = language
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-cache"
    response.headers["Vary"] = "Accept-Language, Cookie"
    return response
