"""Recipes of metric learning: Backbone, BackboneStopLayer, Neck, Head and Loss, each a table of the TOML file.

The parts and their constants are PaddleClas'; what decides pictures, stages and eval sets is the embedder recipe's.
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from models.tables import (
    Cosine,
    Count,
    Flag,
    Float,
    Fraction,
    FractionBelowOne,
    NotNegative,
    Positive,
    Whole,
    known,
    rule,
)
from models.training.recipes.pictures import (
    EvalSource,
    Pictures,
    Stage,
    ViewSource,
    selects_by_its_own,
    sources_fit_together,
    stage_at,
    wrong_stages,
)
from models.training.recipes.reading import FourCounts, SidePx, table

BACKBONES = ("lcnet", "lcnetv2", "resnet50_vd")
NECKS = ("none", "fc", "bnneck")
HEADS = ("none", "fc", "arcmargin", "cosmargin", "circlemargin")
AUGMENTATIONS = ("shelf", "flip", "pad_crop", "resized_crop")
SMALLEST_POOL_PX = 32
SAMPLERS = ("class", "picture", "shuffle")
Features = Annotated[str, known("features", "backbone")]  # what a loss compares


@table
class Backbone:
    """Which network, how wide. `class_expand` and `shitu_last_stage` are of the LCNets."""

    kind: Annotated[str, known(*BACKBONES)]
    width: Positive = 1.0
    depths: FourCounts = (2, 2, 6, 2)  # lcnetv2
    class_expand: Count = 1280
    shitu_last_stage: Flag = False  # lcnetv2
    dropout: FractionBelowOne = 0.2  # of the LCNets


@table
class BackboneStopLayer:
    """The direct sublayer of the backbone whose output is the features."""

    name: str = "flatten"


@table
class Neck:
    """From the backbone's features to the embedding; `bnneck` and `none` keep their number."""

    kind: Annotated[str, known(*NECKS)] = "none"
    size: Count = 512  # fc


@table
class Head:
    """From the embedding to logits. Margin heads need `margin` and `scale`; `easy_margin` is ArcMargin's."""

    kind: Annotated[str, known(*HEADS)] = "none"
    margin: NotNegative = 0.0
    scale: NotNegative = 0.0
    easy_margin: Flag = False

    @rule("kind", "margin", "scale", "easy_margin")
    def _margin_heads_have_a_scale(self) -> Iterator[str]:
        if self.kind in ("none", "fc"):
            if self.margin or self.scale or self.easy_margin:
                yield f"{self.kind!r} has no margin and no scale"
        elif self.scale <= 0:
            yield f"{self.kind!r} needs a 'margin', and a 'scale' above 0"


@table
class CrossEntropy:
    """Softmax cross-entropy over the head's logits."""

    weight: NotNegative
    smoothing: FractionBelowOne = 0.0


@table
class Triplet:
    """TripletLossV2: by distance."""

    weight: NotNegative
    margin: NotNegative = 0.5
    normalize: Flag = True
    on: Features = "features"


@table
class TripletAngularMargin:
    """By angle, with absolute bounds."""

    weight: NotNegative
    margin: NotNegative = 0.5
    ap_value: Cosine = 0.8
    an_value: Cosine = 0.4
    absolute_weight: NotNegative = 0.1
    on: Features = "features"


@table
class SupCon:
    """Supervised contrastive."""

    weight: NotNegative
    temperature: Positive = 0.07
    on: Features = "features"


@table
class Contrastive:
    """Contrastive; with a `memory_size`, also against that many past embeddings, from step `memory_from` on."""

    weight: NotNegative
    margin: NotNegative = 0.5
    memory_size: Whole = 0
    memory_weight: NotNegative = 1.0
    memory_from: Whole = 1000
    on: Features = "features"


@table
class PairwiseCosface:
    """Pairwise CosFace."""

    weight: NotNegative
    margin: NotNegative = 0.35
    gamma: Positive = 64.0
    on: Features = "features"


@table
class Center:
    """Center loss; `rate` is how fast the centres follow."""

    weight: NotNegative
    rate: Fraction = 0.5
    on: Features = "features"


@table
class Loss:
    """A weighted sum: every loss that the recipe names, times its `weight`, also where it is the only one."""

    ce: CrossEntropy = CrossEntropy(0.0)
    triplet: Triplet = Triplet(0.0)
    triplet_angular_margin: TripletAngularMargin = TripletAngularMargin(0.0)
    supcon: SupCon = SupCon(0.0)
    contrastive: Contrastive = Contrastive(0.0)
    pairwise_cosface: PairwiseCosface = PairwiseCosface(0.0)
    center: Center = Center(0.0)

    @rule("ce", "triplet", "triplet_angular_margin", "supcon", "contrastive", "pairwise_cosface", "center")
    def _learns_something(self) -> Iterator[str]:
        if not (self.ce.weight or self.compares_pictures or self.center.weight):
            yield "no loss has a 'weight' above 0"

    @property
    def compares_pictures(self) -> bool:
        """Whether some loss is over pairs, which needs classes with two pictures in a batch."""
        pairwise = (self.triplet, self.triplet_angular_margin, self.supcon, self.contrastive, self.pairwise_cosface)
        return any(loss.weight for loss in pairwise)


@table
class Augment:
    """How a picture is augmented for each batch: `shelf` (models.training.data.augment), or PaddleClas' ways (metric_views)."""

    kind: Annotated[str, known(*AUGMENTATIONS)] = "shelf"
    rotation_probability: Fraction = 0.0
    rotation_deg: Annotated[Float, Field(ge=0, le=180)] = 90.0  # at most, either way
    erase_probability: Fraction = 0.0  # of a patch


@table
class Sampler:
    """`class`: `views_per_class` pictures of each of as many classes as fit, classes sampled evenly within a source (PK).

    `picture`: the same with classes sampled by their number of pictures. `shuffle`: every picture once an epoch.
    """

    kind: Annotated[str, known(*SAMPLERS)] = "class"
    views_per_class: Count = 4


@table
class MetricOptimizer:
    """Momentum or AdamW, warm-up and cosine decay; no average with `ema_decay` 0, no clipping with `clip_norm` 0."""

    kind: Annotated[str, known("momentum", "adamw")] = "momentum"
    learning_rate: Positive = 0.04
    weight_decay: NotNegative = 1e-5  # L2 with momentum, decoupled with adamw
    warmup_steps: Whole = 0
    ema_decay: FractionBelowOne = 0.0
    clip_norm: NotNegative = 0.0


@table
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
    pool_px: Whole = 128  # size that pictures are stored at; 0: photos are read from their files at every step
    deploy_px: SidePx = 128
    # batch-norm statistics are recomputed on so many pictures of the pool before an evaluation
    precise_bn_images: Whole = 0
    evaluate_every: Count = 1000

    _sources_fit_together = sources_fit_together
    _selects_by_its_own = selects_by_its_own

    @rule("stages", "sampler")
    def _batches_hold_a_class(self) -> Iterator[str]:
        return wrong_stages(self.stages, 1 if self.sampler.kind == "shuffle" else self.sampler.views_per_class)

    @rule("loss", "head")
    def _head_and_cross_entropy_go_together(self) -> Iterator[str]:
        if self.loss.ce.weight and self.head.kind == "none":
            yield "'ce' is over logits; it needs a 'head'"
        if self.head.kind != "none" and not self.loss.ce.weight:
            yield "the head learns nothing without 'ce'"

    @rule("sampler", "loss")
    def _pairs_are_sampled(self) -> Iterator[str]:
        if self.loss.compares_pictures and (self.sampler.kind == "shuffle" or self.sampler.views_per_class < 2):
            yield "a loss over pairs needs a sampler with 2 or more 'views_per_class'"

    @rule("pool_px", "precise_bn_images", "data")
    def _without_a_pool_there_are_only_files(self) -> Iterator[str]:
        if not self.pool_px and (self.precise_bn_images or any(source.kind == "rendered" for source in self.data)):
            yield "without a pool (0) there are only list sources, and no 'precise_bn_images'"
        if 0 < self.pool_px < SMALLEST_POOL_PX:
            yield f"must be 0, or {SMALLEST_POOL_PX} or more, not {self.pool_px}"

    @property
    def steps(self) -> int:
        """All optimiser steps, over all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        """The stage that `step` (from 0) falls in."""
        return stage_at(self.stages, step)

    def pictures_before(self, step: int) -> int:
        """How many pictures the batches before `step` have."""
        taken = 0
        for stage in self.stages:
            taken += min(step, stage.steps) * stage.batch
            step -= min(step, stage.steps)
        return taken

    @property
    def pictures(self) -> Pictures:
        """What pool and eval sets need of it."""
        return Pictures(
            data=self.data,
            stages=self.stages,
            eval=self.eval,
            select_by=self.select_by,
            seed=self.seed,
            views_per_class=1 if self.sampler.kind == "shuffle" else self.sampler.views_per_class,
            pool_px=self.pool_px,
            deploy_px=self.deploy_px,
            embedding_size=self.neck.size,
        )
