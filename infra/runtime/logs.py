"""One line for each event, as JSON or as text, whoever writes it: this project, Celery, gunicorn, warnings, Redis, a crash.

Nothing secret gets into a line: of an address only scheme and host are kept, and signing secrets are blanked.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from infra.runtime import tracing
from infra.runtime.settings import LogSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

MAX_MESSAGE_CHARS = 8_000
MAX_TRACE_CHARS = 32_000
NOISY = ("httpx", "httpcore", "botocore", "boto3", "urllib3", "s3transfer", "PIL")
# What every log record has by itself; whatever else it has came by `extra`.
_BUILT_IN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_URL = re.compile(r"\b(https?|rediss?)://([^\s/?#'\"@]*@)?([^\s/?#'\"]*)([^\s'\"]*)")
_PATH = re.compile(r"(with url: )[^\s)]+")  # urllib3 writes host and path apart
_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=_-]+")


_job: ContextVar[str | None] = ContextVar("shitu_job", default=None)


@contextmanager
def about_job(job_id: str) -> Iterator[None]:
    """Every line that is written meanwhile, by whichever library, has the `job_id`."""
    token = _job.set(job_id)
    try:
        yield
    finally:
        _job.reset(token)


def redacted(text: str) -> str:
    """`text` without what may be secret: users, passwords, paths and queries of addresses, and signing secrets."""
    text = _URL.sub(_bare, text)
    return _SECRET.sub("whsec_…", _PATH.sub(r"\1…", text))


def _bare(found: re.Match[str]) -> str:
    scheme, user, host, rest = found.groups()
    return f"{scheme}://{'…@' if user else ''}{host}{'/…' if rest.strip('/.,;:)') else rest}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: the fields given by `extra`, time, level, logger, message, and an exception's trace."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(_message(record))[:MAX_MESSAGE_CHARS],
            "process": record.process,
        }
        if (where := tracing.current()) is not None:
            entry |= {"trace_id": where.trace_id, "span_id": where.span_id}
        entry = {**entry, **{name: value for name, value in _extra(record).items() if name not in entry}}
        trace = _trace(self, record)
        if trace:
            entry["exception"] = trace
        return _dumped(entry)


class TextFormatter(logging.Formatter):
    """A line to read in a terminal: date and time, level, logger, message, extra fields as name=value."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields = "".join(f" {name}={value}" for name, value in _extra(record).items())
        at = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S%z")
        message = redacted(_message(record))[:MAX_MESSAGE_CHARS]
        line = f"{at} {record.levelname.lower():7} {record.name}: {message}{fields}"
        trace = _trace(self, record)
        return f"{line}\n{trace}" if trace else line


class LogHandler(logging.StreamHandler[TextIO]):
    """Writes to `stream`, or to whatever standard error is at the time. A stream that fails harms nobody who works."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream or sys.stderr)
        self._fixed = stream

    def emit(self, record: logging.LogRecord) -> None:
        """The record's line."""
        if self._fixed is None:
            self.stream = sys.stderr
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class names it
        """A full disk or a closed pipe: there is nowhere left to report it."""


def formatter(settings: LogSettings) -> logging.Formatter:
    """What the settings' format asks for."""
    return JsonFormatter() if settings.format == "json" else TextFormatter()


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Sends every logger of this process to `stream` (None: standard error), and nowhere else; crashes too."""
    handler = LogHandler(stream)
    handler.setFormatter(formatter(settings))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level)
    logging.captureWarnings(capture=True)
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def settings_of_environment(default: Literal["json", "text"] = "json") -> LogSettings:
    """The format as far as it is known before the settings are read, or where they are wrong."""
    report = os.environ.get("SHITU_LOG__FORMAT")
    return LogSettings(format="text" if report == "text" else "json" if report == "json" else default)


def fatal(detail: str, code: int = 1) -> SystemExit:
    """To be raised by a process that cannot start: its reason is one line of its log, without a trace."""
    record = logging.makeLogRecord(
        {"name": "shitu", "levelname": "CRITICAL", "levelno": 50, "msg": " ".join(detail.split())}
    )
    print(formatter(settings_of_environment()).format(record), file=sys.stderr, flush=True)
    return SystemExit(code)


def json_line(source: str, line: str, level: str = "info") -> str:
    """`line` of the process `source` as an object: as it is if it is one already, else as the message of a new one."""
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        if isinstance(entry, dict):
            return line if "source" in entry else _dumped({**entry, "source": source})
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return _dumped({"time": now, "level": level, "logger": source, "message": redacted(line), "source": source})


def _dumped(entry: dict[str, Any]) -> str:
    try:
        text = json.dumps(entry, default=_shown, ensure_ascii=False, skipkeys=True, allow_nan=False)
    except (ValueError, RecursionError):  # an infinite number, a circle: written as text
        text = json.dumps({name: _shown(value) for name, value in entry.items()}, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair is no UTF-8; \udcff is JSON


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception:  # a log line never fails for what it reports
        return f"<{type(value).__name__}>"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # arguments that do not fit: the words themselves are better than nothing
        return f"{record.msg} {record.args}"


def _trace(formatting: logging.Formatter, record: logging.LogRecord) -> str:
    parts = [formatting.formatException(record.exc_info)] if record.exc_info and record.exc_info[0] else []
    parts += [record.stack_info] if record.stack_info else []
    return redacted("\n".join(parts))[-MAX_TRACE_CHARS:]


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    found = {name: value for name, value in vars(record).items() if name not in _BUILT_IN}
    if (job_id := _job.get()) is not None:
        found.setdefault("job_id", job_id)
    return {name: redacted(value) if isinstance(value, str) else value for name, value in found.items()}


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("shitu").critical("ended by an error", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and args.exc_type is not SystemExit:
        where = args.thread.name if args.thread else "unknown"
        found = (args.exc_type, args.exc_value, args.exc_traceback)
        logging.getLogger("shitu").critical(
            "a thread was ended by an error", exc_info=found, extra={"in_thread": where}
        )
