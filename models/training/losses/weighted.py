"""The sum of losses that a recipe names, each with its weight, over what the network gave.

A loss over all pictures is a layer in a file of its own, made from its table in the recipe: `(table, dim, classes)`, then
`(features (B, dim), labels (B,), step)` -> scalar. To add one, write the file, its table in models.training.recipes.metric
(which must be read without PaddlePaddle), and name both in LOSSES.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import paddle
from paddle import nn

from models.training.engine.processes import ALONE, Group
from models.training.losses.center import CenterLoss
from models.training.losses.contrastive import ContrastiveLoss
from models.training.losses.cosface import PairwiseCosfaceLoss
from models.training.losses.cross_entropy import cross_entropy
from models.training.losses.supcon import SupConLoss
from models.training.losses.triplets import TripletAngularMarginLoss, TripletLossV2
from models.training.recipes.metric import Loss

LOSSES: dict[str, Callable[[Any, int, int], nn.Layer]] = {  # by the key of the recipe's [loss]; in the log's order
    "triplet": TripletLossV2,
    "triplet_angular_margin": TripletAngularMarginLoss,
    "supcon": SupConLoss,
    "contrastive": ContrastiveLoss,
    "pairwise_cosface": PairwiseCosfaceLoss,
    "center": CenterLoss,
}


@dataclass(frozen=True)
class Outputs:
    """What the parts of the network give for a batch."""

    backbone: paddle.Tensor  # (B, F), after the stop layer
    features: paddle.Tensor  # (B, D), after the neck
    logits: paddle.Tensor | None  # (B, classes), the head's

    def named(self, name: str) -> paddle.Tensor:
        """`backbone` or `features`."""
        return self.backbone if name == "backbone" else self.features


class WeightedLosses(nn.Layer):
    """Outputs, labels (B,) and the step from 0 -> the weighted losses by name. Its state is the losses' memories.

    Of several processes each gives its own B pictures; all but the cross-entropy see the pictures of all, so memories are
    alike everywhere, and the mean over the group is what one process would have.
    """

    def __init__(self, table: Loss, classes: int, backbone_size: int, features_size: int, group: Group = ALONE) -> None:
        super().__init__()
        self.table, self.group = table, group
        sizes = {"backbone": backbone_size, "features": features_size}
        self.tables = {name: own for name in LOSSES if (own := getattr(table, name)).weight}
        for name, own in self.tables.items():
            self.add_sublayer(name, LOSSES[name](own, sizes[own.on], classes))

    def forward(self, out: Outputs, labels: paddle.Tensor, step: int) -> dict[str, paddle.Tensor]:
        ce, losses = self.table.ce, {}
        if ce.weight and out.logits is not None:
            losses["ce"] = ce.weight * cross_entropy(out.logits, labels, ce.smoothing)
        # Sorted: all processes gather in one order, which that of a set of names is not.
        read = sorted({own.on for own in self.tables.values()})
        out = replace(out, **{name: self.group.gather(out.named(name)) for name in read})
        labels = self.group.gather(labels)
        for name, own in self.tables.items():
            losses[name] = own.weight * getattr(self, name)(out.named(own.on), labels, step)
        return losses
