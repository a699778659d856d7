"""Which cells answer for which box, by shapes alone: ATSS (Zhang et al., "Bridging the Gap", arXiv:1912.02424).

A cell is a square anchor around its centre. On each level the anchors nearest to a box's middle are candidates;
those that overlap it by the candidates' mean IoU and one deviation more, and have their centre in it, answer for it.
Nothing that the network predicts is used, so the assignment is steady from the first step on.
"""

import numpy as np
from numpy.typing import NDArray

from models.boxes import iou
from models.training.cells import Cells, inside
from models.training.losses.assign import Assignment

Array = NDArray[np.float32]


def assign_atss(
    predicted: Array, boxes: Array, cells: Cells, *, candidates: int = 9, anchor_strides: float = 8.0
) -> Assignment:
    """ATSS for one image: `predicted` (M, 4) boxes of the cells, only for the IoUs that are returned; `boxes` (G, 4).

    `candidates` are taken a level; an anchor's side is `anchor_strides` strides. A box too small to hold a cell's centre
    gets none.
    """
    if len(boxes) == 0:
        nothing = np.zeros(0, np.int64)
        return Assignment(nothing, nothing, np.zeros(0, np.float32))
    half = cells.strides[:, None] * np.float32(anchor_strides / 2)
    overlaps = iou(np.concatenate([cells.centres - half, cells.centres + half], axis=1), boxes)  # (M, G)
    near = _nearest(cells, boxes, candidates)
    counts = near.sum(axis=0)
    mean = np.where(near, overlaps, 0).sum(axis=0) / counts
    spread = np.sqrt(np.where(near, (overlaps - mean) ** 2, 0).sum(axis=0) / np.maximum(counts - 1, 1))
    wanted = near & (overlaps >= mean + spread) & inside(cells, boxes)
    taken = np.flatnonzero(wanted.any(axis=1))
    owner = np.where(wanted[taken], overlaps[taken], -1).argmax(axis=1)  # wanted by several: the best overlap has it
    reached = iou(predicted[taken], boxes)[np.arange(len(taken)), owner]
    return Assignment(taken, owner, reached)


def _nearest(cells: Cells, boxes: Array, candidates: int) -> NDArray[np.bool_]:
    """(M, G): the cell is among the `candidates` of its level that are nearest to the box's middle."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    away = np.square(cells.centres[:, None] - middle[None]).sum(axis=2)
    near = np.zeros(away.shape, np.bool_)
    for stride in np.unique(cells.strides):
        level = np.flatnonzero(cells.strides == stride)
        order = np.argsort(away[level], axis=0, kind="stable")[:candidates]
        near[level[order], np.arange(len(boxes))] = True
    return near
