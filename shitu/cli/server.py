"""A running service, called by its client (docs/client.md): what `--server URL` stands for.

Whatever goes wrong is one line: the service's own problem (RFC 9457) with its code, or that nothing of the kind answers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import click
import httpx

from shitu.client.blocking import Client
from shitu.client.connection import timeout
from shitu.client.errors import ClientError, JobFailed, ProblemError, WaitTimeout
from shitu.client.exchange import USUAL_RETRIES, call, once, read
from shitu.client.pictures import Upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from shitu.client.options import RecognitionOptions

WAIT_S = 20  # that an answer may wait for its job
JOB_WITHIN_S = 900.0
REEMBEDDED_WITHIN_S = 86_400.0
PAGE = 1000  # items

Json = dict[str, Any]
T = TypeVar("T")
PhotoKind = Literal["detections", "embeddings", "classifications"]


class ServerError(click.ClickException):
    """What the service refused, by its `code`, or why it could not be reached (`code` empty); `errors` name each fault."""

    def __init__(self, detail: str, code: str = "", errors: Sequence[Json] = ()) -> None:
        super().__init__(f"{detail} ({code})" if code else detail)
        self.detail, self.code, self.errors = detail, code, errors


class Server:
    """The service at `url`. Every method raises ServerError. May be used by several threads."""

    def __init__(self, url: str) -> None:
        # The first request is answered at once, or nothing listens; while a job is followed the service may be started again.
        http = httpx.Client(timeout=timeout())
        try:
            self._client = Client(url, retries=replace(USUAL_RETRIES, unreached=False), http=http)
            self._patient = Client(url, retries=replace(USUAL_RETRIES, attempts=20), http=http)
        except ValueError:
            raise click.UsageError(f"--server {url!r} is no address like http://127.0.0.1:8000") from None
        self.url = self._client.url
        if (context := click.get_current_context(silent=True)) is not None:
            context.call_on_close(http.close)

    def get(self, path: str, **query: Any) -> Json:
        """The JSON at `path`, below /v1."""
        return self._request("GET", path, query, headers=PREFER)

    def post(self, path: str, json: Any = None, **query: Any) -> Json:
        """What is answered to a POST of JSON."""
        unkeyed = path in {"/keys", "/webhooks"} or path.endswith("/rotate")  # what takes no Idempotency-Key
        return self._request("POST", path, query, json=json, headers={**PREFER, **once(None)}, repeatable=not unkeyed)

    def picture(self, path: str) -> bytes:
        """The bytes of the picture at `path`, below /v1."""
        return self._reported(lambda: self._client.run(read(path)))

    def patch(self, path: str, body: Json, **query: Any) -> Json:
        """Changes what is at `path`, and gives what is answered."""
        return self._request("PATCH", path, query, json=body, repeatable=False)

    def delete(self, path: str, **query: Any) -> Json:
        """Deletes what is at `path`, and gives what is answered: nothing, or the new version of a gallery."""
        return self._request("DELETE", path, query, repeatable=False)

    def recognized(
        self,
        photo: Path,
        data: bytes,
        gallery: Sequence[str],
        options: Mapping[str, Any],
        filters: Sequence[str] = (),
    ) -> Json:
        """The `result` of one photo."""
        chosen = cast("RecognitionOptions", options)
        upload = Upload(_file_name(photo), data)
        job = self._reported(lambda: self._client.recognitions.create(upload, gallery, chosen, filters=filters))
        return self._result(lambda: self._patient.recognitions.wait(job, timeout_s=JOB_WITHIN_S))

    def photo_result(self, kind: PhotoKind, photo: Path, data: bytes, **options: Any) -> Json:
        """The `result` of a detection, an embedding or a classification of one photo."""
        upload = Upload(_file_name(photo), data)
        made: dict[PhotoKind, tuple[Callable[[], Any], Any]] = {
            "detections": (lambda: self._client.detections.create(upload, **options), self._patient.detections),
            "embeddings": (lambda: self._client.embeddings.create(upload, **options), self._patient.embeddings),
            "classifications": (
                lambda: self._client.classifications.create(upload, **options),
                self._patient.classifications,
            ),
        }
        create, jobs = made[kind]
        job = self._reported(create)
        return self._result(lambda: jobs.wait(job, timeout_s=JOB_WITHIN_S))

    def recognized_at(
        self, url: str, gallery: Sequence[str], options: Mapping[str, Any], filters: Sequence[str] = ()
    ) -> Json:
        """The `result` of a photo that the service fetches itself."""
        chosen = cast("RecognitionOptions", options)
        job = self._reported(lambda: self._client.recognitions.create(url, gallery, chosen, filters=filters))
        return self._result(lambda: self._patient.recognitions.wait(job, timeout_s=JOB_WITHIN_S))

    def enrolled(
        self, gallery: str, pictures: Sequence[tuple[Path, str, bytes]], *, skip_near_duplicates: bool = False
    ) -> list[Json]:
        """What became of each of the pictures (file, label, bytes), in their order: `status`, and an `error` or none."""
        files = [Upload(_file_name(path), data) for path, _, data in pictures]
        labels = [label for _, label, _ in pictures]
        job = self._reported(
            lambda: self._client.galleries.add(gallery, files, labels, skip_near_duplicates=skip_near_duplicates)
        )
        items: list[Json] = self._result(lambda: self._patient.enrollments.wait(job, timeout_s=JOB_WITHIN_S))["items"]
        return items

    def made_gallery(self, name: str) -> None:
        """Makes the gallery, if there is none."""
        try:
            self.post("/galleries", json={"name": name})
        except ServerError as error:
            if error.code != "gallery_exists":
                raise

    def imported(
        self, begin: Callable[[Client], Any], progress: Callable[[Any], object], within_s: float
    ) -> tuple[Any, list[Any]]:
        """The `result` of the import that `begin` makes, and all its rejected lines."""
        job = self._reported(lambda: begin(self._client))
        result = self._result(lambda: self._patient.imports.wait(job, timeout_s=within_s, progress=progress))
        lines = self._patient.imports.report(job, status="rejected")
        rejected = []
        while (line := self._reported(lambda: next(lines, None))) is not None:
            rejected.append(dict(line))
        return result, rejected

    def evaluated(self, gallery: str, version: int, against: int | None) -> Json:
        """The `result` of an evaluation."""
        job = self._reported(lambda: self._client.galleries.evaluate(gallery, version, against))
        return self._result(lambda: self._patient.evaluations.wait(job, timeout_s=JOB_WITHIN_S))

    def reembedded(self, gallery: str, embedder: str, activate: bool, progress: Callable[[Any], object]) -> Json:
        """The `result` of a re-embedding."""
        job = self._reported(lambda: self._client.galleries.reembed(gallery, embedder, activate=activate))
        wait = self._patient.reembeddings.wait
        return self._result(lambda: wait(job, timeout_s=REEMBEDDED_WITHIN_S, progress=progress))

    def items(
        self, gallery: str, version: int | None, label: str | None, filters: Sequence[str] = ()
    ) -> Iterator[Json]:
        """The items of a gallery, page by page, all of one version."""
        items = self._client.galleries.items(gallery, label=label, filters=filters, version=version, page_size=PAGE)
        while (item := self._reported(lambda: next(items, None))) is not None:
            yield dict(item)

    def items_like(self, gallery: str, item: str, most: int, filters: Sequence[str], version: int | None) -> list[Json]:
        """At most so many items like one of them, the most similar first."""
        items = self._client.galleries.items(gallery, like=item, filters=filters, version=version, page_size=most)
        found: list[Json] = []
        while len(found) < most and (one := self._reported(lambda: next(items, None))) is not None:
            found.append(dict(one))
        return found

    def searched(
        self, gallery: str, picture: Path, data: bytes, most: int, filters: Sequence[str], version: int | None
    ) -> list[Json]:
        """At most so many items nearest to a picture, the most similar first."""
        upload = Upload(_file_name(picture), data)
        search = self._client.galleries.search_items
        job = self._reported(lambda: search(gallery, upload, limit=most, filters=filters, version=version))
        items: list[Json] = self._result(lambda: self._patient.embeddings.wait(job, timeout_s=JOB_WITHIN_S))["items"]
        return items

    def _result(self, wait: Callable[[], Any]) -> Json:
        """Of the job once it has ended; a service that is started again meanwhile resumes it."""
        job = self._reported(wait)
        if job["result"] is None:
            failed = JobFailed(job)
            raise ServerError((job["error"] or {}).get("message") or f"The job was {job['status']}.", failed.code)
        result: Json = job["result"]
        return result

    def _request(self, method: str, path: str, query: Mapping[str, Any], **how: Any) -> Json:
        return self._reported(lambda: self._client.run(call(method, path, query, **how))) or {}

    def _reported(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except ProblemError as error:
            raise ServerError(error.detail, error.code, [dict(one) for one in error.errors]) from error
        except WaitTimeout as error:
            detail = f"The job {error.job['id']} has not ended within {JOB_WITHIN_S:.0f} s; is a worker running?"
            raise ServerError(detail) from error
        except ClientError as error:
            raise ServerError(f"{self.url}: {error}".replace(f"{self.url}: {self.url}: ", f"{self.url}: ")) from error


PREFER = {"Prefer": f"wait={WAIT_S}"}


def _file_name(path: Path) -> str:
    return path.name.encode("utf-8", "replace").decode()  # a name that is no UTF-8 must not stop its picture
