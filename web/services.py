"""What the views work with: the settings and the opened ledger, stores and queue of this application."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import current_app

if TYPE_CHECKING:
    import redis
    from prometheus_client.registry import Collector

    from infra.galleries.store import GalleryStore
    from infra.jobs.ledger import JobLedger
    from infra.jobs.photos import Photos
    from infra.jobs.queue import Queue
    from infra.jobs.uploads import Uploads
    from infra.keys.limits import KeyLimits
    from infra.keys.sessions import Sessions
    from infra.keys.store import KeyStore
    from infra.objects.store import ObjectStore
    from infra.runtime.settings import Settings
    from infra.stack.installation import Ownership
    from web.galleries.item_lookup import ItemLookup

EXTENSION = "shitu"


@dataclass(frozen=True)
class Services:
    """Opened once by `web.app.create_app`; every member may be used by all threads."""

    settings: Settings
    redis: redis.Redis
    ledger: JobLedger
    objects: ObjectStore
    photos: Photos
    uploads: Uploads
    keys: KeyStore
    key_limits: KeyLimits
    sessions: Sessions
    galleries: GalleryStore
    items: ItemLookup
    queue: Queue
    ownership: Ownership
    renderings: threading.Semaphore  # one for each picture that is being decoded to be shown
    holds: threading.Semaphore  # one for each request that may keep its thread while it waits for a job
    collectors: tuple[Collector, ...] = ()  # of /metrics, besides the ledger's


def services() -> Services:
    """Those of the application that answers the current request."""
    return cast("Services", current_app.extensions[EXTENSION])
