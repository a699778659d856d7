"""The models' side of a worker process: its stores, its loaded networks and its galleries. Opened after fork, once.

A program must be used by one thread at a time (a shared predictor returns one caller's answer to another), so every
job borrows one of `concurrency` sets of programs and gives it back.
"""

from __future__ import annotations

import queue
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra.errors.galleries import EmbedderMismatch
from infra.galleries.store import GalleryLock, GalleryStore
from infra.objects.opening import open_store
from infra.redis.client import open_client
from models import verification
from models.classifier import Classifier
from models.detector import Detector
from models.embedder import Embedder
from models.recognition.pipeline import Recognizer
from worker.answer_cache import AnswerCache
from worker.gallery_cache import GalleryCache
from worker.item_features import ItemFeatures
from worker.model_folders import folder_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.galleries.store import GalleryManifest
    from infra.objects.store import ObjectStore
    from infra.runtime.settings import Settings, WorkerSettings

GALLERY_CACHE_BYTES = 1 << 30
FEATURE_CACHE_BYTES = 1 << 29  # of 64,000 items, 32,000 of one gallery
MAPPED = "cache/galleries"  # below the data folder: what is mapped from a bucket
NO_MODEL = "none"


@dataclass(frozen=True)
class Programs:
    """The networks of one thread; `detector` and `classifier` are None where the settings say so."""

    detector: Detector | None
    embedder: Embedder
    recognizer: Recognizer
    classifier: Classifier | None = None


@dataclass(frozen=True)
class Runtime:
    """What recognitions and enrolments work with. `models` names them with their digests, for results and heartbeats."""

    settings: Settings
    objects: ObjectStore
    store: GalleryStore
    galleries: GalleryCache
    models: dict[str, Any]
    idle: queue.LifoQueue[Programs]
    answers: AnswerCache = field(default_factory=lambda: AnswerCache(0, 1.0))

    @contextmanager
    def programs(self) -> Iterator[Programs]:
        """One set of programs for the calling thread alone; waits if all are in use."""
        borrowed = self.idle.get()
        try:
            yield borrowed
        finally:
            self.idle.put(borrowed)

    def require_same_model(self, manifest: GalleryManifest) -> None:
        """Raises EmbedderMismatch for a gallery that another embedder made. An empty gallery belongs to none yet."""
        digest = self.models["embedder"]["digest"]
        if manifest.embedder_digest is not None and manifest.embedder_digest != digest:
            raise EmbedderMismatch(
                f"The gallery {manifest.name!r} was made with another embedder than this service runs; enrol it again."
            )


def open_runtime(settings: Settings, concurrency: int) -> Runtime:
    """Opens the stores and loads `concurrency` sets of programs. Raises ArtifactError, EngineError, ServiceError."""
    objects = open_store(settings.objects, settings.data_dir)
    store = GalleryStore(objects, lock=GalleryLock(open_client(settings)))
    loaded = [load_programs(settings.worker) for _ in range(concurrency)]
    idle: queue.LifoQueue[Programs] = queue.LifoQueue()
    for programs in loaded:
        idle.put(programs)
    features = ItemFeatures(store, objects, settings.images, FEATURE_CACHE_BYTES)
    cache = GalleryCache(store, GALLERY_CACHE_BYTES, features, settings.data_dir / MAPPED)
    answers = AnswerCache(settings.worker.cache_bytes, settings.jobs.retention_s)
    return Runtime(settings, objects, store, cache, describe(loaded[0]), idle, answers)


def load_programs(worker: WorkerSettings) -> Programs:
    """The networks that the settings name, loaded for one thread."""
    detector = None
    if worker.detector != NO_MODEL:
        detector = Detector(folder_of(worker.detector), worker.engine, worker.threads, worker.precision)
    embedder = Embedder(folder_of(worker.embedder), worker.engine, worker.threads, worker.precision)
    classifier = None
    if worker.classifier != NO_MODEL:
        classifier = Classifier(folder_of(worker.classifier), worker.engine, worker.threads, worker.precision)
    return Programs(detector, embedder, Recognizer(detector, embedder, verification), classifier)


def describe(programs: Programs) -> dict[str, Any]:
    """Names, digests and engines of the networks."""
    return {"detector": used(programs.detector), "embedder": used(programs.embedder)}


def used(network: Detector | Embedder | Classifier | None) -> dict[str, Any] | None:
    """A network by name and content, and what runs it."""
    if network is None:
        return None
    return {
        "name": network.name,
        "digest": network.digest,
        "engine": network.engine,
        "precision": network.precision,
    }
