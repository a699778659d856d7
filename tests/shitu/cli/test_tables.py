"""What is written into a pipe is whole, however long; a terminal's width is kept to."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import numpy as np
import pytest
from PIL import Image

from tests.models.programs import artifact

DEEP = "/".join(["a folder with a long name"] * 5)


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, ...]]:
    """The commands that print a table with a long path in it."""
    root = tmp_path_factory.mktemp("tables")
    photo = root / DEEP / "photo [of] tea.png"
    photo.parent.mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(photo)
    label = root / "gallery" / ("a label that is too long for eighty columns next to anything else " * 2)
    label.mkdir(parents=True)
    (label / "1.png").write_bytes(photo.read_bytes())
    embedder = str(artifact(root / "embedder", "embed", paddle_too=False))
    detector = str(artifact(root / "detector", "detect", paddle_too=False))
    classifier = str(artifact(root / "classifier", "classify", paddle_too=False))
    fixed = ("--detector", "none", "--embedder", embedder, "--gallery", str(root / "gallery"), "--threshold", "-1")
    return {
        "recognize": ("recognize", *fixed, str(photo)),
        "embed": ("embed", "--model", embedder, str(photo)),
        "detect": ("detect", "--model", detector, str(photo)),
        "classify": ("classify", "--model", classifier, str(photo)),
    }


def environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if name not in {"COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"}
    }


def piped(arguments: tuple[str, ...], **more: str) -> str:
    report = subprocess.run(
        [sys.executable, "-m", "shitu", *arguments],
        env=environment() | more, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert report.returncode == 0, report.stderr
    return report.stdout


@pytest.mark.parametrize("name", ["recognize", "embed", "detect", "classify"])
def test_a_pipe_gets_whole_paths(commands: dict[str, tuple[str, ...]], name: str) -> None:
    report = piped(commands[name])
    assert commands[name][-1] in report
    if name == "recognize":
        assert ("a label that is too long for eighty columns next to anything else " * 2).strip() in report


def test_a_pipe_gets_whole_models() -> None:
    assert "│ PP-ShiTu's main bodies: PicoDet-LCNet x2.5, 640 px " in piped(("models", "list"))


def test_a_pipe_that_is_to_be_coloured_is_whole_too(commands: dict[str, tuple[str, ...]]) -> None:
    report = piped(commands["embed"], FORCE_COLOR="1")
    assert "\x1b[" in report
    assert commands["embed"][-1] in report


def terminal(arguments: tuple[str, ...]) -> list[str]:
    """The rows of a table on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "shitu", *arguments],
        env=environment() | {"TERM": "xterm"}, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        os.close(theirs)
        report = b""
        try:
            while piece := os.read(ours, 65536):
                report += piece
        except OSError:  # the other end is closed
            pass
        assert process.wait(60) == 0
    os.close(ours)
    return [line for line in report.decode().splitlines() if line.startswith("│")]


def test_a_terminal_gets_lines_that_fit(commands: dict[str, tuple[str, ...]]) -> None:
    lines = terminal(commands["embed"])
    assert lines
    assert max(map(len, lines)) <= 80


def test_a_narrow_terminal_gets_whole_names_and_labels(commands: dict[str, tuple[str, ...]]) -> None:
    lines = terminal(commands["recognize"])
    assert max(map(len, lines)) <= 80
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]
    photo, _, label, probability = ("".join(column).replace(" ", "") for column in zip(*cells, strict=True))
    assert photo == commands["recognize"][-1].replace(" ", "")
    assert label == ("a label that is too long for eighty columns next to anything else " * 2).replace(" ", "")
    assert "…" not in probability
