"""A running service, asked over its HTTP API (docs/api.md): what `--server URL` stands for.

Whatever goes wrong is one line: the service's own problem (RFC 9457) with its code, or that nothing of the kind answers.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import click
import requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TIMEOUT_S = (5.0, 90.0)  # to connect, and for an answer
WAIT_S = 20  # that one poll may wait for the job
PATIENCE_S = 60.0  # with a service that says "not now", or is started again
JOB_WITHIN_S = 900.0
PAGE = 1000  # items
ENDED = {"succeeded", "failed", "canceled"}

Json = dict[str, Any]
File = tuple[str, tuple[str, bytes]]


class ServerError(click.ClickException):
    """What the service refused, by its `code`, or why it could not be asked (`code` empty); `errors` name each fault."""

    def __init__(self, detail: str, code: str = "", errors: Sequence[Json] = ()) -> None:
        super().__init__(f"{detail} ({code})" if code else detail)
        self.detail, self.code, self.errors = detail, code, errors


class Server:
    """The service at `url`. Every method raises ServerError. May be used by several threads."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise click.UsageError(f"--server {url!r} is no address like http://127.0.0.1:8000")
        self.url = parts._replace(path=parts.path.rstrip("/"), query="", fragment="").geturl()

    def get(self, path: str, **query: Any) -> Json:
        """The JSON at `path`, below /v1."""
        return self._ask("GET", path, params={name: value for name, value in query.items() if value is not None})

    def post(self, path: str, **body: Any) -> Json:
        """What is answered to a POST; `body` as requests takes it."""
        return self._ask("POST", path, **body)

    def picture(self, path: str) -> bytes:
        """The bytes of the picture at `path`, below /v1."""
        try:
            answer = requests.get(
                f"{self.url}/v1{path}", headers=self._headers(), timeout=TIMEOUT_S, allow_redirects=False
            )
        except requests.RequestException as error:
            raise ServerError(f"{self.url}: no service answers there ({_reason(error)}).") from error
        problem = None if answer.status_code == 200 else _problem(answer, self.url)
        if problem is not None:
            raise problem
        return answer.content

    def patch(self, path: str, body: Json, **query: Any) -> Json:
        """Changes what is at `path`, and gives what is answered."""
        return self._ask("PATCH", path, params=query, json=body)

    def delete(self, path: str, **query: Any) -> Json:
        """Deletes what is at `path`, and gives what is answered: nothing, or the new version of a gallery."""
        return self._ask("DELETE", path, params=query)

    def recognized(self, photo: Path, data: bytes, gallery: Sequence[str], options: Mapping[str, Any]) -> Json:
        """The `result` of one photo."""
        fields = {"gallery": list(gallery), "options": json.dumps(options)}
        return self._result(self.post("/recognitions", data=fields, files=[("image", (_file_name(photo), data))]))

    def enrolled(self, gallery: str, pictures: Sequence[tuple[Path, str, bytes]]) -> list[Json]:
        """What became of each of the pictures (file, label, bytes), in their order: `status`, and an `error` or none."""
        files = [("images", (_file_name(path), data)) for path, _, data in pictures]
        labels = [label for _, label, _ in pictures]
        job = self.post(f"/galleries/{quote(gallery)}/items", data={"labels": labels}, files=files)
        items: list[Json] = self._result(job)["items"]
        return items

    def items(self, gallery: str, version: int | None, label: str | None) -> Iterator[Json]:
        """The items of a gallery, page by page, all of one version."""
        query: Json = {"version": version, "label": label, "limit": PAGE}
        while True:
            page = self.get(f"/galleries/{quote(gallery)}/items", **query)
            yield from page["items"]
            if page["next_after"] is None:
                return
            query = {"label": label, "limit": PAGE, "after": page["next_after"]}

    def _result(self, job: Json) -> Json:
        """Of the job once it has ended; a service that is started again meanwhile goes on with it."""
        deadline = time.monotonic() + JOB_WITHIN_S
        while job["status"] not in ENDED:
            if time.monotonic() > deadline:
                raise ServerError(
                    f"The job {job['id']} has not ended within {JOB_WITHIN_S:.0f} s; is a worker running?"
                )
            job = self._ask("GET", job["links"]["self"].removeprefix("/v1"), patient=True)
            if job["status"] not in ENDED:
                time.sleep(0.05)  # the poll has waited where the service lets it
        if job["status"] != "succeeded":
            error = job["error"] or {"message": f"The job was {job['status']}.", "code": job["status"]}
            raise ServerError(error["message"], error["code"])
        result: Json = job["result"]
        return result

    def _ask(self, method: str, path: str, *, patient: bool = False, **how: Any) -> Json:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                answer = requests.request(
                    method,
                    f"{self.url}/v1{path}",
                    headers=self._headers(),
                    timeout=TIMEOUT_S,
                    allow_redirects=False,
                    **how,
                )
            except requests.RequestException as error:
                if patient and time.monotonic() < deadline and _lost(error):  # it is just being started again
                    time.sleep(0.5)
                    continue
                raise ServerError(f"{self.url}: no service answers there ({_reason(error)}).") from error
            problem = _problem(answer, self.url)
            if problem is None:
                found: Json = answer.json() if answer.content else {}
                return found
            pause = _seconds(answer.headers.get("Retry-After"))
            if answer.status_code not in {429, 503} or pause is None or time.monotonic() + pause > deadline:
                raise problem
            time.sleep(pause)

    def _headers(self) -> dict[str, str]:
        key = os.environ.get("SHITU_KEY")
        return {
            "Prefer": f"wait={WAIT_S}",
            "User-Agent": "shitu",
            **({"Authorization": f"Bearer {key}"} if key else {}),
        }


def _problem(answer: requests.Response, url: str) -> ServerError | None:
    """What an answer says is wrong, or None."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0]
    if answer.status_code == 204 or (answer.ok and kind == "application/json" and not answer.is_redirect):
        return None
    if answer.is_redirect:
        return ServerError(f"{url} sends on to {answer.headers.get('Location')}: name that address by --server.")
    if kind == "application/problem+json":
        told = answer.json()
        return ServerError(told["detail"], told["code"], told.get("errors", ()))
    return ServerError(f"What answers at {url} is no ShiTu: status {answer.status_code}, {kind or 'no content type'}.")


def _lost(error: requests.RequestException) -> bool:
    return isinstance(error, requests.ConnectionError | requests.Timeout) and not isinstance(
        error, requests.exceptions.SSLError | requests.exceptions.InvalidProxyURL
    )


def _reason(error: requests.RequestException) -> str:
    text = str(error)
    known = {
        "Connection refused": "nothing listens",
        "Name or service not known": "the host name is unknown",
        "Temporary failure in name resolution": "the host name is unknown",
        "CERTIFICATE_VERIFY_FAILED": "its certificate is not accepted",
        "timed out": "no answer in time",
    }
    return next((said for part, said in known.items() if part in text), type(error).__name__)


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isdigit() else None


def _file_name(path: Path) -> str:
    return path.name.encode("utf-8", "replace").decode()  # a name that is no UTF-8 must not stop its picture
