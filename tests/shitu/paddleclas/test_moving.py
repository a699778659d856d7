"""docs/moving.md: each line of its right column runs, in its order, on a gallery as PaddleClas' users have it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from shitu.cli.main import main
from shitu.paddleclas.command import paddleclas
from tests.docs_reader import ROOT

PAGE = (ROOT / "docs" / "moving.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("\n## ")[0]  # that of the deploy commands
LINES = re.findall(r"^\| .*? \| `((?:shitu|python -m shitu).*?)` \| .* \|$", TABLE, re.MULTILINE)


def test_each_line_of_the_table_runs(folder: Path) -> None:
    assert len(LINES) == 14
    (folder / "gone.txt").write_text("3.png\tcola\n", encoding="utf-8")
    for line in LINES:
        words = shlex.split(line)
        command, rest = (main, words[1:]) if words[0] == "shitu" else (paddleclas, words[3:])
        result = CliRunner().invoke(command, rest)
        assert result.exit_code == 0, f"{line}: {result.output}"
        assert result.stdout, line
    assert sorted(path.name for path in folder.iterdir() if (path / "vector.index").is_file()) == [
        "codes",
        "index",
        "l2",
    ]


def test_the_class_of_the_page_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "docs/moving.md", "exec"), {})
    assert capsys.readouterr().out.count("'rec_docs'") == 3
