"""The models' side of a worker process: its stores, its loaded networks and its galleries. Opened after fork, once.

A program must be used by one thread at a time (a shared predictor returns one caller's answer to another), so every
job borrows one of `concurrency` sets of programs and gives it back. A set has the default embedder; a gallery that was
made with another one gets that from `embedders`, for as long as the set is borrowed.
"""

from __future__ import annotations

import queue
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from infra.errors.galleries import EmbedderMismatch, EmbedderUnknown
from infra.galleries.milvus import open_milvus
from infra.galleries.segments import MAPPED
from infra.galleries.store import GalleryLock, GalleryStore
from infra.objects.opening import open_store
from infra.redis.client import open_client
from models import verification
from models.classifier import Classifier
from models.detector import Detector
from models.embedder import Embedder
from models.recognition.pipeline import Recognizer
from worker.answer_cache import AnswerCache
from worker.embedders import Embedders, open_embedders
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

    embedders: Embedders = field(default_factory=Embedders)  # further ones than the default
    _used: dict[str, Any] = field(default_factory=dict)  # those that were loaded, as results name them, by digest

    @property
    def default_digest(self) -> str:
        """That of the embedder of galleries that have none yet."""
        digest: str = self.models["embedder"]["digest"]
        return digest

    @contextmanager
    def programs(self, digest: str | None = None) -> Iterator[Programs]:
        """One set of programs for the calling thread alone, with the embedder of `digest`; waits if all are in use.

        A thread borrows one set at a time. Raises EmbedderMismatch for an embedder that is not here, ArtifactError, EngineError.
        """
        borrowed = self.idle.get()
        try:
            if digest is None or digest == self.default_digest:
                yield borrowed
                return
            if digest not in self.embedders:
                raise EmbedderMismatch("The embedder that is needed is none of those that this service runs.")
            with self.embedders.borrowed(digest) as embedder:
                self._used[digest] = used(embedder)
                recognizer = Recognizer(borrowed.detector, embedder, borrowed.recognizer.verifier)
                yield replace(borrowed, embedder=embedder, recognizer=recognizer)
        finally:
            self.idle.put(borrowed)

    def embedder_of(self, manifest: GalleryManifest) -> str:
        """The digest of the embedder that this gallery is searched with; of an empty one that belongs to none, the default's.

        Raises EmbedderMismatch for a gallery of an embedder that is not here.
        """
        digest = manifest.embedder_digest or self.default_digest
        if not self.has(digest):
            raise EmbedderMismatch(
                f"The gallery {manifest.name!r} was made with another embedder than this service runs: name that in "
                "SHITU_WORKER__EMBEDDERS, or embed the gallery again with one of the service's."
            )
        return digest

    def has(self, digest: str) -> bool:
        """Whether the embedder of this digest is here."""
        return digest == self.default_digest or digest in self.embedders

    def named(self, embedder: str) -> str:
        """The digest of the embedder of this name, folder or digest. Raises EmbedderUnknown."""
        default = self.models["embedder"]
        if embedder in (default["name"], default["digest"], self.settings.worker.embedder):
            return self.default_digest
        digest = self.embedders.digest_of(embedder)
        if digest is None:
            known = ", ".join([default["name"], *(one.name for one in self.embedders.known)])
            raise EmbedderUnknown(
                f"This service runs no embedder {embedder!r}, only {known}. SHITU_WORKER__EMBEDDERS names further ones."
            )
        return digest

    def models_with(self, digest: str) -> dict[str, Any]:
        """`models` with the embedder of `digest` in place of the default. Raises as `programs`."""
        if digest == self.default_digest:
            return self.models
        if digest not in self._used:
            with self.programs(digest):
                pass  # to be loaded is to be known
        return {**self.models, "embedder": self._used[digest]}


def open_runtime(settings: Settings, concurrency: int) -> Runtime:
    """Opens the stores and loads `concurrency` sets of programs. Raises ArtifactError, EngineError, ServiceError."""
    objects = open_store(settings.objects, settings.data_dir)
    store = GalleryStore(objects, GalleryLock(open_client(settings)), open_milvus(settings.milvus))
    loaded = [load_programs(settings.worker) for _ in range(concurrency)]
    idle: queue.LifoQueue[Programs] = queue.LifoQueue()
    for programs in loaded:
        idle.put(programs)
    features = ItemFeatures(store, objects, settings.images, FEATURE_CACHE_BYTES)
    cache = GalleryCache(store, GALLERY_CACHE_BYTES, features, settings.data_dir / MAPPED)
    answers = AnswerCache(settings.worker.cache_bytes, settings.jobs.retention_s)
    others = open_embedders(settings.worker, loaded[0].embedder.digest)
    return Runtime(settings, objects, store, cache, describe(loaded[0]), idle, answers, others)


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
