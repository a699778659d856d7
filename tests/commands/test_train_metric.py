"""`shitu train metric` and `shitu export metric` from the command line, on the tiny recipe."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from models.artifacts import load_manifest, verify
from models.training.recipe import RECIPES_DIR
from shitu import main


def shitu(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """The tiny recipe with few products and steps, as a file of the user's own."""
    text = (RECIPES_DIR / "metric-tiny.toml").read_text(encoding="utf-8")
    changes = {
        "settle_pictures = 144": "settle_pictures = 0",
        "products = 24": "products = 4",
        "products = 12": "products = 3",
        "steps = 45": "steps = 4",
        "batch = 32": "batch = 16",
    }
    for long, short in changes.items():
        assert long in text
        text = text.replace(long, short)
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_train_stops_goes_on_and_is_exported(quick: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = shitu("train", "metric", quick, "--out", out, "--threads", 1, "--stop-after", 3)
    assert first.exit_code == 0, first.output
    assert "step 3/4  ce " in first.output
    assert "triplet_angular_margin " in first.output
    second = shitu("train", "metric", quick, "--out", out, "--threads", 1)
    assert second.exit_code == 0, second.output
    assert "step 3/4" not in second.output
    assert '{"rendered": ' in second.output
    assert second.output.endswith(f"{out / 'best.npz'}\nnext: shitu export metric {quick} --run {out}\n")
    exported = shitu("export", "metric", quick, "--run", out)
    assert exported.exit_code == 0, exported.output
    verify(out / "artifact")
    manifest = load_manifest(out / "artifact")
    assert (manifest.name, manifest.task, manifest.output.dim) == ("metric-tiny", "embed", 64)
    assert manifest.network == "PPLCNetV2 x0.5, bnneck neck"
    assert set(manifest.metrics) == {"rendered"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("metric-xxl",), "no recipe 'metric-xxl'"),
        (
            ("sop-resnet50", "--threads", "1"),
            "the recipe's source 'Stanford Online Products' needs a data folder (--data)",
        ),
        (("embedder-tiny",), "embedder-tiny.toml: unknown key 'network'"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = shitu("train", "metric", *arguments)
    assert answer.exit_code == 1
    assert answer.stderr.startswith("Error: ")
    assert told in answer.stderr
    assert answer.stderr.count("\n") == 1
