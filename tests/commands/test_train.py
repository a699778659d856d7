"""`shitu train` from the command line, on the tiny recipe."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from models.training.recipe import RECIPES_DIR
from shitu import main
from tests.models.training.tiny import Run


def shitu(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """The tiny recipe with few steps and a small exam, as a file of the user's own."""
    text = (RECIPES_DIR / "embedder-tiny.toml").read_text(encoding="utf-8")
    for long, short in (("steps = 40", "steps = 4"), ("steps = 10", "steps = 2"), ("products = 12", "products = 3")):
        assert long in text
        text = text.replace(long, short)
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_train_stops_goes_on_and_says_what_is_next(tiny_run: Run, quick: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "pool").symlink_to(tiny_run.folder / "pool")
    first = shitu("train", "embedder", quick, "--out", out, "--threads", 1, "--stop-after", 3)
    assert first.exit_code == 0, first.output
    assert "step 3/6  class " in first.output
    second = shitu("train", "embedder", quick, "--out", out, "--threads", 1)
    assert second.exit_code == 0, second.output
    assert "step 6/6" in second.output
    assert "step 3/6" not in second.output
    assert '{"rendered": ' in second.output
    assert second.output.endswith(f"{out / 'best.npz'}\nnext: shitu export embedder {quick} --run {out}\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("train", "embedder", "embedder-xxl"), "no recipe 'embedder-xxl'"),
        (("train", "embedder", "embedder-s", "--threads", "1"), "needs a data folder (--data)"),
        (("train", "detector", "detector-xxl"), "no recipe 'detector-xxl'"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = shitu(*arguments)
    assert answer.exit_code == 1
    assert answer.stderr.startswith("Error: ")
    assert told in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert "Traceback" not in answer.output


def test_a_misspelt_key_is_named(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("sede = 3\n", encoding="utf-8")
    answer = shitu("train", "embedder", tmp_path / "mine.toml")
    assert answer.exit_code == 1
    assert "mine.toml: unknown key 'sede'" in answer.stderr
    assert "(recipe_invalid)" in answer.stderr
