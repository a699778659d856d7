"""The three losses against slow, obvious numpy, their gradients against differences, and their sum on a batch."""

import math
from collections.abc import Callable, Mapping

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray

from models.training.cells import boxes_of, cells_of, expected_distances
from models.training.losses.assign import assign
from models.training.losses.detection import (
    box_losses,
    detection_losses,
    distribution_focal_loss,
    giou_loss,
    varifocal_loss,
)
from models.training.recipes.detector_tables import DetectionLoss

Array = NDArray[np.float32]
STRIDES = (8, 16, 32, 64)


def slow_varifocal(logits: Array, targets: Array) -> float:
    total = 0.0
    for logit, target in zip(logits.ravel().tolist(), targets.ravel().tolist(), strict=True):
        p = 1 / (1 + math.exp(-logit))
        entropy = -(target * math.log(p) + (1 - target) * math.log(1 - p))
        total += (target if target > 0 else 0.75 * p**2) * entropy
    return total


def slow_distribution(bins: Array, distance: float) -> float:
    probabilities = [math.exp(b) for b in bins.tolist()]
    probabilities = [c / sum(probabilities) for c in probabilities]
    left = min(int(distance), len(probabilities) - 2)
    return -(
        math.log(probabilities[left]) * (left + 1 - distance) + math.log(probabilities[left + 1]) * (distance - left)
    )


def slow_giou(a: list[float], b: list[float]) -> float:
    common = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return 1 - (common / union - (hull - union) / hull)


def random_boxes(rng: np.random.Generator, count: int) -> Array:
    corner = rng.uniform(0, 60, (count, 2))
    return np.concatenate([corner, corner + rng.uniform(4, 50, (count, 2))], axis=1).astype(np.float32)


def test_varifocal() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (3, 7)).astype(np.float32)
    targets = np.where(rng.random((3, 7)) < 0.4, rng.random((3, 7)), 0).astype(np.float32)
    found = float(varifocal_loss(paddle.to_tensor(logits), paddle.to_tensor(targets)))
    assert found == pytest.approx(slow_varifocal(logits, targets), rel=1e-4)


def test_distribution_focal() -> None:
    rng = np.random.default_rng(2)
    bins = rng.normal(0, 2, (9, 8)).astype(np.float32)
    distances = np.array([0, 0.25, 1, 2.5, 3.9, 5, 6, 6.99, 7], np.float32)
    found = distribution_focal_loss(paddle.to_tensor(bins), paddle.to_tensor(distances)).numpy()
    slow = [slow_distribution(row, float(d)) for row, d in zip(bins, distances, strict=True)]
    np.testing.assert_allclose(found, slow, rtol=1e-4)


def test_giou() -> None:
    rng = np.random.default_rng(3)
    a, b = random_boxes(rng, 20), random_boxes(rng, 20)
    b[0] = a[0]
    b[1] = a[1] + 200  # far apart
    found = giou_loss(paddle.to_tensor(a), paddle.to_tensor(b)).numpy()
    slow = [slow_giou(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    np.testing.assert_allclose(found, slow, atol=1e-5)
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[1] > 1


def test_an_empty_box_leaves_the_gradient_finite() -> None:
    a = paddle.to_tensor([[5.0, 5.0, 5.0, 9.0]], stop_gradient=False)
    giou_loss(a, paddle.to_tensor([[0.0, 0.0, 4.0, 4.0]])).sum().backward()
    assert np.isfinite(a.grad.numpy()).all()


def check_gradient(loss: Callable[[paddle.Tensor], paddle.Tensor], x: Array) -> None:
    """The gradient of a scalar loss against central differences."""
    tensor = paddle.to_tensor(x, stop_gradient=False)
    loss(tensor).backward()
    for index in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[index] = 1e-2
        above, below = (float(loss(paddle.to_tensor(x + sign * step))) for sign in (1, -1))
        assert tensor.grad.numpy()[index] == pytest.approx((above - below) / 2e-2, abs=4e-3)


def test_gradients() -> None:
    rng = np.random.default_rng(4)
    distances = paddle.to_tensor([1.3, 4.7])
    check_gradient(lambda x: distribution_focal_loss(x, distances).sum(), rng.normal(0, 1, (2, 8)).astype(np.float32))
    a, b = random_boxes(rng, 3), random_boxes(rng, 3)
    check_gradient(lambda x: giou_loss(x, paddle.to_tensor(b)).sum(), a)


def test_varifocal_takes_the_weight_of_the_background_as_a_constant() -> None:
    logits = paddle.to_tensor([0.4], stop_gradient=False)
    varifocal_loss(logits, paddle.zeros([1])).backward()
    p = 1 / (1 + math.exp(-0.4))
    assert logits.grad.item() == pytest.approx(0.75 * p**2 * p, rel=1e-5)


def test_box_losses_vanish_where_the_bins_say_the_box() -> None:
    """A cell of stride 16 at (40, 40), a box of whole strides around it."""
    bins = np.full((1, 4, 8), -40, np.float32)
    for side, distance in enumerate((1, 2, 2, 1)):
        bins[0, side, distance] = 40
    box = np.array([[40 - 16, 40 - 32, 40 + 32, 40 + 16]], np.float32)
    giou, distribution = box_losses(
        paddle.to_tensor(bins.reshape(1, 32)), box, np.array([[40, 40]], np.float32), np.array([16], np.float32)
    )
    assert giou.item() == pytest.approx(0, abs=1e-5)
    assert distribution.item() == pytest.approx(0, abs=1e-5)


def random_levels(rng: np.random.Generator, images: int, side: int) -> list[tuple[paddle.Tensor, paddle.Tensor]]:
    sizes = [(images, channels, side // stride, side // stride) for stride in STRIDES for channels in (1, 32)]
    made = [paddle.to_tensor(rng.normal(0, 1, size).astype(np.float32)) for size in sizes]
    return list(zip(made[::2], made[1::2], strict=True))


def slow_batch(levels: list[tuple[Array, Array]], boxes: list[Array], side: int) -> dict[str, float]:
    """The sum, one cell at a time; the assignment is taken as it is."""
    cells = cells_of(side, side)
    varifocal, giou, distribution, weights, positives = 0.0, 0.0, 0.0, 0.0, 0
    for image, own in enumerate(boxes):
        logits = np.concatenate([scores[image].reshape(-1) for scores, _ in levels])
        bins = np.concatenate([b[image].reshape(32, -1).T for _, b in levels])
        p = 1 / (1 + np.exp(-logits))
        predicted = boxes_of(cells, expected_distances(bins))
        found = assign(p, predicted, own, cells)
        targets = np.zeros(len(logits), np.float32)
        for cell, box, iou in zip(found.cells, found.boxes, found.ious, strict=True):
            targets[cell] = iou
            stride = float(cells.strides[cell])
            (cx, cy), (x1, y1, x2, y2) = cells.centres[cell] / stride, own[box] / stride
            truth = np.clip([cx - x1, cy - y1, x2 - cx, y2 - cy], 0, 6.99)
            each = [slow_distribution(row, float(d)) for row, d in zip(bins[cell].reshape(4, 8), truth, strict=True)]
            weights += p[cell]
            distribution += p[cell] * sum(each) / 4
            giou += p[cell] * slow_giou((predicted[cell] / stride).tolist(), (own[box] / stride).tolist())
        positives += len(found.cells)
        varifocal += slow_varifocal(logits, targets)
    return {
        "varifocal": varifocal / positives,
        "giou": 2 * giou / weights,
        "distribution": 0.25 * distribution / weights,
    }


def test_the_sum_of_a_batch() -> None:
    rng = np.random.default_rng(5)
    levels = random_levels(rng, 3, 128)
    boxes = [random_boxes(rng, 2), np.zeros((0, 4), np.float32), random_boxes(rng, 4)]
    found = detection_losses(levels, boxes, 128, DetectionLoss())
    slow = slow_batch([(a.numpy(), b.numpy()) for a, b in levels], boxes, 128)
    assert {name: float(value) for name, value in found.items()} == pytest.approx(slow, rel=1e-3)


def test_a_batch_without_any_box_only_quietens_the_scores() -> None:
    rng = np.random.default_rng(6)
    none = np.zeros((0, 4), np.float32)
    found = detection_losses(random_levels(rng, 2, 64), [none, none], 64, DetectionLoss())
    assert set(found) == {"varifocal"}
    assert float(found["varifocal"]) > 0


def test_a_box_counts_as_it_is_sure_and_a_region_of_many_is_ignored() -> None:
    rng = np.random.default_rng(7)
    levels = random_levels(rng, 1, 128)
    own = np.array([[10, 10, 60, 70]], np.float32)
    region = np.array([[80, 0, 128, 128]], np.float32)

    def varifocal(boxes: Array, sure: list[float]) -> float:
        found = detection_losses(levels, [boxes], 128, DetectionLoss(), [np.array(sure, np.float32)])
        return float(found["varifocal"])

    both = np.concatenate([own, region])
    plain, passed, trained = varifocal(own, [1]), varifocal(both, [1, 0]), varifocal(both, [1, 1])
    cells = cells_of(128, 128)
    logits = np.concatenate([scores.numpy().reshape(-1) for scores, _ in levels])
    bins = np.concatenate([b.numpy()[0].reshape(32, -1).T for _, b in levels])
    found = assign(1 / (1 + np.exp(-logits)), boxes_of(cells, expected_distances(bins)), own, cells)
    within = (cells.centres[:, 0] > 80) & ~np.isin(np.arange(len(logits)), found.cells)
    silent = slow_varifocal(logits[within], np.zeros(within.sum(), np.float32)) / len(found.cells)
    assert passed == pytest.approx(plain - silent, rel=1e-3)
    assert trained != pytest.approx(passed, rel=1e-3)
    # Half as sure: the positive cells' part of the sum is halved, the background's is not.
    background = np.ones(len(logits), np.bool_)
    background[found.cells] = False
    rest = slow_varifocal(logits[background], np.zeros(background.sum(), np.float32)) / len(found.cells)
    assert varifocal(own, [0.5]) == pytest.approx(rest + 0.5 * (plain - rest), rel=1e-3)


def test_surer_boxes_weigh_more_among_the_boxes() -> None:
    rng = np.random.default_rng(8)
    levels = random_levels(rng, 1, 128)
    own = np.array([[4, 4, 44, 60], [70, 60, 120, 124]], np.float32)
    alone = [float(detection_losses(levels, [own[i : i + 1]], 128, DetectionLoss())["giou"]) for i in range(2)]
    mixed = [
        float(detection_losses(levels, [own], 128, DetectionLoss(), [np.array(sure, np.float32)])["giou"])
        for sure in ([1, 0.01], [0.01, 1])
    ]
    assert mixed == pytest.approx(alone, rel=0.05)
    assert alone[0] != pytest.approx(alone[1], rel=0.06)


@pytest.mark.parametrize("assigner", ["simota", "atss"])
def test_halves_of_a_batch_have_its_loss_on_average(assigner: str) -> None:
    """Two processes: each divides by the mean of both's sums."""
    rng = np.random.default_rng(9)
    levels = random_levels(rng, 2, 128)
    boxes = [random_boxes(rng, 3), np.zeros((0, 4), np.float32)]
    plan = DetectionLoss(assigner=assigner)
    seen: list[dict[str, float]] = []

    def note(sums: Mapping[str, float]) -> dict[str, float]:
        seen.append(dict(sums))
        return dict(sums)

    halves = [[(a[i : i + 1], b[i : i + 1]) for a, b in levels] for i in range(2)]
    for half, own in zip(halves, boxes, strict=True):
        detection_losses(half, [own], 128, plan, None, note)
    both = {name: (seen[0][name] + seen[1][name]) / 2 for name in seen[0]}
    parts = [
        detection_losses(half, [own], 128, plan, None, lambda _: both) for half, own in zip(halves, boxes, strict=True)
    ]
    whole = detection_losses(levels, boxes, 128, plan)
    assert parts[0].keys() == parts[1].keys() == whole.keys()
    for name, value in whole.items():
        assert (float(parts[0][name]) + float(parts[1][name])) / 2 == pytest.approx(float(value), rel=1e-4)
