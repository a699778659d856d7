"""The public API is light to import, has every name that it promises, and its check of the packages runs first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import shitu

ROOT = Path(__file__).parents[2]
HEAVY = ("openvino", "faiss", "paddle", "flask", "numpy", "cv2", "celery", "redis", "click", "pydantic")


def python(*words: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_importing_it_loads_no_engine_and_takes_less_than_50_ms() -> None:
    """Of the processor, the least of five times: the rest measures what else the machine does."""
    program = (
        "import sys, time; began = time.process_time(); import shitu\n"
        f"print(time.process_time() - began, sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    answers = [python("-c", program) for _ in range(5)]
    assert [one.stderr for one in answers] == [""] * 5
    assert {one.stdout.split(" ", 1)[1] for one in answers} == {"[]\n"}
    assert min(float(one.stdout.split(" ", 1)[0]) for one in answers) < 0.05


def test_every_public_name_is_there_and_no_other() -> None:
    assert sorted(shitu._API) == sorted(shitu.__all__)
    assert set(shitu.__all__) <= set(dir(shitu))
    for name in shitu.__all__:
        assert getattr(shitu, name).__name__ == name
    with pytest.raises(AttributeError, match="'shitu' has no attribute 'Nothing'"):
        _ = shitu.Nothing


def foreign(folder: Path) -> Path:
    for name in shitu.packages.OWN:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise RuntimeError('the wrong package')\n")
    return folder


@pytest.mark.parametrize(
    "words", [("-m", "shitu"), ("-mshitu",), ("-W", "ignore", "-m", "shitu"), (str(ROOT / "shitu/__main__.py"),)]
)
def test_our_own_program_finds_our_packages_in_a_folder_that_has_others(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = python(*words, "models", "--help", cwd=foreign(tmp_path / "shop"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: shitu models ")


def test_a_program_of_somebody_else_is_reported_what_stands_in_the_way(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "shop")
    (folder / "mine").mkdir()
    (folder / "mine/__init__.py").write_text("import shitu\n")
    (folder / "mine/run.py").write_text("")
    for words in (("-c", "import shitu"), ("-m", "mine.run")):
        done = python(*words, cwd=folder)
        last = done.stderr.splitlines()[-1]
        assert (done.returncode, last.split(":")[0]) == (1, "ImportError"), done.stderr
        assert "needs its own package 'contracts'" in last
        assert "wrong package" not in done.stderr
