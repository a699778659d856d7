"""Lines of the log: always one object in JSON mode, dated in text mode, and nothing secret in either."""

from __future__ import annotations

import io
import json
import logging
import math
import re
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from infra.runtime import audit
from infra.runtime.logs import JsonFormatter, TextFormatter, about_job, configure_logging, fatal, json_line, redacted
from infra.runtime.settings import LogSettings

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Where this process's JSON lines go; its logging is as before afterwards."""
    import sys

    root, hooks = logging.getLogger(), (sys.excepthook, threading.excepthook)
    handlers, level, stream = root.handlers[:], root.level, io.StringIO()
    configure_logging(LogSettings(format="json"), stream)
    yield stream
    root.handlers[:], root.level = handlers, level
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(capture=False)


def entries(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_text_lines_have_dates() -> None:
    record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": "hello", "created": 1.5e9})
    assert re.match(r"2017-07-1[34] \d\d:\d\d:\d\d[+-]\d{4} info    x: hello$", TextFormatter().format(record))


class Unshowable:
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, Unshowable(), {(1, 2): 3}, "\udcff", b"\xff", "two\nlines", [{"a": {1}}]]
)
def test_whatever_is_reported_the_line_is_json(value: object) -> None:
    record = logging.makeLogRecord({"name": "x", "msg": "hello", "value": value})
    line = JsonFormatter().format(record)
    line.encode()
    assert "\n" not in line
    assert json.loads(line, parse_constant=pytest.fail)["message"] == "hello"


def test_warnings_crashes_and_wrong_arguments_are_lines_too(out: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old news", UserWarning, stacklevel=1)

    def fail() -> None:
        raise KeyError("lost")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    warned, crashed = entries(out)
    assert "old news" in warned["message"]
    assert "KeyError: 'lost'" in crashed["exception"]


def test_arguments_that_do_not_fit_are_reported_as_they_are() -> None:
    record = logging.makeLogRecord({"name": "x", "msg": "%d pictures", "args": ("many",)})
    assert "many" in json.loads(JsonFormatter().format(record))["message"]


def test_fields_do_not_replace_what_every_line_has(out: io.StringIO) -> None:
    logging.getLogger("x").info("hello", extra={"level": "none", "time": "never", "logger": "y"})
    assert (entries(out)[0]["level"], entries(out)[0]["logger"]) == ("info", "x")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("to https://hooks.example/T0/B1/secret?x=1 now", "to https://hooks.example/… now"),
        ("rediss://u:secret@cache:6379/0", "rediss://…@cache:6379/…"),
        ("http://me:secret@h", "http://…@h"),
        ("Max retries exceeded with url: /hook?token=secret (Caused", "Max retries exceeded with url: … (Caused"),
        ("key whsec_c2VjcmV0c2VjcmV0 ends", "key whsec_… ends"),
        ("ready at http://127.0.0.1:8000/; data", "ready at http://127.0.0.1:8000/; data"),
    ],
)
def test_secrets_are_left_out(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_a_trace_and_a_field_hold_no_secret(out: io.StringIO) -> None:
    try:
        raise ValueError("http://u:secret@host/secret?secret")
    except ValueError:
        logging.getLogger("x").exception("failed", extra={"url": "https://h/secret"})
    assert "u:" not in out.getvalue()
    assert "/secret" not in out.getvalue()
    assert "ValueError: http://…@host/…" in entries(out)[0]["exception"]


def test_lines_of_others_become_objects() -> None:
    assert json.loads(json_line("redis", "6:M * Ready")) | {"time": ""} == {
        "time": "", "level": "info", "logger": "redis", "message": "6:M * Ready", "source": "redis",
    }  # fmt: skip
    own = json_line("web", '{"message": "x"}')
    assert json.loads(own) == {"message": "x", "source": "web"}
    assert json_line("up", own) == own
    assert json.loads(json_line("web", "{broken"))["message"] == "{broken"


@pytest.mark.parametrize("mode", ["json", "text"])
def test_a_process_that_cannot_start_says_one_line(
    mode: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHITU_LOG__FORMAT", mode)
    assert fatal("a\n  - b", 4).code == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert "a - b" in (json.loads(line)["message"] if mode == "json" else line)


def test_an_audit_line_says_who_and_from_where_to_where(out: io.StringIO) -> None:
    audit.act_as("client 10.0.0.1", request_id="r1")
    audit.gallery_changed("added", "drinks", 3, 4, items=2)
    (line,) = entries(out)
    assert {
        "logger": "shitu.audit",
        "who": "client 10.0.0.1",
        "request_id": "r1",
        "change": "added",
    }.items() <= line.items()
    assert {"gallery": "drinks", "from_version": 3, "to_version": 4, "items": 2}.items() <= line.items()


def test_a_line_of_another_library_during_a_job_has_its_id(out: io.StringIO) -> None:
    with about_job("rec_1"):
        logging.getLogger("botocore.retries").warning("a retry")
        logging.getLogger("x").warning("of another one", extra={"job_id": "rec_2"})
    logging.getLogger("x").warning("after it")
    assert [entry.get("job_id") for entry in entries(out)] == ["rec_1", "rec_2", None]
