"""The sum of losses that a recipe names, each with its weight, over what the network gave."""

from dataclasses import dataclass, replace

import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
from paddle import nn

from models.training.engine.processes import ALONE, Group
from models.training.losses.center import CenterLoss
from models.training.losses.contrastive import ContrastiveWithMemory
from models.training.losses.cosface import pairwise_cosface_loss
from models.training.losses.cross_entropy import cross_entropy
from models.training.losses.supcon import supcon_loss
from models.training.losses.triplets import triplet_angular_margin_loss, triplet_loss_v2
from models.training.recipes.metric import Loss


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
    """Outputs, labels (B,) and the step from 0 -> the weighted parts by name. Its state is the losses' memories.

    Of several processes each gives its own B pictures; all but the cross-entropy see the pictures of all, so memories are
    alike everywhere, and the mean over the group is what one process would have.
    """

    def __init__(self, table: Loss, classes: int, backbone_size: int, features_size: int, group: Group = ALONE) -> None:
        super().__init__()
        self.table, self.group = table, group
        sizes = {"backbone": backbone_size, "features": features_size}
        self.center = CenterLoss(classes, sizes[table.center.on], table.center.rate) if table.center.weight else None
        memory = table.contrastive
        self.contrastive = (
            ContrastiveWithMemory(
                sizes[memory.on], memory.margin, memory.memory_size, memory.memory_weight, memory.memory_from
            )
            if memory.weight
            else None
        )

    def forward(self, out: Outputs, labels: paddle.Tensor, step: int) -> dict[str, paddle.Tensor]:
        table, parts = self.table, {}
        if table.ce.weight and out.logits is not None:
            parts["ce"] = table.ce.weight * cross_entropy(out.logits, labels, table.ce.smoothing)
        out = replace(out, **{name: self.group.gather(out.named(name)) for name in self._read()})
        labels = self.group.gather(labels)
        if (triplet := table.triplet).weight:
            rows = F.normalize(out.named(triplet.on), axis=1) if triplet.normalize else out.named(triplet.on)
            parts["triplet"] = triplet.weight * triplet_loss_v2(rows, labels, triplet.margin)
        if (angular := table.triplet_angular_margin).weight:
            parts["triplet_angular_margin"] = angular.weight * triplet_angular_margin_loss(
                F.normalize(out.named(angular.on), axis=1),
                labels,
                angular.margin,
                ap_value=angular.ap_value,
                an_value=angular.an_value,
                absolute_weight=angular.absolute_weight,
            )
        if (supcon := table.supcon).weight:
            rows = F.normalize(out.named(supcon.on), axis=1)
            parts["supcon"] = supcon.weight * supcon_loss(rows, labels, supcon.temperature)
        if self.contrastive is not None:
            rows = out.named(table.contrastive.on)
            parts["contrastive"] = table.contrastive.weight * self.contrastive(rows, labels, step)
        if (cosface := table.pairwise_cosface).weight:
            rows = F.normalize(out.named(cosface.on), axis=1)
            parts["pairwise_cosface"] = cosface.weight * pairwise_cosface_loss(
                rows, labels, cosface.margin, cosface.gamma
            )
        if self.center is not None:
            parts["center"] = table.center.weight * self.center(out.named(table.center.on), labels)
        return parts

    def _read(self) -> list[str]:
        """Which outputs the losses over all pictures take.

        In an order that all processes have: that of a set of names is another in each, and what one process gathers as
        features would be put next to what the other gathers as the backbone's.
        """
        table = self.table
        losses = (table.triplet, table.triplet_angular_margin, table.supcon, table.contrastive, table.pairwise_cosface)
        return sorted({loss.on for loss in (*losses, table.center) if loss.weight})
