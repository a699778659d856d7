"""Composes the HTTP application: opens what the settings name and puts the views together. Nothing happens at import.

`gunicorn 'web.app:create_app()'` runs it; the settings then come from the environment.
"""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path

from flask import Flask, request

import shitu.packages  # first: it makes sure that the packages below are ours
from contracts.errors import ServiceError
from infra.errors.service import ConfigurationError, RedisMisconfigured
from infra.galleries.metrics import GalleryCollector
from infra.galleries.milvus import open_milvus
from infra.galleries.store import GalleryLock, GalleryStore
from infra.jobs.ledger import JobLedger
from infra.jobs.load import ScalingCollector
from infra.jobs.photos import Photos
from infra.jobs.queue import open_queue
from infra.jobs.results import Results
from infra.jobs.uploads import Uploads
from infra.keys.limits import KeyLimits
from infra.keys.sessions import Sessions
from infra.keys.store import KeyStore
from infra.objects.local import LocalStore
from infra.objects.opening import open_store
from infra.objects.store import ObjectStore
from infra.redis.client import open_client
from infra.runtime.logs import configure_logging, fatal
from infra.runtime.machine_metrics import MachineCollector
from infra.runtime.settings import Settings, load_settings
from infra.runtime.tracing import open_tracing
from infra.stack.exposure import listening_on, refuse_default_secrets, refuse_unprotected
from infra.stack.installation import Ownership, claim, verify_or_exit
from web import access_log, empty, errors, health, metrics, tracing
from web.access import auth, cors, limits, signin
from web.access.own_pages import SAFE_METHODS
from web.access.proxy import Proxied
from web.galleries.item_lookup import ItemLookup
from web.requests import idempotency, import_uploads, multipart, unknown_names
from web.routes import add_routes
from web.services import EXTENSION, Services, services

MAX_FORM_TEXT_BYTES = 1024 * 1024  # all text fields of a form; pictures are not counted
HOLDING_FRACTION = 0.75  # of the threads may wait for jobs; the others always answer, health checks first
SPARE_FORM_PARTS = 1000
RENDERINGS = 2  # pictures decoded at a time, to be shown: each may take 200 MB, if only for a moment


def create_app(settings: Settings | None = None) -> Flask:
    """The application on `settings`; without them, on those of the environment. Raises ConfigurationError.

    Redis need not be up yet: requests that need it are answered 503 until it is.
    """
    if settings is None:
        try:
            settings = load_settings()
            configure_logging(settings.log)  # this process is the server's own, so is its logging
            refuse_unprotected(settings, listening_on())
            verify_or_exit(settings, shitu.packages.APP_LOAD_ERROR)
            open_tracing(settings, "shitu-web")
            return create_app(settings)
        except ServiceError as error:
            raise fatal(error.detail, shitu.packages.APP_LOAD_ERROR) from None
    refuse_unprotected(settings)
    refuse_default_secrets(settings, os.environ)
    app = Flask("web")
    app.url_map.merge_slashes = False  # `/v1/batches//results` leads nowhere, and is answered so as problem+json
    app.config["MAX_CONTENT_LENGTH"] = settings.web.max_body_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_FORM_TEXT_BYTES
    app.config["MAX_FORM_PARTS"] = 2 * settings.web.max_files + SPARE_FORM_PARTS
    app.extensions[EXTENSION] = open_services(settings)
    app.json.sort_keys = False  # type: ignore[attr-defined]  # DefaultJSONProvider has it, the base class does not
    multipart.install()
    empty.register(app)
    tracing.register(app)  # first: whatever is said of a request names its trace
    errors.register(app)
    metrics.register(app)
    access_log.register(app)  # first: a refused request has its line, too
    cors.register(app)
    auth.register(app)
    limits.register(app)
    signin.register(app)
    unknown_names.register(app)
    app.before_request(refuse_foreign_jobs)
    import_uploads.register(app)  # before anything reads a body: an import's may be larger
    idempotency.register(app)
    add_routes(app)
    app.wsgi_app = Proxied(app.wsgi_app, settings.web)  # type: ignore[method-assign]  # as Flask's documentation says
    return app


def open_services(settings: Settings) -> Services:
    """Connects lazily: a wrong address shows at the first use, a missing one here."""
    if settings.redis_url is None:
        raise ConfigurationError(["REDIS_URL: not set; `shitu up` starts a Redis of its own and sets it"])
    client = open_client(settings)
    objects = open_store(settings.objects, settings.data_dir)
    galleries = GalleryStore(objects, GalleryLock(client), open_milvus(settings.milvus))
    results = Results(client, objects, settings.jobs.result_bytes)
    ledger = JobLedger(client, settings.jobs, settings.webhooks, results=results)
    return Services(
        settings=settings,
        redis=client,
        ledger=ledger,
        objects=objects,
        photos=Photos(client, objects),
        uploads=Uploads(client, objects, settings.objects.link_s, settings.objects.upload_s),
        keys=KeyStore(client),
        key_limits=KeyLimits(client),
        sessions=Sessions(client, settings.keys.session_s),
        galleries=galleries,
        items=ItemLookup(galleries),
        queue=open_queue(settings),
        ownership=Ownership(partial(claim, client, objects, settings)),
        renderings=threading.BoundedSemaphore(RENDERINGS),
        holds=threading.BoundedSemaphore(max(1, int(settings.web.threads * HOLDING_FRACTION))),
        collectors=(
            ScalingCollector(ledger, settings.scaling),
            GalleryCollector(galleries),
            MachineCollector(written_folders(settings, objects)),
        ),
    )


def written_folders(settings: Settings, objects: ObjectStore) -> dict[str, Path]:
    """The folders whose disks /metrics reports: that of the data, and where it is another one that of the objects."""
    folders = {"data": settings.data_dir}
    if isinstance(objects, LocalStore) and not objects.folder.is_relative_to(settings.data_dir):
        folders["objects"] = objects.folder
    return folders


def refuse_foreign_jobs() -> None:
    """Started while Redis was away, only a request may find that the prefix is another installation's.

    Raises RedisMisconfigured before anything is written there.
    """
    if request.method not in SAFE_METHODS and services().ownership.foreign() is not None:
        raise RedisMisconfigured(f"{health.ANOTHER_STORE} Nothing was accepted.")
