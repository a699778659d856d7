"""`shitu train … --init`: a run begins with the `.pdparams` that are named, of a detector, an embedder and a distillation."""

from pathlib import Path

import numpy as np
import paddle
import pytest
from click.testing import CliRunner, Result
from paddle import nn

from models.nets.embedding import EmbedderV2
from models.training.engine.checkpoint import Checkpoint
from models.training.networks.detector import build_detector
from models.training.networks.metric import MetricEmbedder
from models.training.recipes.detector import DetectorRecipe
from models.training.recipes.metric import MetricRecipe
from models.training.recipes.reading import RECIPES_DIR, load_recipe
from shitu.cli.main import main
from tests.models.nets.seeded import fill, seeded_state

STILL = "1e-12"  # a learning rate at which the first step changes no weight that can be seen


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def weights_of(network: nn.Layer, file: str) -> dict[str, np.ndarray]:
    fill(network, seeded_state(network, 8))
    paddle.save(network.state_dict(), file)
    return {name: value.numpy() for name, value in network.named_parameters() if value.ndim == 4}


def still(recipe: str) -> Path:
    """A copy of a bundled recipe that learns next to nothing."""
    lines = (RECIPES_DIR / f"{recipe}.toml").read_text().splitlines()
    changed = [f"learning_rate = {STILL}" if line.startswith("learning_rate") else line for line in lines]
    assert changed != lines
    Path(f"{recipe}.toml").write_text("\n".join(changed) + "\n")
    return Path(f"{recipe}.toml")


def trained(kind: str, recipe: Path, init: str) -> Result:
    words = ["train", kind, str(recipe), "--init", init, "--out", "run", "--threads", "1", "--stop-after", "1"]
    return CliRunner().invoke(main, words)


def begins_with(expected: dict[str, np.ndarray], group: str) -> None:
    held = Checkpoint.load(Path("run/best.npz")).groups[group]
    assert len(expected) > 5  # convolutions; norms are recomputed before an evaluation
    for name, value in expected.items():
        np.testing.assert_allclose(held[name], value, atol=1e-5, err_msg=name)


def test_a_detector() -> None:
    recipe = still("detector-tiny")
    expected = weights_of(build_detector(load_recipe(str(recipe), DetectorRecipe)), "mainbody.pdparams")
    answer = trained("detector", recipe, "mainbody.pdparams")
    assert answer.exit_code == 0, f"{answer.output} {answer.exception}"
    begins_with(expected, "detector")


def test_an_embedder() -> None:
    recipe = still("embedder-tiny")
    expected = weights_of(EmbedderV2(0.5, (1, 1, 1, 1), embedding_size=64, dropout=0.0), "general.pdparams")
    answer = trained("embedder", recipe, "general.pdparams")
    assert answer.exit_code == 0, f"{answer.output} {answer.exception}"
    begins_with(expected, "embedder")


def test_a_distillation() -> None:
    student = still("metric-tiny")
    expected = weights_of(MetricEmbedder(load_recipe(str(student), MetricRecipe)), "general.pdparams")
    Path("mutual.toml").write_text(f'name = "mutual"\nmethod = "dml"\nstudent = "{student}"\n')
    answer = trained("distill", Path("mutual.toml"), "general.pdparams")
    assert answer.exit_code == 0, f"{answer.output} {answer.exception}"
    begins_with(expected, "embedder")


@pytest.mark.parametrize(
    ("kind", "recipe"), [("detector", "detector-tiny"), ("embedder", "embedder-tiny"), ("metric", "metric-tiny")]
)
def test_weights_of_another_network_are_refused_by_name(kind: str, recipe: str) -> None:
    weights_of(nn.Linear(3, 4), "other.pdparams")
    answer = trained(kind, Path(RECIPES_DIR, f"{recipe}.toml"), "other.pdparams")
    assert answer.exit_code == 1, answer.output
    assert "other.pdparams" in answer.stderr
    assert not Path("run/best.npz").exists()
