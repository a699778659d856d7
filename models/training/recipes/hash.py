"""Recipes of DeepHash: which network makes the codes, how many bits, and by which loss."""

from dataclasses import dataclass, field
from typing import Annotated

from models.training.recipes.bounds import Count, NotNegative, Positive, SidePx, Whole, Within
from models.training.recipes.embedder import EmbedderNetwork, EmbedderRecipe, EvalSource, RecipeError, Stage, ViewSource
from models.training.recipes.metric import MetricOptimizer

NETWORKS = ("embedder", "projection")
LOSSES = ("dshsd", "lcdsh", "dch")
# The constants of PaddleClas' DeepHash recipes.
DSHSD_ALPHA = 0.05
LCDSH_LAMBDA = 3.0
DCH_GAMMA, DCH_LAMBDA = 20.0, 0.1


@dataclass(frozen=True)
class HashNetwork:
    """`embedder`: a ShiTu embedder of `bits` numbers, trained whole. `projection`: one linear layer behind a frozen artifact.

    Both end in tanh.
    """

    bits: Annotated[int, Within(8, multiple=8)]
    kind: str = "embedder"
    embedder: EmbedderNetwork = field(default_factory=EmbedderNetwork)  # its embedding_size is not used
    base: str = ""  # of a projection: name or folder of an embedder
    changes: Count = 4  # of a projection: how many random changes of each view the base embeds
    rotated: bool = True  # a projection begins as ITQ's rotation of the base's embeddings, not at random

    def __post_init__(self) -> None:
        if self.kind not in NETWORKS:
            raise RecipeError(f"'kind' must be one of {', '.join(NETWORKS)}, not {self.kind!r}")
        if (self.kind == "projection") != bool(self.base):
            raise RecipeError("a projection needs the embedder 'base', and nothing else does")


@dataclass(frozen=True)
class HashLoss:
    """The loss and its documented constants. `keep` weighs, for a projection, the distance from the base's cosines."""

    kind: str
    alpha: NotNegative = DSHSD_ALPHA  # dshsd: weight of the pairs
    lcdsh_weight: NotNegative = LCDSH_LAMBDA
    dch_gamma: Positive = DCH_GAMMA
    dch_weight: NotNegative = DCH_LAMBDA
    weight: Positive = 1.0  # of all parts of the loss
    keep: NotNegative = 0.0

    def __post_init__(self) -> None:
        if self.kind not in LOSSES:
            raise RecipeError(f"'kind' must be one of {', '.join(LOSSES)}, not {self.kind!r}")


@dataclass(frozen=True)
class HashRecipe:
    """Everything that decides what codes become, besides the pictures themselves."""

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

    def __post_init__(self) -> None:
        _ = self.pictures  # checks data, stages and eval sets
        if self.loss.keep and self.network.kind != "projection":
            raise RecipeError("'keep' compares with the base of a projection; an embedder has none")

    @property
    def steps(self) -> int:
        """All optimiser steps, over all stages."""
        return sum(stage.steps for stage in self.stages)

    @property
    def pictures(self) -> EmbedderRecipe:
        """What decides pool, batches and eval sets, as the code that makes those knows it."""
        return EmbedderRecipe(
            self.name,
            self.data,
            self.stages,
            eval=self.eval,
            select_by=self.select_by,
            seed=self.seed,
            views_per_class=self.views_per_class,
            pool_px=self.pool_px,
            deploy_px=self.deploy_px,
            evaluate_every=self.evaluate_every,
            network=self.network.embedder,
        )
