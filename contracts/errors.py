"""The roots of all errors: what the service raises and what the models raise, each with a stable code.

`infra.errors` and `models.errors` hold the subclasses; `docs/errors.md` lists the codes. `web.errors` and
`worker.errors` translate them, and nothing else does.
"""

from __future__ import annotations

from typing import Any, ClassVar


class CodedError(Exception):
    """What both roots have: `code` is stable and part of the API, `detail` is for people.

    `retryable`: the same request may succeed later.
    """

    code: str
    retryable: bool = False

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ServiceError(CodedError):
    """The service's root. A subclass fixes `code`, `title`, `http_status` and `retryable`; an instance says what happened.

    `retry_after_s`: when to try again, in seconds, if that is known. `extra`: further members of the problem document,
    JSON values only.
    """

    code = "internal_error"
    title: ClassVar[str] = "Internal error"
    http_status: ClassVar[int] = 500

    def __init__(self, detail: str, *, retry_after_s: float | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.extra: dict[str, Any] = extra


class ModelError(CodedError):
    """The models' root."""

    code = "model_error"

    def __init__(self, detail: str, code: str | None = None) -> None:
        super().__init__(detail)
        if code is not None:
            self.code = code


class OptionsError(ModelError):
    """An option does not exist, or its value is of the wrong kind or out of range; `option` is its name."""

    code = "options_invalid"

    def __init__(self, option: str, detail: str) -> None:
        super().__init__(f"{option}: {detail}")
        self.option = option
