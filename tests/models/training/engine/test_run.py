"""What is due around each step of a run: when it reports, evaluates and saves, and which weights it keeps."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

from models.training.engine import loop
from models.training.engine.checkpoint import Checkpoint
from models.training.engine.processes import ALONE, Group
from models.training.engine.run import Evaluated, Run, score_of, take_step
from models.training.engine.schedule import Schedule
from models.training.errors import TrainingError


@dataclass(frozen=True)
class Recipe:
    """What a checkpoint is held to."""

    name: str = "line"


def run_of(out: Path, network: nn.Layer, group: Group = ALONE, stop_after: int | None = None) -> Run:
    schedule = Schedule(1, 12, 5, lambda _: 0.1, lambda step: 4 * step, report_every=2, save_every=3)
    return Run(out, Recipe(), {"network": network}, group, lambda _: None, schedule, stop_after=stop_after)


def take(run: Run, out: Path, network: nn.Layer, scores: Mapping[int, float]) -> list[int]:
    """All steps of `run` in the folder `out`; returns after how many of them `last.npz` was written."""
    saved = []
    for step in run.steps:
        run.after(step, {"loss": float(step)}, network, lambda done: seen(done, scores[done]))
        last = out / "last.npz"
        if last.exists() and (at := Checkpoint.load(last).progress["step"]) == step + 1:
            saved.append(at)
    return saved


def seen(done: int, score: float) -> Evaluated:
    return Evaluated({"eval_set": score}, score, Checkpoint({"network": {}}, {"step": done}))


def lines(out: Path) -> list[tuple[int, float, dict[str, float]]]:
    rows = [json.loads(line) for line in (out / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(row["step"], row["losses"]["loss"], row["eval"]) for row in rows]


def test_a_run_reports_evaluates_and_saves_at_its_times_and_at_its_end(tmp_path: Path) -> None:
    network = nn.Linear(2, 1)
    assert take(run_of(tmp_path, network), tmp_path, network, {5: 0.5, 10: 0.5, 12: 0.4}) == [3, 5, 6, 9, 10, 12]
    assert lines(tmp_path) == [
        (2, 0.5, {}),
        (4, 2.5, {}),
        (5, 4.0, {"eval_set": 0.5}),
        (6, 5.0, {}),
        (8, 6.5, {}),
        (10, 8.5, {"eval_set": 0.5}),
        (12, 10.5, {"eval_set": 0.4}),
    ]


def test_the_later_of_equal_weights_are_kept_and_worse_ones_are_not(tmp_path: Path) -> None:
    network = nn.Linear(2, 1)
    take(run_of(tmp_path, network, stop_after=7), tmp_path, network, {5: 0.5, 7: 0.5})
    assert Checkpoint.load(tmp_path / "best.npz").progress["step"] == 7
    again = run_of(tmp_path, network)
    assert again.steps == range(7, 12)
    take(again, tmp_path, network, {10: 0.4, 12: 0.45})  # the best score is of the run that went before
    assert Checkpoint.load(tmp_path / "best.npz").progress["step"] == 7


@pytest.mark.parametrize(("every_s", "plotted"), [(60.0, [12]), (0.0, [5, 10, 12])])
def test_the_curve_is_plotted_at_the_end_and_seldom_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every_s: float, plotted: list[int]
) -> None:
    seen_by: list[int] = []
    monkeypatch.setattr(loop, "DRAW_EVERY_S", every_s)
    monkeypatch.setattr(loop, "draw_curve", lambda *_: seen_by.append(lines(tmp_path)[-1][0]))
    network = nn.Linear(2, 1)
    take(run_of(tmp_path, network), tmp_path, network, {5: 0.5, 10: 0.5, 12: 0.4})
    assert seen_by == plotted


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    network = nn.Linear(2, 1)
    second = run_of(tmp_path / "run", network, Group(1, 2), stop_after=4)
    for step in range(3):  # before an eval set, where it waits for the first
        second.after(step, {"loss": 1.0}, network, lambda done: seen(done, 1.0))
    assert not second.leads
    assert not (tmp_path / "run").exists()


def test_weights_that_are_nan_are_reported_when_a_line_is_due(tmp_path: Path) -> None:
    network = nn.Linear(2, 1)
    run = run_of(tmp_path, network)
    network.weight.set_value(paddle.full([2, 1], float("nan")))
    run.after(0, {"loss": 1.0}, network, lambda done: seen(done, 1.0))
    with pytest.raises(TrainingError, match="weight is NaN or infinite at step 2"):
        run.after(1, {"loss": 1.0}, network, lambda done: seen(done, 1.0))


def test_a_step_goes_down_the_sum_of_the_losses_and_leaves_no_gradient() -> None:
    network = nn.Linear(2, 1)
    before = network.weight.numpy()
    optimizer = paddle.optimizer.SGD(0.1, parameters=network.parameters())
    parts = {"one": network.weight.sum(), "two": 2 * network.weight.sum()}
    values = take_step(parts, 0, network, optimizer, ALONE)
    assert values == {name: pytest.approx(factor * before.sum()) for name, factor in (("one", 1), ("two", 2))}
    np.testing.assert_allclose(network.weight.numpy(), before - 0.1 * 3, rtol=1e-6)
    assert network.weight.grad is None or not network.weight.grad.numpy().any()
    with pytest.raises(TrainingError, match="at step 7"):
        take_step({"one": network.weight.sum() * float("inf")}, 7, network, optimizer, ALONE)


def test_the_score_is_of_the_eval_sets_that_choose() -> None:
    metrics = {"a": 0.2, "b": 0.4, "c": 0.9}
    assert score_of(metrics, ("a", "b"), 7) == pytest.approx(0.3)
    assert score_of(metrics, ("a", "none"), 7) == pytest.approx(0.2)
    assert score_of(metrics, (), 7) == score_of(metrics, ("none",), 7) == pytest.approx(0.5)
    assert score_of({}, ("a",), 7) == 7.0
