"""The clients on the service as it really runs: the examples of docs/client.md, and a correction that helps."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np

from infra.stack.launcher import Stack
from shitu import Client
from shitu.cli.first_calls import BASE_URL
from tests.docs_reader import ROOT, read
from tests.e2e.service import pattern
from tests.e2e.test_first_calls import pictures


def test_the_examples_of_the_page_run_in_their_order(stack: Stack, tmp_path: Path) -> None:
    blocks = read(ROOT / "docs/client.md").blocks("python")
    pictures(tmp_path)
    with zipfile.ZipFile(tmp_path / "drinks.zip", "w") as packed:
        packed.writestr("mate/1.png", cv2.imencode(".png", pattern(5))[1].tobytes())
        packed.writestr("mate/2.jpg", b"no picture")
    program = "\n".join(blocks).replace(BASE_URL, stack.base_url)
    assert len(blocks) >= 7
    try:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
    finally:
        with Client(stack.base_url) as client:
            client.galleries.delete("drinks")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "['added']"
    assert any(line.startswith("succeeded b'\\xff\\xd8") for line in lines)
    assert "2 done" in lines
    assert lines[-2] == "invalid_options ['/options/top_k']"
    assert lines[-1].startswith("gallery_not_found ")


def test_a_box_of_an_unknown_answer_is_enrolled_and_then_recognised(stack: Stack) -> None:
    photo = np.full((480, 640, 3), 200, np.uint8)
    photo[90:370, 180:460] = cv2.resize(pattern(61, 320), (280, 280), interpolation=cv2.INTER_AREA)
    with Client(stack.base_url) as client:
        client.galleries.create("by-client")
        job = client.galleries.add("by-client", [pattern(n) for n in range(3)], [f"pattern {n}" for n in range(3)])
        client.enrollments.wait(job, timeout_s=60)
        first = client.recognitions.wait(client.recognitions.create(photo, "by-client"), timeout_s=60)
        assert first["result"] is not None
        assert "the new one" not in {one["label"] for one in first["result"]["recognitions"]}
        seen = [*first["result"]["recognitions"], *first["result"]["dropped"]]
        box = next(one["box"] for one in seen if one["source"] == "detection")
        client.enrollments.wait(client.galleries.enroll_box("by-client", first, "the new one", box=box), timeout_s=60)
        again = client.recognize(
            np.clip(photo.astype(np.int16) - 12, 0, 255).astype(np.uint8), "by-client", timeout_s=60
        )
        assert [one["label"] for one in again["recognitions"]] == ["the new one"]
        client.galleries.delete("by-client")
