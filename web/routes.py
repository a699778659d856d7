"""All routes, by the blueprints that have them."""

from __future__ import annotations

from functools import cache
from typing import Any

from flask import Flask

from web import health, system
from web.access import keys, signin
from web.galleries import (
    corrections,
    erasures,
    export,
    feedback,
    galleries,
    item_search,
    items,
    labels,
    lint,
    undo,
    version_diff,
)
from web.jobs import (
    batch_lists,
    classifications,
    comparisons,
    detections,
    direct_uploads,
    embeddings,
    enrollments,
    evaluations,
    imports,
    lints,
    recognitions,
    reembeddings,
)
from web.openapi import reference
from web.openapi.description import describe
from web.paddlex import routes as paddlex
from web.paddlex import serving as paddle_serving
from web.pages import app_shell, page
from web.webhooks import deliveries, endpoints, events

BLUEPRINTS = (
    recognitions.blueprint,
    comparisons.blueprint,
    galleries.blueprint,
    items.blueprint,
    item_search.blueprint,
    labels.blueprint,
    lint.blueprint,
    lints.blueprint,
    corrections.blueprint,
    undo.blueprint,
    export.blueprint,
    version_diff.blueprint,
    erasures.blueprint,
    feedback.blueprint,
    enrollments.blueprint,
    imports.of_gallery,
    imports.blueprint,
    evaluations.of_version,
    evaluations.blueprint,
    reembeddings.of_gallery,
    reembeddings.blueprint,
    detections.blueprint,
    embeddings.blueprint,
    classifications.blueprint,
    batch_lists.blueprint,
    direct_uploads.blueprint,
    direct_uploads.links,
    keys.blueprint,
    endpoints.blueprint,
    deliveries.blueprint,
    events.blueprint,
    paddlex.blueprint,
    paddle_serving.blueprint,
    health.blueprint,
    page.blueprint,
    app_shell.blueprint,
    signin.blueprint,
    reference.blueprint,
    system.blueprint,
)


def add_routes(app: Flask) -> None:
    """Gives `app` all routes."""
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)


@cache
def bare() -> Flask:
    """An application that knows the routes and can answer none: enough to describe them."""
    app = Flask("web")
    add_routes(app)
    return app


def description() -> dict[str, Any]:
    """The OpenAPI document, without a running service."""
    return describe(bare())
