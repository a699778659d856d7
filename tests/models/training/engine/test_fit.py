"""One run of a real task with memory, centres and dropout: it resumes after a kill to the same curve, and says why it can't."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ArtifactError
from models.training.engine.checkpoint import Checkpoint
from models.training.engine.fit import fit
from models.training.engine.loop import Progress
from models.training.errors import TrainingError
from models.training.recipes.metric import Center, Contrastive, Head, MetricRecipe, Sampler
from models.training.tasks.metric import MetricTask
from tests.models.training.metric_tiny import QUICK, quiet, with_pool

ROOT = Path(__file__).resolve().parents[4]
REMEMBERS = replace(
    QUICK,
    loss=replace(
        QUICK.loss, center=Center(0.1), contrastive=Contrastive(0.5, margin=0.1, memory_size=40, memory_from=1)
    ),
    backbone=replace(QUICK.backbone, dropout=0.3),
)
STILL = replace(QUICK, optimizer=replace(QUICK.optimizer, learning_rate=0.0, weight_decay=0.0), eval=())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope="module")
def uninterrupted(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = with_pool(base, tmp_path_factory.mktemp("runs") / "whole")
    fit(MetricTask, REMEMBERS, None, out, quiet, quiet)
    return out


def curve(out: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{"step": line["step"], **line["losses"], **line["eval"]} for line in lines]


def assert_same_end(first: Path, second: Path) -> None:
    for name in ("last.npz", "best.npz"):
        one, two = Checkpoint.load(first / name), Checkpoint.load(second / name)
        assert one.progress == two.progress
        assert one.groups.keys() == two.groups.keys()
        for group, arrays in one.groups.items():
            assert arrays.keys() == two.groups[group].keys()
            for key, array in arrays.items():
                np.testing.assert_allclose(
                    two.groups[group][key], array, rtol=1e-5, atol=1e-6, err_msg=f"{name} {group} {key}"
                )
    assert len(curve(first)) == len(curve(second)) == 3
    for one_line, two_line in zip(curve(first), curve(second), strict=True):
        assert one_line == pytest.approx(two_line, rel=1e-5)


KILLED = """
import sys
from pathlib import Path
from models.training.engine.fit import fit
from models.training.tasks.metric import MetricTask
from tests.models.training.engine.test_fit import REMEMBERS

fit(MetricTask, REMEMBERS, None, Path(sys.argv[1]), lambda line: print(line.step, flush=True), lambda *_: None)
"""


def test_a_killed_run_resumes_to_the_same_curve(uninterrupted: Path, base: Path, tmp_path: Path) -> None:
    out = with_pool(base, tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(out)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "2\n"
        deadline = time.monotonic() + 30
        while not (out / "last.npz").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(run.pid, signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert Checkpoint.load(out / "last.npz").progress["step"] < REMEMBERS.steps
    # What a kill may leave: a line of a step after the checkpoint, and half a line.
    with (out / "curve.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 6, "losses": {}, "eval": {}}\n{"step": 1')
    fit(MetricTask, REMEMBERS, None, out, quiet, quiet)
    assert_same_end(uninterrupted, out)
    module = Checkpoint.load(out / "last.npz").groups["module"]
    assert module["losses.contrastive.memory.taken"] == 5 * 16
    assert np.abs(module["losses.center.centers"]).sum() > 0


@pytest.mark.slow  # the killed run above takes the same way
def test_a_run_that_was_stopped_resumes_to_the_same_curve(uninterrupted: Path, base: Path, tmp_path: Path) -> None:
    out = with_pool(base, tmp_path / "run")
    for stop_after in (2, 4, None):
        fit(MetricTask, REMEMBERS, None, out, quiet, quiet, stop_after=stop_after)
    assert_same_end(uninterrupted, out)


def test_a_finished_run_has_nothing_left_to_do_and_belongs_to_its_recipe(uninterrupted: Path) -> None:
    before = {name: (uninterrupted / name).read_bytes() for name in ("last.npz", "best.npz", "curve.jsonl")}
    lines: list[Progress] = []
    assert fit(MetricTask, REMEMBERS, None, uninterrupted, lines.append, quiet) == uninterrupted / "best.npz"
    assert not lines
    assert {name: (uninterrupted / name).read_bytes() for name in before} == before
    with pytest.raises(TrainingError, match="belongs to another recipe"):
        fit(MetricTask, replace(REMEMBERS, sampler=Sampler("picture", 4)), None, uninterrupted, quiet, quiet)


@pytest.mark.parametrize("cause", ["learning_rate", "scale"])
def test_a_loss_that_is_nan_or_infinite_ends_the_run(base: Path, tmp_path: Path, cause: str) -> None:
    wild: MetricRecipe = (
        replace(QUICK, optimizer=replace(QUICK.optimizer, learning_rate=1e38, warmup_steps=0))
        if cause == "learning_rate"
        else replace(QUICK, head=Head("cosmargin", 0.1, float("inf")))
    )
    out = with_pool(base, tmp_path / "run")
    with pytest.raises(TrainingError, match=r"(the loss is .*(nan|inf)|is NaN or infinite).*at step \d"):
        fit(MetricTask, wild, None, out, quiet, quiet)
    assert not (out / "last.npz").exists()


def test_a_new_run_starts_from_another_runs_weights_and_a_resumed_one_does_not(base: Path, tmp_path: Path) -> None:
    first, second = (with_pool(base, tmp_path / name) for name in ("first", "second"))
    fit(MetricTask, replace(QUICK, eval=()), None, first, quiet, quiet, stop_after=1)  # its weights have moved
    fit(MetricTask, STILL, None, second, quiet, quiet, init=first / "best.npz", stop_after=1)
    given, got = (Checkpoint.load(out / "best.npz").groups["embedder"] for out in (first, second))
    weights = [name for name in given if name.endswith("weight")]
    assert len(weights) > 10
    for name in weights:
        np.testing.assert_allclose(got[name], given[name], atol=1e-6, err_msg=name)
    own = Checkpoint.load(second / "last.npz").groups["average"]
    Checkpoint({"embedder": {name: 0 * array for name, array in own.items()}}, {"step": 1}).save(tmp_path / "no.npz")
    fit(MetricTask, STILL, None, second, quiet, quiet, init=tmp_path / "no.npz", stop_after=2)
    resumed = Checkpoint.load(second / "last.npz").groups["average"]
    for name in weights:
        np.testing.assert_allclose(resumed[name], own[name], atol=1e-6, err_msg=name)


def test_weights_of_another_network_are_refused_before_pictures_are_rendered(tmp_path: Path) -> None:
    Checkpoint({"embedder": {"weight": np.zeros(3)}}, {"step": 1}).save(tmp_path / "other.npz")
    Checkpoint({"detector": {}}, {"step": 1}).save(tmp_path / "no.npz")
    for name, said in (("other", "holds another network"), ("no", "holds no embedder"), ("gone", "no checkpoint")):
        with pytest.raises(ArtifactError, match=said):
            fit(MetricTask, QUICK, None, tmp_path / "run", quiet, quiet, init=tmp_path / f"{name}.npz")
    assert not (tmp_path / "run" / "pool").exists()


def test_without_eval_sets_the_last_weights_are_kept(base: Path, tmp_path: Path) -> None:
    out = with_pool(base, tmp_path / "run")
    fit(MetricTask, replace(QUICK, eval=()), None, out, quiet, quiet)
    assert Checkpoint.load(out / "best.npz").progress == {"step": 6, "eval": {}}
