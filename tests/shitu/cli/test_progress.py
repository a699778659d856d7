"""Progress: nothing of what is quick, a line now and then of what is not, where there is no terminal."""

from __future__ import annotations

import threading

import pytest

from shitu.cli import progress


def test_what_is_quick_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress.tracked(range(5), "Counting")) == [0, 1, 2, 3, 4]
    with progress.working("Thinking"):
        pass
    notify = progress.counted("MiB")
    notify(1, 2)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_what_is_slow_says_how_far_it_is_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    monkeypatch.setattr(progress, "REPORT_EVERY_S", 3600.0)
    assert list(progress.tracked(range(3), "Counting")) == [0, 1, 2]
    notify = progress.counted("MiB of a model")
    notify(7, 20)
    notify(8, 20)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "Counting: 0/3\nMiB of a model: 7/20\n")


def test_work_that_cannot_be_counted_is_named_once_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "QUIET_S", 0.0)
    said = threading.Event()
    lines: list[str] = []
    monkeypatch.setattr(progress, "_line", lambda text: (lines.append(text), said.set()))
    with progress.working("Loading"):
        assert said.wait(10)
    assert lines == ["Loading …"]
