"""`shitu train` from the command line on tiny recipes, and the line that it ends with."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from models.artifacts.folders import load_manifest, verify
from models.training.recipes.reading import RECIPES_DIR
from shitu.cli.main import main
from shitu.cli.train import KINDS
from tests.models.training.tiny import Run

CLASSIFIER = """
name = "mine"
network = "PPLCNet_x0_25"
epochs = 2
deploy_px = 32
[[data]]
kind = "folders"
name = "shelf"
root = "train"
[[eval]]
kind = "folders"
name = "val"
root = "val"
[sampler]
batch = 4
scales = [32]
"""


def shitu(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def next_command(answer: Result) -> tuple[str, ...]:
    """The arguments of the command to resume with, which the last line names."""
    assert answer.exit_code == 0, answer.output
    report, _, line = answer.output.splitlines()[-1].partition(": ")
    assert report == "next"
    program, *arguments = shlex.split(line)
    assert program == "shitu"
    return tuple(arguments)


def changed(recipe: str, changes: dict[str, str], path: Path) -> Path:
    """The bundled recipe, each of `changes` made, as a file of the user's own."""
    text = (RECIPES_DIR / f"{recipe}.toml").read_text(encoding="utf-8")
    for long, short in changes.items():
        assert long in text
        text = text.replace(long, short)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """The tiny recipe with few steps and a small eval set, as a file of the user's own."""
    changes = {"steps = 40": "steps = 4", "steps = 10": "steps = 2", "products = 12": "products = 3"}
    return changed("embedder-tiny", changes, tmp_path / "mine.toml")


@pytest.fixture
def quick_metric(tmp_path: Path) -> Path:
    """The tiny recipe of metric learning with few products and steps."""
    changes = {
        "precise_bn_images = 144": "precise_bn_images = 0",
        "products = 24": "products = 4",
        "products = 12": "products = 3",
        "steps = 45": "steps = 4",
        "batch = 32": "batch = 16",
    }
    return changed("metric-tiny", changes, tmp_path / "metric.toml")


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


def test_train_stops_continues_and_says_what_is_next(tiny_run: Run, quick: Path, tmp_path: Path) -> None:
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


@pytest.mark.slow  # every kind of training stops and resumes in `fit`; docs/training.md's tiny recipes are run
def test_metric_learning_stops_continues_and_is_exported(quick_metric: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = shitu("train", "metric", quick_metric, "--out", out, "--threads", 1, "--stop-after", 3)
    assert first.exit_code == 0, first.output
    assert "step 3/4  ce " in first.output
    assert "triplet_angular_margin " in first.output
    second = shitu("train", "metric", quick_metric, "--out", out, "--threads", 1)
    assert second.exit_code == 0, second.output
    assert "step 3/4" not in second.output
    assert '{"rendered": ' in second.output
    assert next_command(second) == ("export", "metric", str(quick_metric), "--run", str(out))
    exported = shitu(*next_command(second))
    assert exported.exit_code == 0, exported.output
    verify(out / "artifact")
    manifest = load_manifest(out / "artifact")
    assert (manifest.name, manifest.task, manifest.output.dim) == ("metric-tiny", "embed", 64)
    assert manifest.network == "PPLCNetV2 x0.5, bnneck neck"
    assert set(manifest.metrics) == {"rendered"}


@pytest.mark.slow  # every kind of training stops and resumes in `fit`; docs/training.md's tiny recipes are run
def test_a_classifier_stops_continues_is_exported_and_classifies(photos: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "mine.toml", tmp_path / "run"
    recipe.write_text(CLASSIFIER, encoding="utf-8")
    shared = (recipe, "--data", photos)
    first = shitu("train", "classifier", *shared, "--out", out, "--threads", 1, "--stop-after", 2)
    assert first.exit_code == 0, first.output
    assert "step 2/4  ce " in first.output
    second = shitu("train", "classifier", *shared, "--out", out, "--threads", 1)
    assert second.exit_code == 0, second.output
    assert "step 2/4" not in second.output
    assert '{"val": {"top1": ' in second.output
    assert next_command(second) == ("export", "classifier", str(recipe), "--run", str(out), "--data", str(photos))
    exported = shitu(*next_command(second))
    assert exported.exit_code == 0, exported.output
    verify(out / "artifact")
    manifest = load_manifest(out / "artifact")
    assert (manifest.name, manifest.task, manifest.output.labels) == ("mine", "classify", ("bright", "dark"))
    assert set(manifest.metrics) == {"val top1", "val top5"}
    answer = shitu("classify", photos / "val", "--model", out / "artifact", "--json")
    assert answer.exit_code == 0, answer.output
    for report in json.loads(answer.stdout):
        assert sorted(report["label_names"]) == ["bright", "dark"]
        assert sum(report["scores"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow  # every kind of training stops and resumes in `fit`; docs/training.md's tiny recipes are run
def test_what_distillation_made_is_exported_by_the_command_that_it_says(quick_metric: Path, tmp_path: Path) -> None:
    recipe, out = tmp_path / "pair.toml", tmp_path / "a run"
    recipe.write_text(f"name = 'pair'\nstudent = '{quick_metric}'\nmethod = 'dml'\n", encoding="utf-8")
    trained = shitu("train", "distill", recipe, "--out", out, "--threads", 1)
    assert next_command(trained) == ("export", "metric", str(quick_metric), "--run", str(out))
    exported = shitu(*next_command(trained))
    assert exported.exit_code == 0, exported.output
    manifest = load_manifest(out / "artifact")
    assert manifest.name == manifest.recipe["name"] == "metric-tiny"
    assert (manifest.recipe["distilled"]["name"], manifest.recipe["distilled"]["method"]) == ("pair", "dml")


@pytest.mark.parametrize(
    ("arguments", "report"),
    [
        *(((kind.name, f"{kind.name}-xxl"), f"no recipe '{kind.name}-xxl'") for kind in KINDS),
        (("embedder", "embedder-s", "--threads", "1"), "needs a data folder (--data)"),
        (("metric", "sop-resnet50"), "the recipe's source 'Stanford Online Products' needs a data folder (--data)"),
        (("classifier", "pplcnet-x1_0-imagenet"), "the recipe's source 'ImageNet-1k' needs a data folder (--data)"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], report: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = shitu("train", *arguments)
    assert answer.exit_code == 1
    assert answer.stderr.startswith("Error: ")
    assert report in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_a_run_that_has_no_place_is_one_line(quick: Path) -> None:
    answer = shitu("train", "embedder", quick, "--out", quick / "run", "--threads", 1)
    assert answer.exit_code == 1
    assert answer.stderr == f"Error: {quick / 'run'}: Not a directory\n"


def test_all_mistakes_of_a_recipe_are_named_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("sede = 3\nloss.margin = -1\n", encoding="utf-8")
    answer = shitu("train", "embedder", tmp_path / "mine.toml")
    assert answer.exit_code == 1
    assert answer.stderr.splitlines() == [
        "Error: mine.toml: 5 mistakes:",
        "  name: is missing",
        "  data: is missing",
        "  stages: is missing",
        "  loss.margin: must be 0 or more, not -1",
        "  sede: is an unknown key; did you mean 'seed'? (recipe_invalid)",
    ]


@pytest.mark.parametrize("kind", ["metric", "classifier", "detector", "hash", "distill"])
def test_a_recipe_of_another_kind_is_refused_by_its_keys(kind: str) -> None:
    answer = shitu("train", kind, "embedder-tiny")
    assert answer.exit_code == 1
    assert answer.stderr.startswith("Error: embedder-tiny.toml: ")
    assert ": is an unknown key" in answer.stderr
    assert answer.stderr.endswith("(recipe_invalid)\n")


@pytest.mark.parametrize(("saved", "report"), [(True, "resumes from the last save"), (False, "nothing is saved yet")])
def test_an_interrupted_run_says_how_to_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool, report: str
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        if saved:
            (tmp_path / "last.npz").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("models.training.engine.fit.fit", interrupted)
    stopped = CliRunner().invoke(main, ["train", "embedder", "embedder-tiny", "--out", str(tmp_path)])
    assert stopped.exit_code == 1
    assert report in stopped.output
