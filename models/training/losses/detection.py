"""The detector's three losses: Varifocal for scores, distribution focal and GIoU for boxes, summed as PicoDet does.

Varifocal: Zhang et al., "VarifocalNet", arXiv:2008.13367. Distribution focal: Li et al., "Generalized Focal Loss",
arXiv:2006.04388. GIoU: Rezatofighi et al., arXiv:1902.09630.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from numpy.typing import NDArray

from models.training.cells import Cells, boxes_of, cells_of, expected_distances, inside
from models.training.losses.assign import Assignment, assign
from models.training.losses.atss import assign_atss
from models.training.recipes.detector_tables import DetectionLoss

Array = NDArray[np.float32]
Average = Callable[[Mapping[str, float]], dict[str, float]]  # the mean of each value over the processes of a run


@dataclass(frozen=True)
class Targets:
    """What a batch of N images with M cells each learns from: its P positive cells, and how much every cell counts."""

    index: NDArray[np.int64]  # (P,) into N * M
    boxes: Array  # (P, 4) pixels
    weights: Array  # (P,) how sure the box is
    ious: Array  # (N, M) of the cell's predicted box with its own, 0 for the background
    counts: Array  # (N, M) the box's weight; background 1, but 0 in a region that is passed over


def varifocal_loss(
    logits: paddle.Tensor,
    targets: paddle.Tensor,
    alpha: float = 0.75,
    gamma: float = 2.0,
    counts: paddle.Tensor | None = None,
) -> paddle.Tensor:
    """The sum over all cells. `targets` is the IoU that the cell's box has with its own, 0 for the background.

    Foreground counts by its target, background by alpha * p^gamma, which is taken as a constant; both times `counts`.
    """
    p = F.sigmoid(logits).detach()
    weight = paddle.where(targets > 0, targets, alpha * p**gamma)
    if counts is not None:
        weight = weight * counts
    return F.binary_cross_entropy_with_logits(logits, targets, weight=weight, reduction="sum")


def distribution_focal_loss(bins: paddle.Tensor, distances: paddle.Tensor) -> paddle.Tensor:
    """(P, K) logits over the distances 0 .. K - 1, (P,) true ones in 0 .. K - 1 -> (P,) losses.

    Cross-entropy with the two bins around the true distance, each weighted by its nearness.
    """
    log_probabilities = F.log_softmax(bins, axis=1)
    left = paddle.clip(paddle.floor(distances), 0, bins.shape[1] - 2)
    to_right = distances - left
    index = left.astype("int64").unsqueeze(1)
    nearer = paddle.take_along_axis(log_probabilities, index, axis=1).squeeze(1)
    farther = paddle.take_along_axis(log_probabilities, index + 1, axis=1).squeeze(1)
    return -(nearer * (1.0 - to_right) + farther * to_right)


def giou_loss(a: paddle.Tensor, b: paddle.Tensor) -> paddle.Tensor:
    """(P, 4) and (P, 4) boxes -> (P,) 1 - GIoU, in 0 .. 2."""
    a1, a2, b1, b2 = a[:, :2], a[:, 2:], b[:, :2], b[:, 2:]
    common = _area(F.relu(paddle.minimum(a2, b2) - paddle.maximum(a1, b1)))
    union = _area(a2 - a1) + _area(b2 - b1) - common
    hull = _area(paddle.maximum(a2, b2) - paddle.minimum(a1, b1))
    return 1.0 - common / (union + 1e-7) + (hull - union) / (hull + 1e-7)


def detection_losses(
    levels: Sequence[tuple[paddle.Tensor, paddle.Tensor]],
    boxes: Sequence[Array],
    size_px: int,
    weights: DetectionLoss,
    certainty: Sequence[Array] | None = None,
    average: Average = dict,
) -> dict[str, paddle.Tensor]:
    """The weighted parts of the loss of one batch.

    `levels`: class logits (N, 1, H, W) and distance logits (N, 4K, H, W) a level; `boxes`: for each image (G, 4) pixels
    of the square input of `size_px`, with `certainty` (G,) as Picture's weights, or 1. With `average` over processes, the
    mean of their losses is the loss of all their images together.
    """
    cells = cells_of(size_px, size_px)
    logits, bins = by_cell(levels)
    scores = F.sigmoid(logits).numpy()
    predicted = boxes_of(cells, expected_distances(bins.numpy()))
    sure = [np.ones(len(own), np.float32) for own in boxes] if certainty is None else certainty
    targets = _targets(scores, predicted, boxes, sure, cells, weights)
    # Boxes count by the cell's own score, as PicoDet weighs them: what will be shown matters most.
    weight = scores.reshape(-1)[targets.index] * targets.weights
    norms = average({"positives": float(len(targets.index)), "weight": float(weight.sum())})
    varifocal = varifocal_loss(logits, paddle.to_tensor(targets.ious), counts=paddle.to_tensor(targets.counts))
    parts = {"varifocal": weights.varifocal_weight * varifocal / max(1.0, norms["positives"])}
    if len(targets.index):
        chosen = paddle.gather(bins.reshape([-1, bins.shape[2]]), paddle.to_tensor(targets.index))  # (P, 4K)
        own = targets.index % len(cells.strides)
        giou, distribution = box_losses(chosen, targets.boxes, cells.centres[own], cells.strides[own])
        fractions = paddle.to_tensor(weight / np.float32(max(norms["weight"], 1e-6)))
        parts["giou"] = weights.giou_weight * (giou * fractions).sum()
        parts["distribution"] = weights.distribution_weight * (distribution * fractions).sum()
    elif norms["positives"]:  # another process has some: all name the same parts
        parts |= {"giou": paddle.zeros([]), "distribution": paddle.zeros([])}
    return parts


def by_cell(levels: Sequence[tuple[paddle.Tensor, paddle.Tensor]]) -> tuple[paddle.Tensor, paddle.Tensor]:
    """The heads' levels -> logits (N, M) and bins (N, M, 4K), level by level, row by row."""
    logits, bins = (
        paddle.concat([x.flatten(2).transpose([0, 2, 1]) for x in part], axis=1) for part in zip(*levels, strict=True)
    )
    return logits.squeeze(2), bins


def box_losses(
    bins: paddle.Tensor, boxes: NDArray[np.float32], centres: NDArray[np.float32], strides: NDArray[np.float32]
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """GIoU and distribution focal loss, (P,) each, of P cells with logits (P, 4K) and their true `boxes` (P, 4)."""
    count = bins.shape[1] // 4
    each = bins.reshape([-1, 4, count])
    distances = F.softmax(each, axis=2).matmul(paddle.arange(count, dtype="float32"))  # (P, 4) strides
    middle = paddle.to_tensor(centres / strides[:, None])
    own = boxes / strides[:, None]
    decoded = paddle.concat([middle - distances[:, :2], middle + distances[:, 2:]], axis=1)
    middle_np = centres / strides[:, None]
    # A side beyond the last bin, or before the cell's centre, can't be said: the nearest that can is the target.
    truth = np.concatenate([middle_np - own[:, :2], own[:, 2:] - middle_np], axis=1)
    truth = np.clip(truth, 0, count - 1 - 0.01).astype(np.float32)
    distribution = distribution_focal_loss(each.reshape([-1, count]), paddle.to_tensor(truth.reshape(-1)))
    return giou_loss(decoded, paddle.to_tensor(own)), distribution.reshape([-1, 4]).mean(axis=1)


def _area(sides: paddle.Tensor) -> paddle.Tensor:
    # Not paddle.prod: its gradient divides by the factors, and a side may be 0.
    return sides[:, 0] * sides[:, 1]


def _targets(
    scores: Array,
    predicted: Array,
    boxes: Sequence[Array],
    certainty: Sequence[Array],
    cells: Cells,
    table: DetectionLoss,
) -> Targets:
    """Assigns the cells of each image to its boxes; a box of weight 0 is a region that is passed over."""
    ious, counts = np.zeros(scores.shape, np.float32), np.ones(scores.shape, np.float32)
    index, own, weights = [], [], []
    for image, (all_boxes, sure) in enumerate(zip(boxes, certainty, strict=True)):
        objects = all_boxes[sure > 0]
        found = _assign(scores[image], predicted[image], objects, cells, table)
        counts[image, inside(cells, all_boxes[sure == 0]).any(axis=1)] = 0
        counts[image, found.cells] = sure[sure > 0][found.boxes]
        ious[image, found.cells] = found.ious
        index.append(image * len(cells.strides) + found.cells)
        own.append(objects[found.boxes].reshape(-1, 4))
        weights.append(counts[image, found.cells])
    return Targets(np.concatenate(index), np.concatenate(own).astype(np.float32), np.concatenate(weights), ious, counts)


def _assign(scores: Array, predicted: Array, boxes: Array, cells: Cells, table: DetectionLoss) -> Assignment:
    if table.assigner == "atss":
        return assign_atss(predicted, boxes, cells, candidates=table.atss_candidates, anchor_strides=table.atss_anchor)
    return assign(
        scores,
        predicted,
        boxes,
        cells,
        candidates=table.candidates,
        iou_weight=table.assign_iou_weight,
        centre_radius=table.centre_radius,
    )
