"""Recipes of embedders: the network, its teachers and losses, and the pictures it is trained on."""

from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Annotated

from models.tables import Count, Flag, Fraction, FractionBelowOne, NotNegative, Positive, Whole, known, rule
from models.training.recipes.pictures import (
    EmbedderTeacher,
    EvalSource,
    PictureSources,
    Stage,
    Teacher,
    ViewSource,
    batches_hold_a_class,
    selects_by_its_own,
    sources_fit_together,
    stage_at,
)
from models.training.recipes.reading import FourCounts, SidePx, table

LITE_KINDS = ("lite0", "lite1", "lite2")


@table
class EmbedderNetwork:
    """Which ShiTu embedder, and how wide."""

    # "v2": PP-LCNetV2 + BNNeck; "v1": PP-LCNet + FC; "lite0", "lite1", "lite2": EfficientNet-Lite + FC
    kind: Annotated[str, known("v1", "v2", *LITE_KINDS)] = "v2"
    width: Positive = 0.5
    depths: FourCounts = (2, 2, 6, 2)
    embedding_size: Count = 512
    dropout: FractionBelowOne = 0.0
    colours: Flag = False  # v2 only: add a colour histogram's features before the neck
    # v2 only: a last linear map evens out the embedding's directions, fitted before each evaluation
    whitened: Flag = False
    pretrained: str = ""  # lite only: the package that its weights come in, or a file of them below the data folder

    @rule("pretrained", "kind")
    def _pretrained_is_of_lite(self) -> Iterator[str]:
        if self.pretrained and self.kind not in LITE_KINDS:
            yield "goes with the kinds " + ", ".join(LITE_KINDS)

    @rule("kind", "colours", "whitened")
    def _colours_are_of_v2(self) -> Iterator[str]:
        if (self.colours or self.whitened) and self.kind != "v2":
            yield f"'colours' and 'whitened' go with the kind v2, not {self.kind!r}"


@table
class EmbedderLoss:
    """Weights and constants of the summed losses; names as in models.training.losses."""

    class_weight: NotNegative = 1.0
    # fraction of all steps over which the class loss grows from a tenth: a teacher is learned first
    class_ramp: Fraction = 0.0
    margin: NotNegative = 0.2
    scale: Positive = 24.0
    smoothing: Fraction = 0.0  # of the class loss: what of a label is spread over all classes
    distill_weight: NotNegative = 4.0
    vector_weight: NotNegative = 1.0
    relation_weight: NotNegative = 0.0  # similarities between pictures, learned from those of their known vectors
    teacher_relation_weight: NotNegative = 0.0  # the same with the similarities that all `teachers` see together
    triplet_weight: NotNegative = 0.0
    triplet_from: Fraction = 0.6  # fraction of all steps


@table
class Optimizer:
    """AdamW with linear warm-up and cosine decay, and an exponential moving average of the weights."""

    learning_rate: Positive = 2e-3
    backbone_rate: NotNegative = 1.0  # the pretrained backbone's learning rate, relative to the neck's
    proxy_rate: NotNegative = 1.0  # that of the class proxies
    weight_decay: NotNegative = 0.02
    warmup_steps: Whole = 500
    ema_decay: FractionBelowOne = 0.999
    clip_norm: NotNegative = 5.0


@table
class WithinClasses:
    """How much the differences within one source's classes count: those are what whitening takes out."""

    name: str
    weight: Positive


@table
class WhitenedStart:
    """Start the neck and the class proxies from the pretrained features, whitened within classes. Without sources: at random."""

    sources: tuple[WithinClasses, ...] = ()
    ridge: Positive = 0.2  # of the mean eigenvalue, added to each


@table
class UnknownSource:
    """Pictures of other things, whose embeddings ship as queries that have no right answer."""

    root: str
    file: str = "labels.tsv"
    delimiter: str = "\t"
    most: Count = 400


@table
class EmbedderRecipe:
    """Everything that decides what an embedder becomes, besides the pictures themselves."""

    name: str
    data: tuple[ViewSource, ...]
    stages: tuple[Stage, ...]
    eval: tuple[EvalSource, ...] = ()
    unknowns: tuple[UnknownSource, ...] = ()
    select_by: tuple[str, ...] = ()  # eval sets whose mean recall@1 decides which weights are kept; empty: all
    seed: Whole = 1
    views_per_class: Count = 2
    hard_classes: Fraction = 0.0  # of a batch's classes: neighbours of its others, as flavours of one design are
    handheld: Flag = False  # views have fingers, glare, low light and shake as well, and are seldom mirrored
    pool_px: SidePx = 128
    deploy_px: SidePx = 128
    evaluate_every: Count = 1000
    network: EmbedderNetwork = field(default_factory=EmbedderNetwork)
    teacher: Teacher = field(default_factory=Teacher)
    teachers: tuple[EmbedderTeacher, ...] = ()  # the first one's embeddings are the student's targets
    whitening: WhitenedStart = field(default_factory=WhitenedStart)
    loss: EmbedderLoss = field(default_factory=EmbedderLoss)
    optimizer: Optimizer = field(default_factory=Optimizer)

    _sources_fit_together = sources_fit_together
    _batches_hold_a_class = batches_hold_a_class
    _selects_by_its_own = selects_by_its_own

    @rule("network", "stages", "deploy_px")
    def _colours_fit_the_sizes(self) -> Iterator[str]:
        return wrong_colour_sizes(self.network, (*(stage.size_px for stage in self.stages), self.deploy_px))

    @rule("whitening", "data", "network")
    def _whitens_its_own_sources(self) -> Iterator[str]:
        names = {source.name for source in self.data}
        for part in self.whitening.sources:
            if part.name not in names:
                yield f"names no source of this recipe: {part.name!r}"
        if self.whitening.sources and self.network.kind not in LITE_KINDS:
            yield "goes with the kinds " + ", ".join(LITE_KINDS)

    @property
    def embedding_size(self) -> int:
        """Dimensions of an embedding."""
        return self.network.embedding_size

    @property
    def steps(self) -> int:
        """All optimiser steps, over all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        """The stage that `step` (from 0) falls in."""
        return stage_at(self.stages, step)

    @property
    def pictures(self) -> PictureSources:
        """What pool, batches and eval sets need of it."""
        return self


def wrong_colour_sizes(network: EmbedderNetwork, sizes_px: Iterable[int]) -> Iterator[str]:
    """For each input size that a network with a colour histogram can't have."""
    for size in sizes_px:
        if network.colours and size % 16:
            yield f"with 'colours', 'size_px' and 'deploy_px' are multiples of 16, not {size}"
