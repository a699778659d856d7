"""The detector's three losses: Varifocal for scores, distribution focal and GIoU for boxes, summed as PicoDet does.

Varifocal: Zhang et al., "VarifocalNet", arXiv:2008.13367. Distribution focal: Li et al., "Generalized Focal Loss",
arXiv:2006.04388. GIoU: Rezatofighi et al., arXiv:1902.09630.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from numpy.typing import NDArray

from models.training.assign import Assignment, assign, boxes_of, cells_of, expected_distances


@dataclass(frozen=True)
class DetectionLoss:
    """Weights of the parts, and SimOTA's constants; the defaults are the official detector's."""

    varifocal_weight: float = 1.0
    distribution_weight: float = 0.25
    giou_weight: float = 2.0
    candidates: int = 10
    assign_iou_weight: float = 6.0
    centre_radius: float = 2.5


def varifocal_loss(
    logits: paddle.Tensor, targets: paddle.Tensor, alpha: float = 0.75, gamma: float = 2.0
) -> paddle.Tensor:
    """The sum over all cells. `targets` is the IoU that the cell's box has with its own, 0 for the background.

    Foreground counts by its target, background by alpha * p^gamma, which is taken as a constant.
    """
    p = F.sigmoid(logits).detach()
    weight = paddle.where(targets > 0, targets, alpha * p**gamma)
    return F.binary_cross_entropy_with_logits(logits, targets, weight=weight, reduction="sum")


def distribution_focal_loss(bins: paddle.Tensor, distances: paddle.Tensor) -> paddle.Tensor:
    """(P, K) logits over the distances 0 .. K - 1, (P,) true ones in 0 .. K - 1 -> (P,) losses.

    Cross-entropy with the two bins around the true distance, each weighted by its nearness.
    """
    log_chances = F.log_softmax(bins, axis=1)
    left = paddle.clip(paddle.floor(distances), 0, bins.shape[1] - 2)
    to_right = distances - left
    index = left.astype("int64").unsqueeze(1)
    nearer = paddle.take_along_axis(log_chances, index, axis=1).squeeze(1)
    farther = paddle.take_along_axis(log_chances, index + 1, axis=1).squeeze(1)
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
    boxes: Sequence[NDArray[np.float32]],
    size_px: int,
    weights: DetectionLoss,
) -> dict[str, paddle.Tensor]:
    """The weighted parts of the loss of one batch.

    `levels`: class logits (N, 1, H, W) and distance logits (N, 4K, H, W) a level; `boxes`: for each image (G, 4) pixels
    of the square input of `size_px`.
    """
    cells = cells_of(size_px, size_px)
    logits = paddle.concat([_by_cell(level[0]) for level in levels], axis=1).squeeze(2)  # (N, M)
    bins = paddle.concat([_by_cell(level[1]) for level in levels], axis=1)  # (N, M, 4K)
    scores = F.sigmoid(logits).numpy()
    predicted = boxes_of(cells, expected_distances(bins.numpy()))
    found = [
        assign(
            *parts,
            cells,
            candidates=weights.candidates,
            iou_weight=weights.assign_iou_weight,
            centre_radius=weights.centre_radius,
        )
        for parts in zip(scores, predicted, boxes, strict=True)
    ]
    targets = np.zeros(scores.shape, np.float32)
    for row, assignment in zip(targets, found, strict=True):
        row[assignment.cells] = assignment.ious
    positives = sum(len(assignment.cells) for assignment in found)
    varifocal = varifocal_loss(logits, paddle.to_tensor(targets)) / max(1, positives)
    parts = {"varifocal": weights.varifocal_weight * varifocal}
    if positives:
        index, own, centres, strides = _positives(found, boxes, scores.shape[1], cells.centres, cells.strides)
        chosen = paddle.gather(bins.reshape([-1, bins.shape[2]]), paddle.to_tensor(index))  # (P, 4K)
        # Boxes count by the cell's own score, as PicoDet weighs them: what will be shown matters most.
        weight = paddle.to_tensor(scores.reshape(-1)[index])
        total = paddle.clip(weight.sum(), min=1e-6)
        giou, distribution = box_losses(chosen, own, centres, strides)
        parts["giou"] = weights.giou_weight * (giou * weight).sum() / total
        parts["distribution"] = weights.distribution_weight * (distribution * weight).sum() / total
    return parts


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
    # A side beyond the last bin, or before the cell's centre, can't be told: the nearest that can is the target.
    truth = np.concatenate([middle_np - own[:, :2], own[:, 2:] - middle_np], axis=1)
    truth = np.clip(truth, 0, count - 1 - 0.01).astype(np.float32)
    distribution = distribution_focal_loss(each.reshape([-1, count]), paddle.to_tensor(truth.reshape(-1)))
    return giou_loss(decoded, paddle.to_tensor(own)), distribution.reshape([-1, 4]).mean(axis=1)


def _area(sides: paddle.Tensor) -> paddle.Tensor:
    # Not paddle.prod: its gradient divides by the factors, and a side may be 0.
    return sides[:, 0] * sides[:, 1]


def _by_cell(x: paddle.Tensor) -> paddle.Tensor:
    """(N, C, H, W) -> (N, H * W, C)."""
    return x.flatten(2).transpose([0, 2, 1])


def _positives(
    found: Sequence[Assignment],
    boxes: Sequence[NDArray[np.float32]],
    per_image: int,
    centres: NDArray[np.float32],
    strides: NDArray[np.float32],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Of all images' positive cells: flat index, true box, centre and stride."""
    cells = np.concatenate([assignment.cells for assignment in found])
    index = np.concatenate([number * per_image + assignment.cells for number, assignment in enumerate(found)])
    own = np.concatenate([own[assignment.boxes].reshape(-1, 4) for own, assignment in zip(boxes, found, strict=True)])
    return index, own.astype(np.float32), centres[cells], strides[cells]
