"""Help, evaluation and further precisions of finished artifacts need no PaddlePaddle, which only `.[train]` installs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs_reader import ROOT
from tests.models.training.photo_data import write_photos

PROGRAM = """
import sys
for name in ("paddle", "paddle2onnx"):
    sys.modules[name] = None
sys.argv[0] = "shitu"
from shitu.cli.main import main
main()
"""
HELPS = """
import sys
for name in ("paddle", "paddle2onnx"):
    sys.modules[name] = None
import click
from click.testing import CliRunner
from shitu.cli.main import main
from tests.shitu.cli.test_grammar import commands
names = [name for name, _ in commands(main)]
for name in names:
    answer = CliRunner().invoke(main, [*name.split(), "--help"])
    assert answer.exit_code == 0, (name, answer.output, answer.exception)
print(len(names))
"""


def without_paddle(program: str, *words: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_help() -> None:
    assert int(without_paddle(HELPS)) > 40


def test_an_evaluation_of_lists(tmp_path: Path) -> None:
    write_photos(tmp_path)
    (photos,) = (path for path in (tmp_path / "shop").iterdir() if path.suffix in {".txt", ".tsv"})
    assert '"recall@1"' in without_paddle(PROGRAM, "evaluate", "retrieval", "--query", str(photos))


@pytest.mark.slow
def test_a_finished_artifact_in_a_lower_precision(tmp_path: Path) -> None:
    report = without_paddle(
        PROGRAM, "export", "precisions", "shitu-embedder", "--out", str(tmp_path / "lower"), "--formats", "fp16"
    )
    assert '"fp16"' in report
