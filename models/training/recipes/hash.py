"""Recipes of DeepHash: which network makes the binary codes, how many bits, and by which loss."""

from collections.abc import Iterator
from dataclasses import field
from typing import Annotated

from pydantic import Field

from models.tables import Count, Flag, Integer, NotNegative, Positive, Whole, known, rule
from models.training.recipes.embedder import EmbedderNetwork, wrong_colour_sizes
from models.training.recipes.metric import MetricOptimizer
from models.training.recipes.pictures import (
    EvalSource,
    Pictures,
    Stage,
    ViewSource,
    batches_hold_a_class,
    selects_by_its_own,
    sources_fit_together,
)
from models.training.recipes.reading import SidePx, table

NETWORKS = ("embedder", "projection")
LOSSES = ("dshsd", "lcdsh", "dch")
# The constants of PaddleClas' DeepHash recipes.
DSHSD_ALPHA = 0.05
LCDSH_LAMBDA = 3.0
DCH_GAMMA, DCH_LAMBDA = 20.0, 0.1


@table
class HashNetwork:
    """`embedder`: a ShiTu embedder of `bits` dimensions, trained whole. `projection`: one linear layer after a frozen artifact.

    Both end in tanh.
    """

    bits: Annotated[Integer, Field(ge=8, multiple_of=8)]
    kind: Annotated[str, known(*NETWORKS)] = "embedder"
    embedder: EmbedderNetwork = field(default_factory=EmbedderNetwork)  # its embedding_size is not used
    base: str = ""  # of a projection: name or folder of an embedder
    augmented_views: Count = 4  # of a projection: how many random augmentations of each view the base embeds
    rotated: Flag = True  # a projection begins as ITQ's rotation of the base's embeddings, not at random

    @rule("base", "kind")
    def _projections_have_a_base(self) -> Iterator[str]:
        if (self.kind == "projection") != bool(self.base):
            yield "a projection needs the embedder 'base', and nothing else does"


@table
class HashLoss:
    """The loss and its documented constants. `keep` weighs, for a projection, the distance from the base's cosines."""

    kind: Annotated[str, known(*LOSSES)]
    alpha: NotNegative = DSHSD_ALPHA  # dshsd: weight of the pairs
    lcdsh_weight: NotNegative = LCDSH_LAMBDA
    dch_gamma: Positive = DCH_GAMMA
    dch_weight: NotNegative = DCH_LAMBDA
    weight: Positive = 1.0  # of all parts of the loss
    keep: NotNegative = 0.0


@table
class HashRecipe:
    """Everything that decides what binary codes become, besides the pictures themselves."""

    name: str
    network: HashNetwork
    loss: HashLoss
    data: tuple[ViewSource, ...]
    stages: tuple[Stage, ...]
    optimizer: MetricOptimizer = field(default_factory=MetricOptimizer)
    eval: tuple[EvalSource, ...] = ()
    select_by: tuple[str, ...] = ()  # eval sets whose mean recall@1 decides which weights are kept; empty: all
    seed: Whole = 1
    views_per_class: Count = 4
    pool_px: SidePx = 128
    deploy_px: SidePx = 128
    evaluate_every: Count = 1000

    _sources_fit_together = sources_fit_together
    _batches_hold_a_class = batches_hold_a_class
    _selects_by_its_own = selects_by_its_own

    @rule("network", "stages", "deploy_px")
    def _colours_fit_the_sizes(self) -> Iterator[str]:
        return wrong_colour_sizes(self.network.embedder, (*(stage.size_px for stage in self.stages), self.deploy_px))

    @rule("loss", "network")
    def _only_projections_keep(self) -> Iterator[str]:
        if self.loss.keep and self.network.kind != "projection":
            yield "'keep' compares with the base of a projection; an embedder has none"

    @property
    def steps(self) -> int:
        """All optimiser steps, over all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def pictures(self) -> Pictures:
        """What pool, batches and eval sets need of it."""
        return Pictures(
            data=self.data,
            stages=self.stages,
            eval=self.eval,
            select_by=self.select_by,
            seed=self.seed,
            views_per_class=self.views_per_class,
            pool_px=self.pool_px,
            deploy_px=self.deploy_px,
            embedding_size=self.network.bits,
        )
