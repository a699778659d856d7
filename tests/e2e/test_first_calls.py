"""The first lines that a newcomer pastes, from every place that shows some: run for real, back to back, by a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.stack.launcher import Stack
from shitu.cli.demo import NEXT
from shitu.cli.first_calls import BASE_URL, first_calls
from shitu.cli.stack import banner
from tests.docs_reader import ROOT, read
from tests.e2e.service import Service, encode, pattern


def page(path: str) -> Callable[[Stack], list[str]]:
    """The lines of the first block of a page that talks to the service."""

    def lines(stack: Stack) -> list[str]:
        block = next(block for block in read(ROOT / path).blocks("sh") if "curl " in block)
        return block.replace(BASE_URL, stack.base_url).strip().splitlines()

    return lines


PLACES: dict[str, Callable[[Stack], list[str]]] = {
    "README.md": page("README.md"),
    "docs/api.md": page("docs/api.md"),
    "docs/galleries.md": page("docs/galleries.md"),
    "shitu up": lambda stack: [line.strip() for line in banner(stack).splitlines() if line.startswith("  curl ")],
    "shitu demo": lambda stack: [
        line.strip().replace(BASE_URL, stack.base_url) for line in NEXT.splitlines() if line.startswith("  curl ")
    ],
}


def pictures(folder: Path) -> None:
    """What the lines and examples speak of."""
    (folder / "cola.jpg").write_bytes(encode(pattern(11, 320), quality=95))
    (folder / "shelf.jpg").write_bytes(encode(pattern(11, 300), quality=90))


@pytest.mark.parametrize("place", PLACES)
def test_the_lines_of_every_place_recognise_when_pasted_together(
    stack: Stack, service: Service, tmp_path: Path, place: str
) -> None:
    lines = PLACES[place](stack)
    assert lines == list(first_calls(stack.base_url))
    pictures(tmp_path)
    script = "\n".join(f"{line} > {number}.json" for number, line in enumerate(lines))
    try:
        subprocess.run(["bash", "-ec", script], cwd=tmp_path, check=True, capture_output=True, timeout=60)
        created, enrolled, recognised = (json.loads((tmp_path / f"{n}.json").read_text()) for n in range(3))
        assert created["name"] == "drinks"
        assert [item["status"] for item in enrolled["result"]["items"]] == ["added"]
        assert recognised["status"] == "succeeded"
        assert recognised["result"]["gallery"]["items"] == 1
        assert recognised["result"]["reason"] != "empty_gallery"
        parts = recognised["result"]["recognitions"] + recognised["result"]["dropped"]
        assert "cola" in {candidate["label"] for part in parts for candidate in part["candidates"]}
    finally:
        service.http.delete(f"{service.base_url}/v1/galleries/drinks", timeout=10)


@pytest.mark.parametrize("path", ["README.md", "docs/python.md"])
def test_the_python_examples_run(tmp_path: Path, path: str) -> None:
    blocks = read(ROOT / path).blocks("python")
    assert blocks
    pictures(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(  # in one process, for the start of it takes most of the time
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=tmp_path, env=environment, check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= len(blocks), done.stdout
