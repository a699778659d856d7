"""What can go wrong in the service, as one tree of exceptions with stable codes.

    ServiceError
      ConfigurationError         configuration_invalid      a setting is wrong or misspelt
      InvalidRequest             invalid_request            400
        InvalidCursor            invalid_cursor             400
        InvalidOptions           invalid_options            422
        InvalidFeedback          feedback_invalid           422
        InvalidBox               box_invalid                422
      UnsupportedMediaType       unsupported_media_type     415
      BodyTooLarge               body_too_large             413
      TooManyFiles               too_many_files             413
      UploadTooSlow              upload_too_slow            408, retryable
      RouteNotFound              route_not_found            404
      MethodNotAllowed           method_not_allowed         405
      RejectedImage              image_rejected             422  refused from its header, before any job exists
      KeyMissing                 key_missing                401
      KeyInvalid                 key_invalid                401
        KeyExpired               key_expired                401
      ScopeMissing               scope_missing              403
      KeysRequired               keys_required              403
      CrossSite                  cross_site_request         403
      KeyNotFound                key_not_found              404
      RateLimited                rate_limited               429, retryable
      BytesLimited               bytes_limited              429, retryable
      OpenJobsLimited            open_jobs_limited          429, retryable
      IdempotencyKeyReused       idempotency_key_reused     422
      IdempotencyInProgress      idempotency_in_progress    409, retryable
      JobNotFound                job_not_found              404
        BatchNotFound            batch_not_found            404
      JobExpired                 job_expired                410
        BatchExpired             batch_expired              410
      JobFinished                job_finished               409
      JobUnfinished              job_unfinished             409, retryable
      JobWithoutAnswer           job_without_answer         409
      JobPoisoned                job_poisoned               500  never raised to a client: the error of a failed job
      CancelAfterPassed          cancel_after_passed        504  never raised to a client: the error of a canceled job
      DeliveryNotFound           delivery_not_found         404
      DeliveryFinished           delivery_finished          409
      EventsExpired              events_expired             410
      WebhookNotFound            webhook_not_found          404
      WebhookDisabled            webhook_disabled           409
      TooManyWebhooks            too_many_webhooks          409
      WebhookKeysUnreadable      webhook_keys_unreadable    500
      InvalidGalleryName         gallery_name_invalid       422
      GalleryNotFound            gallery_not_found          404
      GalleryExists              gallery_exists             409
      GalleryBusy                gallery_busy               409, retryable
      GalleryCorrupt             gallery_corrupt            500
      VersionNotFound            gallery_version_not_found  404
      LabelExists                label_exists               409
      ItemNotFound               item_not_found             404
      FeedbackNotFound           feedback_not_found         404
      ErasureNotFound            erasure_not_found          404
      EmbedderMismatch           embedder_mismatch          409
      InvalidUrl                 url_invalid                422
      AddressForbidden           address_forbidden          422
      FetchFailed                fetch_failed               422, retryable
        FetchTimeout             fetch_timeout              422, retryable
        FetchTooLarge            fetch_too_large            422
      ObjectNotFound             object_not_found           404
        PhotoNotFetched          photo_not_fetched          404, retryable
        PictureNotRenderable     picture_not_renderable     404, retryable where a worker is still to look at it
      ResultNotReady             result_not_ready           409, retryable while the job is open
      RenderingBusy              rendering_busy             503, retryable
      ModelNotConfigured         model_not_configured       501
      InvalidObjectKey           object_key_invalid         400
      StorageUnavailable         storage_unavailable        503, retryable
        StorageUnreachable       storage_unreachable        503, retryable
        StorageRefused           storage_refused            503
          BucketMissing          bucket_missing             503
      NotReady                   not_ready                  503, retryable
      Overloaded                 overloaded                 503, retryable
      RedisUnavailable           redis_unavailable          503, retryable
        RedisMisconfigured       redis_misconfigured        503

Codes are part of the API; docs/errors.md lists them and a test keeps it true. They become HTTP answers in `web.errors`
and the `error` of a job in the worker, nowhere else. `detail` is written for the user: no path, key or stack trace.
"""
# ruff: noqa: N818 - the names say what happened, as callers read it: `raise JobNotFound(...)`, `except GalleryBusy`.

from __future__ import annotations

from typing import Any

from contracts.errors import ServiceError

__all__ = ["ServiceError"]  # its root, beside all classes below

TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})  # of a server that may answer better later


class ConfigurationError(ServiceError):
    """One or more settings are wrong; `problems` holds one readable line for each."""

    code = "configuration_invalid"
    title = "Invalid configuration"

    def __init__(self, problems: list[str]) -> None:
        told = f" {problems[0]}" if len(problems) == 1 else "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"The configuration is not valid:{told}")
        self.problems = problems


class InvalidRequest(ServiceError):
    """The request cannot be understood; `errors=[{"pointer", "detail"}]` in `extra` says where."""

    code = "invalid_request"
    title = "Invalid request"
    http_status = 400


class InvalidCursor(InvalidRequest):
    """A page cursor or event id that this service did not give out."""

    code = "invalid_cursor"
    title = "Invalid cursor"


class InvalidOptions(InvalidRequest):
    """Well-formed, but a value is out of its range or an option does not exist."""

    code = "invalid_options"
    title = "Invalid options"
    http_status = 422


class InvalidFeedback(InvalidRequest):
    """What is said of an answer contradicts itself or the answer."""

    code = "feedback_invalid"
    title = "Invalid feedback"
    http_status = 422


class InvalidBox(InvalidRequest):
    """A box holds no pixel of the photo, or reaches out of it; `width` and `height` in `extra` are the photo's, if known."""

    code = "box_invalid"
    title = "Invalid box"
    http_status = 422


class UnsupportedMediaType(ServiceError):
    """The body is neither multipart/form-data nor JSON."""

    code = "unsupported_media_type"
    title = "Unsupported media type"
    http_status = 415


class BodyTooLarge(ServiceError):
    """The body is over the limit of bytes."""

    code = "body_too_large"
    title = "Request body too large"
    http_status = 413


class TooManyFiles(ServiceError):
    """More files in one request than are allowed."""

    code = "too_many_files"
    title = "Too many files"
    http_status = 413


class UploadTooSlow(ServiceError):
    """The request came more slowly than an upload may, or stopped on its way."""

    code = "upload_too_slow"
    title = "Upload too slow"
    http_status = 408
    retryable = True


class RouteNotFound(ServiceError):
    """No such path."""

    code = "route_not_found"
    title = "No such path"
    http_status = 404


class MethodNotAllowed(ServiceError):
    """The path exists, the method does not."""

    code = "method_not_allowed"
    title = "Method not allowed"
    http_status = 405


class RejectedImage(ServiceError):
    """The upload's header says already that it can never be recognised; `reason` in `extra` is the image error's code."""

    code = "image_rejected"
    title = "Image rejected"
    http_status = 422


class KeyMissing(ServiceError):
    """No API key was sent where one is asked for."""

    code = "key_missing"
    title = "API key missing"
    http_status = 401


class KeyInvalid(ServiceError):
    """What was sent is no key of this service, or one that was revoked."""

    code = "key_invalid"
    title = "API key not valid"
    http_status = 401


class KeyExpired(KeyInvalid):
    """The key was valid until a time that is past."""

    code = "key_expired"
    title = "API key expired"


class ScopeMissing(ServiceError):
    """The key is valid, but may not do this; `scope` in `extra` is what it would take."""

    code = "scope_missing"
    title = "Scope missing"
    http_status = 403


class KeysRequired(ServiceError):
    """The request comes from another machine, and nobody said whether those need a key."""

    code = "keys_required"
    title = "Keys required"
    http_status = 403


class RateLimited(ServiceError):
    """The key has made all the requests that it may make for now."""

    code = "rate_limited"
    title = "Too many requests"
    http_status = 429
    retryable = True


class BytesLimited(ServiceError):
    """The key has sent all the bytes that it may send for now; not retryable where the body is larger than all of them."""

    code = "bytes_limited"
    title = "Too many bytes"
    http_status = 429
    retryable = True


class OpenJobsLimited(ServiceError):
    """The key has all the open jobs that it may have."""

    code = "open_jobs_limited"
    title = "Too many open jobs"
    http_status = 429
    retryable = True


class CrossSite(ServiceError):
    """Another site's page asks for a change with what the browser adds by itself: a cookie, or being on this machine."""

    code = "cross_site_request"
    title = "Request of another site"
    http_status = 403


class KeyNotFound(ServiceError):
    """No API key has this id."""

    code = "key_not_found"
    title = "No such key"
    http_status = 404


class IdempotencyKeyReused(ServiceError):
    """The Idempotency-Key came with another payload before."""

    code = "idempotency_key_reused"
    title = "Idempotency-Key reused"
    http_status = 422


class IdempotencyInProgress(ServiceError):
    """The first request with this Idempotency-Key has not been answered yet."""

    code = "idempotency_in_progress"
    title = "Request in progress"
    http_status = 409
    retryable = True


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


class DeliveryNotFound(ServiceError):
    """No webhook delivery has this id."""

    code = "delivery_not_found"
    title = "No such delivery"
    http_status = 404


class DeliveryFinished(ServiceError):
    """The webhook delivery is not pending any more, so that it cannot be stopped."""

    code = "delivery_finished"
    title = "Delivery already finished"
    http_status = 409


class EventsExpired(ServiceError):
    """The feed does not have all events after the cursor any more; `oldest` in `extra` is the cursor to go on from."""

    code = "events_expired"
    title = "Events expired"
    http_status = 410


class WebhookNotFound(ServiceError):
    """No webhook endpoint has this id."""

    code = "webhook_not_found"
    title = "No such webhook"
    http_status = 404


class WebhookDisabled(ServiceError):
    """The webhook endpoint is disabled, so that nothing can be sent to it again."""

    code = "webhook_disabled"
    title = "Webhook disabled"
    http_status = 409


class TooManyWebhooks(ServiceError):
    """As many webhook endpoints are registered as there may be."""

    code = "too_many_webhooks"
    title = "Too many webhooks"
    http_status = 409


class WebhookKeysUnreadable(ServiceError):
    """The keys of a webhook endpoint were stored under another SHITU_WEBHOOKS__SECRET."""

    code = "webhook_keys_unreadable"
    title = "Webhook keys unreadable"


class InvalidGalleryName(ServiceError):
    """A gallery's name has other characters or another length than allowed."""

    code = "gallery_name_invalid"
    title = "Invalid gallery name"
    http_status = 422


class GalleryNotFound(ServiceError):
    """No gallery has this name."""

    code = "gallery_not_found"
    title = "No such gallery"
    http_status = 404


class GalleryExists(ServiceError):
    """A gallery of this name exists already."""

    code = "gallery_exists"
    title = "Gallery exists"
    http_status = 409


class GalleryBusy(ServiceError):
    """Another writer holds the gallery; one at a time."""

    code = "gallery_busy"
    title = "Gallery busy"
    http_status = 409
    retryable = True


class GalleryCorrupt(ServiceError):
    """A stored file of the gallery does not match its manifest."""

    code = "gallery_corrupt"
    title = "Gallery corrupt"


class VersionNotFound(ServiceError):
    """The gallery has no such version."""

    code = "gallery_version_not_found"
    title = "No such gallery version"
    http_status = 404


class LabelExists(ServiceError):
    """The gallery has the new label already; its items and the renamed ones become one label only if that is said."""

    code = "label_exists"
    title = "Label exists"
    http_status = 409


class ItemNotFound(ServiceError):
    """The gallery has no such item."""

    code = "item_not_found"
    title = "No such item"
    http_status = 404


class ErasureNotFound(ServiceError):
    """No erasure has this id."""

    code = "erasure_not_found"
    title = "No such erasure"
    http_status = 404


class FeedbackNotFound(ServiceError):
    """The gallery has no feedback of this id."""

    code = "feedback_not_found"
    title = "No such feedback"
    http_status = 404


class EmbedderMismatch(ServiceError):
    """The gallery was made with another embedder; embeddings of different models never mix."""

    code = "embedder_mismatch"
    title = "Gallery made with another embedder"
    http_status = 409


class InvalidUrl(ServiceError):
    """Not an http or https URL that can be asked."""

    code = "url_invalid"
    title = "Invalid URL"
    http_status = 422


class AddressForbidden(ServiceError):
    """The URL leads to a private, loopback, link-local or otherwise internal address."""

    code = "address_forbidden"
    title = "Address not allowed"
    http_status = 422


class FetchFailed(ServiceError):
    """The other server could not be reached, redirected, or did not answer 2xx.

    Not retryable with the `status` of an answer that will be the same tomorrow: 404, 403, 410 …
    """

    code = "fetch_failed"
    title = "Could not fetch the URL"
    http_status = 422
    retryable = True

    def __init__(self, detail: str, *, status: int | None = None, **extra: Any) -> None:
        super().__init__(detail, **extra)
        if status is not None:
            self.extra["status"] = status
            self.retryable = status in TRANSIENT_STATUSES


class FetchTimeout(FetchFailed):
    """The other server was too slow."""

    code = "fetch_timeout"
    title = "Fetching the URL took too long"


class FetchTooLarge(FetchFailed):
    """The other server sent more bytes than allowed."""

    code = "fetch_too_large"
    title = "The URL's content is too large"
    retryable = False


class ObjectNotFound(ServiceError):
    """The object store has no such key."""

    code = "object_not_found"
    title = "No such object"
    http_status = 404


class PhotoNotFetched(ObjectNotFound):
    """A job's photo is asked for before it was fetched from its URL, or it could not be."""

    code = "photo_not_fetched"
    title = "Photo not fetched"
    retryable = True


class PictureNotRenderable(ObjectNotFound):
    """A picture of which no smaller one can be made: broken, or (then retryable) still to be looked at by a worker."""

    code = "picture_not_renderable"
    title = "Picture cannot be rendered"

    def __init__(self, detail: str, *, retryable: bool = False) -> None:
        super().__init__(detail)
        self.retryable = retryable


class ResultNotReady(ServiceError):
    """What is asked for needs the answer of a job that is still open (then retryable), or that ended without one."""

    code = "result_not_ready"
    title = "No result yet"
    http_status = 409

    def __init__(self, detail: str, *, retryable: bool) -> None:
        super().__init__(detail)
        self.retryable = retryable


class RenderingBusy(ServiceError):
    """Too many pictures are being made smaller at once."""

    code = "rendering_busy"
    title = "Too many pictures at once"
    http_status = 503
    retryable = True


class ModelNotConfigured(ServiceError):
    """The service runs without the network that this needs; a setting names one."""

    code = "model_not_configured"
    title = "No such model here"
    http_status = 501


class InvalidObjectKey(ServiceError):
    """A key that could leave its folder, or that no store accepts."""

    code = "object_key_invalid"
    title = "Invalid object key"
    http_status = 400


class StorageUnavailable(ServiceError):
    """The object store cannot be reached, refuses the credentials, or is full."""

    code = "storage_unavailable"
    title = "Storage unavailable"
    http_status = 503
    retryable = True


class StorageUnreachable(StorageUnavailable):
    """Nothing answers where the object store should be: a name that does not resolve, no connection, no answer in time."""

    code = "storage_unreachable"
    title = "Storage unreachable"


class StorageRefused(StorageUnavailable):
    """The object store answers, but not to us: the credentials are missing, wrong, expired, or may not do this."""

    code = "storage_refused"
    title = "Storage refused"
    retryable = False


class BucketMissing(StorageRefused):
    """The object store has no bucket of the name that the settings give, or has it in another region."""

    code = "bucket_missing"
    title = "No such bucket"


class NotReady(ServiceError):
    """No worker with loaded models consumes jobs at the moment."""

    code = "not_ready"
    title = "Not ready"
    http_status = 503
    retryable = True


class Overloaded(ServiceError):
    """The backlog is so long that a new job would wait longer than is acceptable; `wait_s` in `extra` is how long."""

    code = "overloaded"
    title = "Overloaded"
    http_status = 503
    retryable = True


class RedisUnavailable(ServiceError):
    """Redis cannot be reached, found or started."""

    code = "redis_unavailable"
    title = "Redis unavailable"
    http_status = 503
    retryable = True


class RedisMisconfigured(RedisUnavailable):
    """What answers cannot serve until somebody changes a setting: no Redis, a cluster, another password or certificate."""

    code = "redis_misconfigured"
    title = "Redis misconfigured"
    retryable = False
