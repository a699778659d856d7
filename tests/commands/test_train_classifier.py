"""`shitu train classifier` and `shitu export classifier` from the command line, and what they make in `shitu classify`."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from models.artifacts import load_manifest, verify
from shitu import main

RECIPE = """
name = "mine"
network = "PPLCNet_x0_25"
epochs = 2
deploy_px = 32
[[data]]
kind = "folders"
name = "shelf"
root = "train"
[[exams]]
kind = "folders"
name = "val"
root = "val"
[sampler]
batch = 4
scales = [32]
"""


def shitu(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 1)):
        for label, shade in (("bright", 200), ("dark", 20)):
            folder = tmp_path / "photos" / part / label
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = np.full((40, 50, 3), shade, np.uint8) + rng.integers(0, 40, (40, 50, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "photos"


def test_train_stops_goes_on_is_exported_and_classifies(photos: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "mine.toml", tmp_path / "run"
    recipe.write_text(RECIPE, encoding="utf-8")
    shared = (recipe, "--data", photos)
    first = shitu("train", "classifier", *shared, "--out", out, "--threads", 1, "--stop-after", 2)
    assert first.exit_code == 0, first.output
    assert "step 2/4  ce " in first.output
    second = shitu("train", "classifier", *shared, "--out", out, "--threads", 1)
    assert second.exit_code == 0, second.output
    assert "step 2/4" not in second.output
    assert '{"val": {"top1": ' in second.output
    assert second.output.endswith(f"{out / 'best.npz'}\nnext: shitu export classifier {recipe} --run {out}\n")
    exported = shitu("export", "classifier", *shared, "--run", out)
    assert exported.exit_code == 0, exported.output
    verify(out / "artifact")
    manifest = load_manifest(out / "artifact")
    assert (manifest.name, manifest.task, manifest.output.labels) == ("mine", "classify", ("bright", "dark"))
    assert set(manifest.metrics) == {"val top1", "val top5"}
    answer = shitu("classify", photos / "val", "--model", out / "artifact", "--json")
    assert answer.exit_code == 0, answer.output
    for told in json.loads(answer.stdout):
        assert sorted(told["label_names"]) == ["bright", "dark"]
        assert sum(told["scores"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("classifier-xxl",), "no recipe 'classifier-xxl'"),
        (("pplcnet-x1_0-imagenet", "--threads", "1"), "the recipe's source 'ImageNet-1k' needs a data folder (--data)"),
        (("embedder-tiny",), "unknown key"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    answer = shitu("train", "classifier", *arguments, "--out", tmp_path / "run")
    assert answer.exit_code == 1
    assert told in answer.output
    assert "Traceback" not in answer.output
    assert len([line for line in answer.output.splitlines() if line.startswith("Error")]) == 1
