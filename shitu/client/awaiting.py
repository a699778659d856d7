"""`AsyncClient`: the same calls as `Client`, to be awaited; lists are asynchronous iterators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

import anyio
import httpx

from contracts.imports import ImportJob
from contracts.photo_results import ClassificationJob, DetectionJob, EmbeddingJob
from contracts.reembeddings import ReembeddingJob
from contracts.results import EnrollmentJob, RecognitionJob
from contracts.versions import EvaluationJob
from shitu.client import batches, galleries, gallery_items, imports, jobs, keys, kinds, uploads, webhooks
from shitu.client.connection import Connection, failed, head_of, shown_as, timeout
from shitu.client.exchange import USUAL_RETRIES, Answer, Open, Pages, Request, Retries, Sleep, Steps, retried

J = TypeVar("J")  # a job's TypedDict
P = ParamSpec("P")
T = TypeVar("T")


class Resource:
    """A group of calls; `run` does the steps of one."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client


def _call(steps: Callable[P, Steps[T]]) -> Callable[Concatenate[Resource, P], Awaitable[T]]:
    @shown_as(steps)
    def call(self: Resource, /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return self._client.run(steps(*args, **kwargs))

    return call


def _pages(pages: Callable[P, Pages[T]]) -> Callable[Concatenate[Resource, P], AsyncIterator[T]]:
    @shown_as(pages)
    def call(self: Resource, /, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        return self._client.iterate(pages(*args, **kwargs))

    return call


def _job_call(
    steps: Callable[Concatenate[kinds.Kind[J], P], Steps[T]],
) -> Callable[Concatenate[Jobs[J], P], Awaitable[T]]:
    @shown_as(steps)
    def call(self: Jobs[J], /, *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return self._client.run(steps(self._kind, *args, **kwargs))

    return call


class Jobs(Resource, Generic[J]):
    """The calls that jobs of every kind have."""

    def __init__(self, client: AsyncClient, kind: kinds.Kind[J]) -> None:
        super().__init__(client)
        self._kind = kind

    get = _job_call(kinds.Kind.get)
    wait = _job_call(kinds.Kind.wait)
    cancel = _job_call(kinds.Kind.cancel)
    replay = _job_call(kinds.Kind.replay)
    replay_webhook = _job_call(kinds.Kind.replay_webhook)
    erase = _job_call(kinds.Kind.erase)


class PhotoJobs(Jobs[J]):
    """The same, of a photo."""

    photo = _job_call(kinds.Kind.photo)
    preview = _job_call(kinds.Kind.preview)


class Recognitions(PhotoJobs[RecognitionJob]):
    """Recognitions, and what was said of their answers."""

    create = _call(jobs.create_recognition)
    list = _pages(kinds.RECOGNITIONS.list)
    compare = _call(jobs.compare)
    give_feedback = _call(jobs.give_feedback)
    feedback = _call(jobs.feedback_of)


class Enrollments(Jobs[EnrollmentJob]):
    """Enrolments; `galleries.add` and `galleries.enroll_box` make them."""

    list = _pages(kinds.ENROLLMENTS.list)


class Imports(Jobs[ImportJob]):
    """Imports; `galleries.import_files` and `galleries.import_from` make them."""

    list = _pages(kinds.IMPORTS.list)
    report = _pages(imports.report)


class Evaluations(Jobs[EvaluationJob]):
    """Evaluations of versions; `galleries.evaluate` makes them."""

    list = _pages(kinds.EVALUATIONS.list)


class Reembeddings(Jobs[ReembeddingJob]):
    """Re-embeddings; `galleries.reembed` makes them."""

    list = _pages(kinds.REEMBEDDINGS.list)


class Detections(PhotoJobs[DetectionJob]):
    """Detections alone."""

    create = _call(jobs.create_detection)


class Embeddings(PhotoJobs[EmbeddingJob]):
    """Embeddings alone."""

    create = _call(jobs.create_embedding)


class Classifications(PhotoJobs[ClassificationJob]):
    """Classifications alone."""

    create = _call(jobs.create_classification)


class Galleries(Resource):
    """Galleries: made, filled, listed, corrected."""

    create = _call(galleries.create_gallery)
    choose_index = _call(galleries.choose_index)
    list = _call(galleries.list_galleries)
    get = _call(galleries.get_gallery)
    delete = _call(galleries.delete_gallery)
    erase = _call(galleries.erase_gallery)
    deleted = _call(galleries.list_deleted)
    restore = _call(galleries.restore_gallery)
    undo = _call(galleries.undo)
    restore_items = _call(galleries.restore_items)
    export = _call(galleries.export)
    lint = _call(galleries.lint)
    add = _call(gallery_items.add_pictures)
    search_items = _call(gallery_items.search_items)
    enroll_box = _call(gallery_items.enroll_box)
    import_files = _call(imports.import_files)
    import_from = _call(imports.import_from)
    items = _pages(gallery_items.list_items)
    item_picture = _call(gallery_items.item_picture)
    item_preview = _call(gallery_items.item_preview)
    labels = _pages(gallery_items.list_labels)
    versions = _call(galleries.list_versions)
    diff = _pages(galleries.diff)
    evaluate = _call(galleries.evaluate)
    reembed = _call(galleries.reembed)
    activate = _call(galleries.activate)
    rename_item = _call(gallery_items.rename_item)
    rename_label = _call(gallery_items.rename_label)
    move_items = _call(gallery_items.move_items)
    delete_item = _call(gallery_items.delete_item)
    delete_labels = _call(gallery_items.delete_labels)
    erase_item = _call(gallery_items.erase_item)
    erase_labels = _call(gallery_items.erase_labels)
    erasure = _call(galleries.get_erasure)
    feedback = _pages(galleries.list_feedback)
    feedback_list = _call(galleries.feedback_list)
    feedback_photo = _call(galleries.feedback_photo)


class Batches(Resource):
    """Many photos in one request."""

    create = _call(batches.create_batch)
    list = _pages(batches.list_batches)
    get = _call(batches.get_batch)
    wait = _call(batches.wait_for_batch)
    cancel = _call(batches.cancel_batch)
    results = _pages(batches.batch_results)
    csv = _call(batches.batch_csv)


class Uploads(Resource):
    """Pictures sent by a link, before the request that names them."""

    create = _call(uploads.create_upload)
    get = _call(uploads.get_upload)


class Webhooks(Resource):
    """Webhook endpoints and their deliveries."""

    create = _call(webhooks.create_webhook)
    list = _call(webhooks.list_webhooks)
    get = _call(webhooks.get_webhook)
    change = _call(webhooks.change_webhook)
    delete = _call(webhooks.delete_webhook)
    rotate = _call(webhooks.rotate_secret)
    test = _call(webhooks.send_test)
    deliveries = _pages(webhooks.list_deliveries)
    delivery = _call(webhooks.get_delivery)
    replay_delivery = _call(webhooks.replay_delivery)
    stop_delivery = _call(webhooks.stop_delivery)
    replay = _call(webhooks.replay_deliveries)


class Events(Resource):
    """The feed of events."""

    list = _pages(webhooks.list_events)
    follow = _pages(webhooks.follow_events)


class Keys(Resource):
    """API keys; for a key with the scope admin."""

    create = _call(keys.create_key)
    list = _call(keys.list_keys)
    revoke = _call(keys.revoke_key)


class AsyncClient(Resource):
    """A service at `server`, called from coroutines; every call is awaited. Raises ClientError, each of its kinds.

    `key`: what opens it, where it requires keys; None: the environment's SHITU_KEY. `retries`: how requests are repeated.
    `http`: an httpx.AsyncClient of the caller's own, for proxies, certificates or tests; it is not closed here. As an
    asynchronous context manager it closes its connections.
    """

    recognize = _call(jobs.recognize)
    system = _call(keys.system)

    def __init__(
        self,
        server: str,
        key: str | None = None,
        *,
        retries: Retries = USUAL_RETRIES,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(self)
        self._connection, self._retries = Connection.to(server, key), retries
        self._own = http is None
        self._http = http or httpx.AsyncClient(timeout=timeout())
        self.recognitions = Recognitions(self, kinds.RECOGNITIONS)
        self.enrollments = Enrollments(self, kinds.ENROLLMENTS)
        self.imports = Imports(self, kinds.IMPORTS)
        self.evaluations = Evaluations(self, kinds.EVALUATIONS)
        self.reembeddings = Reembeddings(self, kinds.REEMBEDDINGS)
        self.detections = Detections(self, kinds.DETECTIONS)
        self.embeddings = Embeddings(self, kinds.EMBEDDINGS)
        self.classifications = Classifications(self, kinds.CLASSIFICATIONS)
        self.galleries = Galleries(self)
        self.batches = Batches(self)
        self.uploads = Uploads(self)
        self.webhooks = Webhooks(self)
        self.events = Events(self)
        self.keys = Keys(self)

    @property
    def url(self) -> str:
        """Where the service is."""
        return self._connection.url

    async def run(self, steps: Steps[T]) -> T:
        """Does what the steps of a call request, and gives what they return."""
        steps = retried(steps, self._retries)
        stream: httpx.Response | None = None
        chunks: AsyncIterator[bytes] | None = None
        reply: Any = None
        error: Exception | None = None
        try:
            while True:
                effect = steps.send(reply) if error is None else steps.throw(error)
                reply = error = None
                try:
                    if isinstance(effect, Sleep):
                        await anyio.sleep(effect.seconds)
                    elif isinstance(effect, Request):
                        reply = await self._sent(effect)
                    elif isinstance(effect, Open):
                        if stream is not None:
                            await stream.aclose()
                        stream = await self._opened(effect.request)
                        reply = head_of(stream)
                        if reply.streaming:
                            chunks = stream.aiter_bytes()
                        else:
                            reply = Answer(reply.status, reply.headers, await stream.aread())
                    else:
                        reply = None if chunks is None else await anext(chunks, None)
                except httpx.TransportError as lost:
                    error = failed(lost, self.url)
        except StopIteration as ended:
            found: T = ended.value
            return found
        finally:
            steps.close()
            if stream is not None:
                await stream.aclose()

    async def iterate(self, pages: Pages[T]) -> AsyncIterator[T]:
        """The entries of all pages, each page fetched when it is reached."""
        after: str | None = None
        while True:
            entries, after = await self.run(pages.page(after))
            for entry in entries:
                yield entry
            if after is None:
                return

    async def close(self) -> None:
        """Closes the connections."""
        if self._own:
            await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _sent(self, request: Request) -> Answer:
        response = await self._http.send(self._http.build_request(**self._connection.request(request)))
        head = head_of(response)
        return Answer(head.status, head.headers, response.content)

    async def _opened(self, request: Request) -> httpx.Response:
        return await self._http.send(self._http.build_request(**self._connection.request(request)), stream=True)
