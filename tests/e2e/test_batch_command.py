"""`shitu batch` against the running service with its own worker: the command and the worker are killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from infra.stack.commands import ROOT
from infra.stack.launcher import Stack
from tests.e2e.conftest import stack_settings
from tests.e2e.service import Service, encode, labels, pattern, wait_for

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

PHOTOS = 60
GALLERY = "archive"


def test_a_run_that_is_killed_is_resumed_and_every_photo_is_answered(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "answers.ndjson"
    photos.mkdir()
    for number in range(PHOTOS):
        (photos / f"{number:03}.jpg").write_bytes(encode(pattern(1 + number % 2, 200 + number)))
    (photos / "007.jpg").write_bytes(b"no picture")
    with Stack(stack_settings(tmp_path / "data")) as stack:
        service = Service(stack.base_url)
        service.create_gallery(GALLERY)
        service.enroll(GALLERY, {f"pattern {seed}": encode(pattern(seed)) for seed in (1, 2)})
        words = ("batch", str(photos), "--gallery", GALLERY, "--out", str(out), "--server", stack.base_url)
        command = [sys.executable, "-m", "shitu", *words, "--per-request", "10", "--at-once", "1", "--yes"]
        work = tmp_path / "answers.ndjson.work"
        with (tmp_path / "log").open("wb") as log:
            first = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
            wait_for(lambda: any((work / "parts").glob("*")), 60)  # the answers of the first part
            first.kill()
            first.wait(10)
            worker = stack.processes["worker"].running.pid
            assert worker is not None
            os.kill(worker, signal.SIGKILL)
        assert not out.exists()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [one["path"] for one in answers] == [f"{number:03}.jpg" for number in range(PHOTOS)]
    assert answers.pop(7)["status"] == "rejected"
    for one in answers:
        wanted = f"pattern {1 + int(one['path'][:3]) % 2}"
        assert (one["status"], set(labels(one["result"]))) == ("succeeded", {wanted}), one
