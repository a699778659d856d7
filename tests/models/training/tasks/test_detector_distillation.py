"""Distillation's losses against slow numpy, the teachers' answers against the network's, and what does not fit refused."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray

from models.artifacts.folders import load_manifest
from models.errors import ArtifactError
from models.export.trained import Origin, export_detector
from models.tables import read_table
from models.training.engine.checkpoint import Checkpoint, to_arrays
from models.training.losses.detection import by_cell
from models.training.losses.detector_distillation import (
    distillation_losses,
    localisation_distillation,
    score_distillation,
)
from models.training.networks.detector import as_input, build_detector
from models.training.recipes.detector import DetectorRecipe
from models.training.recipes.detector_tables import Distillation
from models.training.recipes.reading import RecipeError, load_recipe
from models.training.teachers.detector import HeadsTeacher, open_heads_teacher
from tests.models.programs import artifact
from tests.models.training.tasks.test_detector import QUICK

Array = NDArray[np.float32]
TINY = load_recipe("detector-tiny", DetectorRecipe)


def softened(logits: Array, temperature: float) -> list[float]:
    raised = [math.exp(float(x) / temperature) for x in logits]
    return [x / sum(raised) for x in raised]


def slow_localisation(bins: Array, teacher: Array, temperature: float) -> float:
    total = 0.0
    for own, other in zip(bins.reshape(4, -1), teacher.reshape(4, -1), strict=True):
        q, p = softened(own, temperature), softened(other, temperature)
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return total / 4 * temperature**2


def slow_scores(logits: Array, teacher: Array) -> float:
    total = 0.0
    for logit, target in zip(logits.ravel().tolist(), teacher.ravel().tolist(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        total += (target - p) ** 2 * -(target * math.log(p) + (1 - target) * math.log(1 - p))
    return total


@pytest.mark.parametrize("temperature", [1.0, 10.0])
def test_localisation(temperature: float) -> None:
    rng = np.random.default_rng(1)
    bins, teacher = (rng.normal(0, 3, (5, 32)).astype(np.float32) for _ in range(2))
    found = localisation_distillation(paddle.to_tensor(bins), paddle.to_tensor(teacher), temperature).numpy()
    slow = [slow_localisation(*rows, temperature) for rows in zip(bins, teacher, strict=True)]
    np.testing.assert_allclose(found, slow, rtol=1e-3)
    same = localisation_distillation(paddle.to_tensor(bins), paddle.to_tensor(bins), temperature)
    np.testing.assert_allclose(same.numpy(), 0, atol=1e-4)


def test_the_sum_of_a_batch() -> None:
    rng = np.random.default_rng(2)
    logits, bins = rng.normal(0, 2, (2, 6)).astype(np.float32), rng.normal(0, 2, (2, 6, 32)).astype(np.float32)
    scores, teacher_bins = rng.random((2, 6)).astype(np.float32), rng.normal(0, 2, (2, 6, 32)).astype(np.float32)
    plan = Distillation("self", score_weight=2.0, distribution_weight=0.5, temperature=4.0)
    found = distillation_losses(paddle.to_tensor(logits), paddle.to_tensor(bins), scores, teacher_bins, plan)
    total = float(scores.sum())
    distances = sum(
        float(scores[i, j]) * slow_localisation(bins[i, j], teacher_bins[i, j], 4.0) for i in range(2) for j in range(6)
    )
    slow = {
        "distilled scores": 2 * slow_scores(logits, scores) / total,
        "distilled distances": 0.5 * distances / total,
    }
    assert {name: float(value) for name, value in found.items()} == pytest.approx(slow, rel=1e-3)


def test_the_gradient_pulls_towards_the_teacher() -> None:
    rng = np.random.default_rng(3)
    teacher = paddle.to_tensor(np.array([[0.9, 0.02]], np.float32))
    logits = paddle.to_tensor(np.zeros((1, 2), np.float32), stop_gradient=False)
    score_distillation(logits, teacher).backward()
    assert logits.grad[0, 0].item() < 0 < logits.grad[0, 1].item()
    start, goal = (rng.normal(0, 2, (1, 32)).astype(np.float32) for _ in range(2))
    bins = paddle.to_tensor(start, stop_gradient=False)
    before = localisation_distillation(bins, paddle.to_tensor(goal), 1.0)
    before.sum().backward()
    after = localisation_distillation(bins - 0.5 * bins.grad, paddle.to_tensor(goal), 1.0)
    assert float(after.sum()) < float(before.sum())


def test_a_program_answers_cell_by_cell_as_its_network_does(tmp_path: Path) -> None:
    """Of a network with leaky ReLUs: the converter to ONNX gets Paddle's own operator wrong."""
    leaky = replace(QUICK, network=replace(QUICK.network, act="leaky_relu"))
    paddle.seed(5)
    network = build_detector(leaky)
    Checkpoint({"detector": to_arrays(network.state_dict())}, {"step": 0}).save(tmp_path / "best.npz")
    made = export_detector(leaky, tmp_path / "best.npz", tmp_path / "artifact", Origin([], {}, {}), ["paddle", "onnx"])
    assert max(load_manifest(made).recipe["made_with"]["difference_from_eager"].values()) < 1e-4
    teacher = open_heads_teacher(Distillation("teacher", "artifact"), tmp_path, (64,), 7)
    images = np.random.default_rng(4).integers(0, 256, (2, 64, 64, 3)).astype(np.uint8)
    network.eval()
    logits, bins = by_cell(network(as_input(images)))
    answers = teacher(images)
    np.testing.assert_allclose(answers.scores, paddle.nn.functional.sigmoid(logits).numpy(), atol=1e-4)
    np.testing.assert_allclose(answers.bins, bins.numpy(), atol=1e-3)
    with pytest.raises(ArtifactError, match=r"cells don't match.*photos"):
        HeadsTeacher(made, (64, 128), 7)
    with pytest.raises(ArtifactError, match="reg_max"):
        HeadsTeacher(made, (64,), 15)


def test_an_embedder_is_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no detector"):
        HeadsTeacher(artifact(tmp_path / "embedder", "embed", paddle_too=False), (64,), 7)


def test_a_plan_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(RecipeError, match="kind: must be one of"):
        read_table(Distillation, {"kind": "friend"})
    with pytest.raises(RecipeError, match="teacher: goes with the kind 'teacher'"):
        Distillation("teacher")
    with pytest.raises(RecipeError, match="teacher: goes with the kind 'teacher'"):
        Distillation("self", "somebody")
