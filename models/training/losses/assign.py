"""Which cells of a detector answer for which box: SimOTA (Ge et al., "YOLOX", arXiv:2107.08430), with PicoDet's costs.

A cell may answer for a box if its centre lies in the box or near the box's centre. Each box then takes its cheapest
cells, as many as its best predictions' IoUs sum up to, and a cell wanted by several boxes goes to the cheapest.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.boxes import iou
from models.training.cells import Cells, inside

Array = NDArray[np.float32]
FAR = np.float32(1e5)  # cost of a cell that is in the box or near its centre, but not both


@dataclass(frozen=True)
class Assignment:
    """The P cells of one image that answer for a box."""

    cells: NDArray[np.int64]  # (P,) indices, ascending
    boxes: NDArray[np.int64]  # (P,) which box each answers for
    ious: Array  # (P,) of the cell's predicted box with it


def assign(
    scores: Array,
    predicted: Array,
    boxes: Array,
    cells: Cells,
    *,
    candidates: int = 10,
    iou_weight: float = 6.0,
    centre_radius: float = 2.5,
) -> Assignment:
    """SimOTA for one image.

    `scores` (M,) foreground probabilities and `predicted` (M, 4) boxes of the cells; `boxes` (G, 4) the true ones.
    `candidates` bounds how many cells a box may take; `centre_radius` is in strides.
    """
    if len(boxes) == 0:
        nothing = np.zeros(0, np.int64)
        return Assignment(nothing, nothing, np.zeros(0, np.float32))
    within, central = inside(cells, boxes), _central(cells, boxes, centre_radius)
    possible = np.flatnonzero((within | central).any(axis=1))
    ious = iou(predicted[possible], boxes)  # (Q, G)
    cost = _score_cost(scores[possible, None], ious) - iou_weight * np.log(ious + 1e-8)
    cost += np.where(within[possible] & central[possible], np.float32(0), FAR)
    wanted = np.zeros(cost.shape, bool)
    top = -np.sort(-ious, axis=0)[:candidates]
    counts = np.maximum(1, top.sum(axis=0).astype(np.int64))
    order = np.argsort(cost, axis=0, kind="stable")
    for box, count in enumerate(counts):
        wanted[order[:count, box], box] = True
    taken = np.flatnonzero(wanted.any(axis=1))
    # Where several boxes want a cell, the cheapest of those that want it gets it.
    owner = np.where(wanted[taken], cost[taken], np.inf).argmin(axis=1)
    return Assignment(possible[taken], owner, ious[taken, owner])


def _central(cells: Cells, boxes: Array, radius: float) -> NDArray[np.bool_]:
    """(M, G): the cell's centre is within `radius` strides of the box's, in x and in y."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    away = np.abs(cells.centres[:, None] - middle[None]).max(axis=2)
    return np.asarray(away < radius * cells.strides[:, None])


def _score_cost(scores: Array, ious: Array) -> Array:
    """(Q, 1), (Q, G) -> (Q, G): the Varifocal loss that the cell would have with that IoU as its target."""
    p = np.clip(scores, 1e-6, 1 - 1e-6)
    return np.asarray(-ious * (ious * np.log(p) + (1 - ious) * np.log(1 - p)), np.float32)
