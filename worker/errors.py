"""Turns whatever ended a job into the job's `error`: a stable code, a sentence for the user, and whether to try again.

One of the two places where errors are translated (the other is `web.errors`). The text of an unknown exception never
reaches a user: it may name paths, keys or other people's data. It goes to the log.
"""

from __future__ import annotations

from dataclasses import dataclass

import redis

from contracts import jobs
from contracts.errors import ServiceError
from infra.errors.service import RedisUnavailable, StorageUnavailable
from models.errors import GalleryError, ImageError, ModelError, OptionsError


@dataclass(frozen=True)
class JobError:
    """What a failed job says: `code` is part of the API, `message` is for people."""

    code: str
    message: str
    retryable: bool

    def to_dict(self) -> jobs.JobError:
        """The JSON of the job's `error`."""
        return {"code": self.code, "message": self.message, "retryable": self.retryable}


TROUBLE: tuple[tuple[type[Exception], JobError], ...] = (
    (redis.RedisError, JobError(RedisUnavailable.code, "The ledger could not be reached.", retryable=True)),
    (OSError, JobError(StorageUnavailable.code, "A store that the job needs could not be reached.", retryable=True)),
    (MemoryError, JobError("out_of_memory", "The worker had too little memory for this job.", retryable=True)),
)
UNKNOWN = JobError(ServiceError.code, "The job failed for a reason that is not the request's.", retryable=True)


def job_error(error: BaseException) -> JobError:
    """The user's view of `error`.

    The user's own mistakes (a broken picture, a deleted gallery) are final. Trouble of this worker (its models, its
    memory, the store, the network) is worth another attempt, perhaps elsewhere.
    """
    if isinstance(error, ImageError | GalleryError | OptionsError):
        return JobError(error.code, error.detail, retryable=False)
    if isinstance(error, ModelError):
        return JobError(error.code, "The models of the worker could not answer.", retryable=True)
    if isinstance(error, ServiceError):
        return JobError(error.code, error.detail, error.retryable)
    return next((known for kind, known in TROUBLE if isinstance(error, kind)), UNKNOWN)
