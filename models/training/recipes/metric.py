"""Recipes of metric learning: Backbone, BackboneStopLayer, Neck, Head and Loss, each a table of the TOML file.

The parts and their constants are PaddleClas'; what decides pictures, stages and eval sets is the embedder recipe's.
"""

from dataclasses import dataclass
from typing import Annotated

from models.training.recipes.bounds import (
    Cosine,
    Count,
    FourCounts,
    NotNegative,
    PartOfOne,
    Positive,
    Share,
    SidePx,
    Whole,
    Within,
)
from models.training.recipes.embedder import EmbedderRecipe, EvalSource, RecipeError, Stage, ViewSource

PoolPx = Annotated[int, Within(32, or_zero=True)]
BACKBONES = ("lcnet", "lcnetv2", "resnet50_vd")
NECKS = ("none", "fc", "bnneck")
HEADS = ("none", "fc", "arcmargin", "cosmargin", "circlemargin")
CHANGES = ("shelf", "flip", "pad_crop", "resized_crop")
SAMPLERS = ("class", "picture", "shuffle")
FEATURES = ("features", "backbone")


def _one_of(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise RecipeError(f"{key!r} must be one of {', '.join(known)}, not {value!r}")


@dataclass(frozen=True)
class Backbone:
    """Which network, how wide. `class_expand` and `shitu_last_stage` are of the LCNets."""

    kind: str
    width: Positive = 1.0
    depths: FourCounts = (2, 2, 6, 2)  # lcnetv2
    class_expand: Count = 1280
    shitu_last_stage: bool = False  # lcnetv2
    dropout: PartOfOne = 0.2  # of the LCNets

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, BACKBONES)


@dataclass(frozen=True)
class BackboneStopLayer:
    """The direct sublayer of the backbone whose output is the features."""

    name: str = "flatten"


@dataclass(frozen=True)
class Neck:
    """From the backbone's features to the embedding; `bnneck` and `none` keep their number."""

    kind: str = "none"
    size: Count = 512  # fc

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, NECKS)


@dataclass(frozen=True)
class Head:
    """From the embedding to logits. Margin heads need `margin` and `scale`; `easy_margin` is ArcMargin's."""

    kind: str = "none"
    margin: NotNegative = 0.0
    scale: NotNegative = 0.0
    easy_margin: bool = False

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, HEADS)
        if self.kind in ("none", "fc"):
            if self.margin or self.scale or self.easy_margin:
                raise RecipeError(f"the kind {self.kind!r} has no margin and no scale")
        elif self.scale <= 0:
            raise RecipeError(f"the kind {self.kind!r} needs a 'margin', and a 'scale' above 0")


@dataclass(frozen=True)
class CrossEntropy:
    """Softmax cross-entropy over the head's logits."""

    weight: NotNegative
    smoothing: PartOfOne = 0.0


@dataclass(frozen=True)
class Triplet:
    """TripletLossV2: by distance."""

    weight: NotNegative
    margin: NotNegative = 0.5
    normalize: bool = True
    on: str = "features"

    def __post_init__(self) -> None:
        _one_of("on", self.on, FEATURES)


@dataclass(frozen=True)
class TripletAngularMargin:
    """By angle, with absolute bounds."""

    weight: NotNegative
    margin: NotNegative = 0.5
    ap_value: Cosine = 0.8
    an_value: Cosine = 0.4
    absolute_weight: NotNegative = 0.1
    on: str = "features"

    def __post_init__(self) -> None:
        _one_of("on", self.on, FEATURES)


@dataclass(frozen=True)
class SupCon:
    """Supervised contrastive."""

    weight: NotNegative
    temperature: Positive = 0.07
    on: str = "features"

    def __post_init__(self) -> None:
        _one_of("on", self.on, FEATURES)


@dataclass(frozen=True)
class Contrastive:
    """Contrastive; with a `memory_size`, also against that many past embeddings, from step `memory_from` on."""

    weight: NotNegative
    margin: NotNegative = 0.5
    memory_size: Whole = 0
    memory_weight: NotNegative = 1.0
    memory_from: Whole = 1000
    on: str = "features"

    def __post_init__(self) -> None:
        _one_of("on", self.on, FEATURES)


@dataclass(frozen=True)
class PairwiseCosface:
    """Pairwise CosFace."""

    weight: NotNegative
    margin: NotNegative = 0.35
    gamma: Positive = 64.0
    on: str = "features"

    def __post_init__(self) -> None:
        _one_of("on", self.on, FEATURES)


@dataclass(frozen=True)
class Center:
    """Center loss; `rate` is how fast the centres follow."""

    weight: NotNegative
    rate: Share = 0.5
    on: str = "features"

    def __post_init__(self) -> None:
        _one_of("on", self.on, FEATURES)


@dataclass(frozen=True)
class Loss:
    """A weighted sum: every loss that the recipe names, times its `weight`, also where it is the only one."""

    ce: CrossEntropy = CrossEntropy(0.0)
    triplet: Triplet = Triplet(0.0)
    triplet_angular_margin: TripletAngularMargin = TripletAngularMargin(0.0)
    supcon: SupCon = SupCon(0.0)
    contrastive: Contrastive = Contrastive(0.0)
    pairwise_cosface: PairwiseCosface = PairwiseCosface(0.0)
    center: Center = Center(0.0)

    def __post_init__(self) -> None:
        if not (self.ce.weight or self.compares_pictures or self.center.weight):
            raise RecipeError("no loss has a weight")

    @property
    def compares_pictures(self) -> bool:
        """Whether some loss is over pairs, which needs classes with two pictures in a batch."""
        pairwise = (self.triplet, self.triplet_angular_margin, self.supcon, self.contrastive, self.pairwise_cosface)
        return any(loss.weight for loss in pairwise)


@dataclass(frozen=True)
class Augment:
    """How a picture is changed for each batch: `shelf` (models.training.data.augment), or PaddleClas' ways (metric_views)."""

    kind: str = "shelf"
    rotation_probability: Share = 0.0
    rotation_deg: Annotated[float, Within(0, 180)] = 90.0  # at most, either way
    erase_probability: Share = 0.0  # of a patch

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, CHANGES)


@dataclass(frozen=True)
class Sampler:
    """`class`: `views_per_class` pictures of each of as many classes as fit, classes drawn evenly within a source (PK).

    `picture`: the same with classes drawn by their number of pictures. `shuffle`: every picture once an epoch.
    """

    kind: str = "class"
    views_per_class: Count = 4

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, SAMPLERS)


@dataclass(frozen=True)
class MetricOptimizer:
    """Momentum or AdamW, warm-up and cosine decay; no average with `ema_decay` 0, no clipping with `clip_norm` 0."""

    kind: str = "momentum"
    learning_rate: Positive = 0.04
    weight_decay: NotNegative = 1e-5  # L2 with momentum, decoupled with adamw
    warmup_steps: Whole = 0
    ema_decay: PartOfOne = 0.0
    clip_norm: NotNegative = 0.0

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, ("momentum", "adamw"))


@dataclass(frozen=True)
class MetricRecipe:
    """Everything that decides what an embedder becomes by metric learning, besides the pictures themselves."""

    name: str
    backbone: Backbone
    loss: Loss
    data: tuple[ViewSource, ...]
    stages: tuple[Stage, ...]
    stop_layer: BackboneStopLayer = BackboneStopLayer()
    neck: Neck = Neck()
    head: Head = Head()
    augment: Augment = Augment()
    sampler: Sampler = Sampler()
    optimizer: MetricOptimizer = MetricOptimizer()
    eval: tuple[EvalSource, ...] = ()
    select_by: tuple[str, ...] = ()  # eval sets whose mean recall@1 decides which weights are kept; empty: all
    seed: Whole = 1
    pool_px: PoolPx = 128  # size that pictures are stored at; 0: photos are read from their files at every step
    deploy_px: SidePx = 128
    settle_pictures: Whole = 0  # batch statistics are recomputed on so many pictures of the pool before an evaluation
    evaluate_every: Count = 1000

    def __post_init__(self) -> None:
        _ = self.pictures  # checks data, stages and eval sets
        if self.loss.ce.weight and self.head.kind == "none":
            raise RecipeError("the loss 'ce' is over logits; it needs a 'head'")
        if self.head.kind != "none" and not self.loss.ce.weight:
            raise RecipeError("the head learns nothing without the loss 'ce'")
        if self.loss.compares_pictures and (self.sampler.kind == "shuffle" or self.sampler.views_per_class < 2):
            raise RecipeError("a loss over pairs needs a sampler with 2 or more 'views_per_class'")
        if not self.pool_px and (self.settle_pictures or any(source.kind == "rendered" for source in self.data)):
            raise RecipeError("without a pool ('pool_px' 0) there are only list sources, and no 'settle_pictures'")

    @property
    def steps(self) -> int:
        """All optimiser steps, over all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        """The stage that `step` (from 0) falls in."""
        return self.pictures.stage_at(step)

    def pictures_before(self, step: int) -> int:
        """How many pictures the batches before `step` have."""
        taken = 0
        for stage in self.stages:
            taken += min(step, stage.steps) * stage.batch
            step -= min(step, stage.steps)
        return taken

    @property
    def pictures(self) -> EmbedderRecipe:
        """What decides pool and eval sets, as the code that makes those knows it."""
        return EmbedderRecipe(
            self.name,
            self.data,
            self.stages,
            eval=self.eval,
            select_by=self.select_by,
            seed=self.seed,
            views_per_class=1 if self.sampler.kind == "shuffle" else self.sampler.views_per_class,
            pool_px=self.pool_px,
            deploy_px=self.deploy_px,
            evaluate_every=self.evaluate_every,
        )
