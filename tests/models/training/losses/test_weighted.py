"""The weighted sum: each part as its own function gives it, times its weight; and each of them trains a network."""

from dataclasses import replace
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F  # noqa: N812  # the field's own name for it
import pytest

from models.training.engine.inputs import normalize
from models.training.engine.processes import Group
from models.training.losses.contrastive import contrastive_loss
from models.training.losses.cosface import pairwise_cosface_loss
from models.training.losses.cross_entropy import cross_entropy
from models.training.losses.supcon import supcon_loss
from models.training.losses.triplets import triplet_angular_margin_loss, triplet_loss_v2
from models.training.losses.weighted import Outputs, WeightedLosses
from models.training.networks.metric import MetricModule
from models.training.recipes.metric import (
    Center,
    Contrastive,
    CrossEntropy,
    Head,
    Loss,
    PairwiseCosface,
    SupCon,
    Triplet,
    TripletAngularMargin,
)
from tests.models.training.metric_tiny import QUICK

LABELS = np.repeat(np.arange(4), 4)
EVERY = Loss(
    ce=CrossEntropy(2.0, 0.1),
    triplet=Triplet(3.0, 0.7, normalize=False, on="backbone"),
    triplet_angular_margin=TripletAngularMargin(4.0, 0.6, 0.7, 0.3, 0.2),
    supcon=SupCon(5.0, 0.2, on="backbone"),
    contrastive=Contrastive(6.0, 0.1),
    pairwise_cosface=PairwiseCosface(7.0, 0.2, 8.0),
    center=Center(8.0, on="backbone"),
)


def test_the_parts_are_the_losses_times_their_weights() -> None:
    rng = np.random.default_rng(0)
    backbone, features, logits = (
        paddle.to_tensor(rng.normal(size=(16, size)).astype(np.float32)) for size in (6, 5, 4)
    )
    labels = paddle.to_tensor(LABELS)
    losses = WeightedLosses(EVERY, 4, 6, 5)
    got = {name: float(part) for name, part in losses(Outputs(backbone, features, logits), labels, 0).items()}
    unit, unit_backbone = F.normalize(features, axis=1), F.normalize(backbone, axis=1)
    bounds: dict[str, Any] = {"ap_value": 0.7, "an_value": 0.3, "absolute_weight": 0.2}
    expected = {
        "ce": 2.0 * cross_entropy(logits, labels, 0.1),
        "triplet": 3.0 * triplet_loss_v2(backbone, labels, 0.7),
        "triplet_angular_margin": 4.0 * triplet_angular_margin_loss(unit, labels, 0.6, **bounds),
        "supcon": 5.0 * supcon_loss(unit_backbone, labels, 0.2),
        "contrastive": 6.0 * contrastive_loss(unit, labels, unit, labels, 0.1),
        "pairwise_cosface": 7.0 * pairwise_cosface_loss(unit, labels, 0.2, 8.0),
        "center": 8.0 * (backbone * backbone).sum(axis=1).mean(),
    }
    assert got == pytest.approx({name: float(value) for name, value in expected.items()}, rel=1e-5)


def test_a_loss_alone_keeps_its_weight_and_others_are_not_there() -> None:
    features = paddle.to_tensor(np.random.default_rng(0).normal(size=(16, 5)).astype(np.float32))
    labels = paddle.to_tensor(LABELS)
    losses = WeightedLosses(Loss(supcon=SupCon(0.25)), 4, 5, 5)
    got = losses(Outputs(features, features, None), labels, 0)
    assert set(got) == {"supcon"}
    assert float(got["supcon"]) == pytest.approx(0.25 * float(supcon_loss(F.normalize(features, axis=1), labels)))
    assert not losses.state_dict()


class Noting(Group):
    """A group of one that notes how wide is what it gathers."""

    def gather(self, part: paddle.Tensor) -> paddle.Tensor:
        gathered.append(part.shape[-1])
        return part


gathered: list[int] = []


def test_what_is_gathered_comes_in_the_order_of_its_names() -> None:
    """Not in that of a set, which is another in each process: they would take one's features for another's backbone."""
    gathered.clear()
    backbone, features = paddle.ones([16, 6]), paddle.ones([16, 5])
    WeightedLosses(EVERY, 4, 6, 5, Noting(0, 1))(
        Outputs(backbone, features, paddle.ones([16, 4])), paddle.to_tensor(LABELS), 0
    )
    assert gathered == [6, 5, 16]


def pictures() -> np.ndarray:
    """16 pictures of 4 classes that differ by where they are bright, under noise."""
    rng = np.random.default_rng(5)
    kinds = rng.integers(60, 200, (4, 4, 4, 3)).repeat(8, axis=1).repeat(8, axis=2)
    noise = rng.normal(0, 60, (16, 32, 32, 3))
    return np.clip(kinds[LABELS] + noise, 0, 255).astype(np.uint8)


ONLY_CE = Loss(ce=CrossEntropy(1.0))
WAYS = {
    "fc": (Head("fc"), ONLY_CE),
    "arcmargin": (Head("arcmargin", 0.2, 16.0), ONLY_CE),
    "cosmargin": (Head("cosmargin", 0.2, 16.0), ONLY_CE),
    "circlemargin": (Head("circlemargin", 0.25, 16.0), ONLY_CE),
    "smoothed": (Head("fc"), Loss(ce=CrossEntropy(1.0, 0.1))),
    "triplet": (Head(), Loss(triplet=Triplet(1.0))),
    "triplet_angular_margin": (Head(), Loss(triplet_angular_margin=TripletAngularMargin(1.0))),
    "supcon": (Head(), Loss(supcon=SupCon(1.0))),
    "contrastive": (Head(), Loss(contrastive=Contrastive(1.0, 0.3))),
    "memory": (Head(), Loss(contrastive=Contrastive(1.0, 0.3, memory_size=24, memory_from=2))),
    "pairwise_cosface": (Head(), Loss(pairwise_cosface=PairwiseCosface(1.0, 0.2, 16.0))),
    "center": (Head("fc"), Loss(ce=CrossEntropy(1.0), center=Center(0.05))),
}


def separation(module: MetricModule, images: paddle.Tensor) -> float:
    """How much more alike pictures of a class are than pictures of two, by mean cosine."""
    module.train()  # a few steps recompute no running statistics
    with paddle.no_grad():
        rows = F.normalize(module.embedder(images), axis=1).numpy()
    alike, same = rows @ rows.T, LABELS[:, None] == LABELS[None]
    return float(alike[same & ~np.eye(16, dtype=bool)].mean() - alike[~same].mean())


@pytest.mark.parametrize("way", WAYS)
def test_a_few_steps_end_better_than_they_began(way: str) -> None:
    head, loss = WAYS[way]
    paddle.seed(0)
    module = MetricModule(replace(QUICK, head=head, loss=loss), 4)
    optimizer = paddle.optimizer.Adam(0.003, parameters=[p for p in module.parameters() if not p.stop_gradient])
    images, labels = paddle.to_tensor(normalize(pictures())), paddle.to_tensor(LABELS)
    before, losses = separation(module, images), []
    for step in range(7):
        module.train()
        total = sum(module(images, labels, step).values(), paddle.zeros([]))
        losses.append(float(total))
        total.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert losses[-1] < 0.9 * losses[0]
    assert separation(module, images) > before + 0.1
