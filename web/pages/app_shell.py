"""The page as an app that is installed: its manifest, its service worker, and what it shows without a connection.

None of the three needs a key: a browser fetches them without the page's cookie, or before anybody has signed in. The
worker keeps the page's own files and the page for no connection, and nothing of what the API answers.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache

from flask import Blueprint, Response, render_template, request, url_for

from infra.errors.keys import HostUnknown
from web.access.scopes import open_to_all
from web.openapi.operations import operation
from web.pages import languages
from web.pages.icons import FOLDER, ICONS
from web.pages.page import page

SHELL = (".css", ".js", ".svg")
GROUND, ACCENT = "#f3f5f6", "#0f5f66"  # as in page.css
WORKER_POLICY = "default-src 'none'; connect-src 'self'"

blueprint = Blueprint("app_shell", __name__)


@blueprint.get("/manifest.webmanifest")
@open_to_all
@operation(
    "getManifest",
    "The page as an app: name, icons, where it starts.",
    {200: "application/manifest+json"},
    (HostUnknown,),
)
def manifest() -> Response:
    """For browsers that install it, in the reader's language."""
    language = languages.wanted(request)
    icons = [
        {
            "src": url_for("static", filename=name),
            "sizes": f"{side}x{side}",
            "type": "image/png",
            "purpose": "maskable" if maskable else "any",
        }
        for name, (side, maskable) in ICONS.items()
    ]
    report = {
        "id": url_for("page.show"),
        "name": "ShiTu",
        "short_name": "ShiTu",
        "description": languages.said(language, "app.description"),
        "lang": language,
        "start_url": url_for("page.show"),
        "scope": url_for("page.show"),
        "display": "standalone",
        "background_color": GROUND,
        "theme_color": ACCENT,
        "icons": [*icons, {"src": url_for("static", filename="icon.svg"), "sizes": "any", "type": "image/svg+xml"}],
    }
    response = Response(json.dumps(report, ensure_ascii=False), content_type="application/manifest+json; charset=utf-8")
    response.headers["Vary"] = "Accept-Language, Cookie"
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/service-worker.js")
@open_to_all
@operation("getServiceWorker", "The script that keeps the page's own files.", {200: "text/javascript"}, (HostUnknown,))
def worker() -> Response:
    """At the root of the service, wherever that lies: a worker answers for what is below it."""
    shell = [url_for("app_shell.offline"), *(url_for("static", filename=name) for name in _shell())]
    script = render_template("service-worker.js", shell=shell, offline=shell[0], version=_digest())
    response = Response(script, content_type="text/javascript; charset=utf-8")
    response.headers["Content-Security-Policy"] = WORKER_POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/offline")
@open_to_all
@operation("getOfflinePage", "What the app shows without a connection.", {200: "text/html"}, (HostUnknown,))
def offline() -> Response:
    """That there is no connection, and a way to try again."""
    return page("offline.html", "")


@cache
def _shell() -> list[str]:
    """The names of the page's own files."""
    return sorted(
        path.name for path in FOLDER.iterdir() if path.suffix in SHELL and not path.name.startswith("reference")
    )


@cache
def _digest() -> str:
    """Another one for other files: the worker is then another, and what the old one kept goes."""
    found = hashlib.sha256()
    for name in _shell():
        found.update((FOLDER / name).read_bytes())
    return found.hexdigest()[:16]
