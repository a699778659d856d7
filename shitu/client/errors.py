"""What can go wrong between a client and a service.

ClientError
├── ConnectionFailed         no answer, also after the retries
├── UnexpectedAnswer         what answers there is no ShiTu, or something before it
├── ProblemError             the service refused: code, status, detail, errors, request_id
│   ├── RequestRefused       400, 413, 415, 422 and the like: the request is wrong
│   ├── KeyRefused           401, 403: no key, no valid key, or not its scope
│   ├── NotFound             404, 410: no such thing, or not any more
│   ├── Conflict             409: not in the state that it is in
│   ├── LimitReached         429
│   └── ServiceFault         5xx
├── JobFailed                the job ended, and not well: code, job
└── WaitTimeout              the job has not ended in the time given; it continues
"""

# ruff: noqa: N818 - the names say what happened

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class ClientError(Exception):
    """The root."""


class ConnectionFailed(ClientError):
    """No answer came. `sent`: the request may have reached the service; `final`: trying again changes nothing."""

    def __init__(self, detail: str, *, sent: bool = True, final: bool = False) -> None:
        super().__init__(detail)
        self.sent, self.final = sent, final


class UnexpectedAnswer(ClientError):
    """Something answered that is no answer of the service's: a proxy, another server, a redirect."""

    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status


class ProblemError(ClientError):
    """The service refused, by problem+json (RFC 9457). Programs look at `code`: docs/errors.md lists them.

    `errors`: every mistake with its place, `{"pointer", "detail"}`. `retry_after_s`: when to come again, in seconds, if it
    said so. `problem`: the whole document.
    """

    def __init__(self, problem: Mapping[str, Any], status: int, retry_after_s: float | None = None) -> None:
        self.code = str(problem.get("code", ""))
        self.detail = str(problem.get("detail") or problem.get("title") or "")
        self.status, self.retry_after_s = status, retry_after_s
        self.retryable = bool(problem.get("retryable", False))
        self.request_id: str | None = problem.get("request_id")
        self.errors: tuple[Mapping[str, str], ...] = tuple(problem.get("errors", ()))
        self.problem = dict(problem)
        super().__init__(f"{self.detail} ({self.code})")

    def __reduce__(self) -> tuple[type[ProblemError], tuple[Any, ...]]:
        return type(self), (self.problem, self.status, self.retry_after_s)


class RequestRefused(ProblemError):
    """The request is wrong, whenever it is sent."""


class KeyRefused(ProblemError):
    """No key, one that is not valid, or one without the scope."""


class NotFound(ProblemError):
    """There is no such thing, or it is not kept any more."""


class Conflict(ProblemError):
    """It can't be done in the state that things are in."""


class LimitReached(ProblemError):
    """The key has used up what it may use for now."""


class ServiceFault(ProblemError):
    """The service can't do it: at the moment (`retryable`), or at all."""


class JobFailed(ClientError):
    """A job has ended without a result. `code`: why, or `canceled`; `job`: all of it."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        error = job.get("error") or {}
        self.code = str(error.get("code") or job["status"])
        self.retryable = bool(error.get("retryable", False))
        self.job = job
        super().__init__(f"{error.get('message') or 'The job was ' + str(job['status']) + '.'} ({self.code})")

    def __reduce__(self) -> tuple[type[JobFailed], tuple[Any, ...]]:
        return type(self), (self.job,)


class WaitTimeout(ClientError, TimeoutError):
    """The job or batch has not ended in the time given; it continues. `job`: as it was last seen."""

    def __init__(self, job: Mapping[str, Any], timeout_s: float) -> None:
        super().__init__(f"{job['id']} is still {job['status']} after {timeout_s:g} s")
        self.job, self.timeout_s = job, timeout_s

    def __reduce__(self) -> tuple[type[WaitTimeout], tuple[Any, ...]]:
        return type(self), (self.job, self.timeout_s)


def problem_of(problem: Mapping[str, Any], status: int, retry_after_s: float | None) -> ProblemError:
    """The error of the tree for a problem document."""
    kinds = {401: KeyRefused, 403: KeyRefused, 404: NotFound, 410: NotFound, 409: Conflict, 429: LimitReached}
    usual = ServiceFault if status >= 500 else RequestRefused
    return kinds.get(status, usual)(problem, status, retry_after_s)
