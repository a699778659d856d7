"""Jobs and batches. The tree of all: infra/errors/__init__.py."""
# ruff: noqa: N818 - the names say what happened, as callers read it: `raise JobNotFound(...)`, `except GalleryBusy`.

from __future__ import annotations

from contracts.errors import ServiceError


class JobNotFound(ServiceError):
    """No job has this id, or it expired so long ago that even its tombstone is gone."""

    code = "job_not_found"
    title = "No such job"
    http_status = 404


class JobExpired(ServiceError):
    """The job existed; its record was removed when its retention ended."""

    code = "job_expired"
    title = "Job expired"
    http_status = 410


class JobErased(JobExpired):
    """The job existed; it was erased for good before its retention ended."""

    code = "job_erased"
    title = "Job erased"


class BatchNotFound(JobNotFound):
    """No batch has this id."""

    code = "batch_not_found"
    title = "No such batch"


class BatchExpired(JobExpired):
    """The batch existed; its record was removed when its retention ended."""

    code = "batch_expired"
    title = "Batch expired"


class JobFinished(ServiceError):
    """The job has already ended, so that it cannot be canceled (or is not failed, so that it cannot be replayed)."""

    code = "job_finished"
    title = "Job already finished"
    http_status = 409


class JobUnfinished(ServiceError):
    """What is wanted of the job needs its end, which has not come."""

    code = "job_unfinished"
    title = "Job not finished"
    http_status = 409
    retryable = True


class JobWithoutAnswer(ServiceError):
    """The job failed or was canceled: there is no answer to be judged."""

    code = "job_without_answer"
    title = "Job without an answer"
    http_status = 409


class AnswerLate(ServiceError):
    """A route that answers for another service's clients has waited as long as a request may; the job continues."""

    code = "answer_late"
    title = "Answer not there yet"
    http_status = 504


class JobPoisoned(ServiceError):
    """Every attempt ended without an answer (a crash, a lapsed lease); the error of a job that is not tried again."""

    code = "job_poisoned"
    title = "Job given up"


class CancelAfterPassed(ServiceError):
    """The time that a request gave its job with Cancel-After passed before the job ended."""

    code = "cancel_after_passed"
    title = "Canceled after the time given"
    http_status = 504
    retryable = True


class ResultNotReady(ServiceError):
    """What is requested needs the answer of a job that is still open (then retryable), or that ended without one."""

    code = "result_not_ready"
    title = "No result yet"
    http_status = 409

    def __init__(self, detail: str, *, retryable: bool) -> None:
        super().__init__(detail)
        self.retryable = retryable


class ModelNotConfigured(ServiceError):
    """The service runs without the network that this needs; a setting names one."""

    code = "model_not_configured"
    title = "No such model here"
    http_status = 501
