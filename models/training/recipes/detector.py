"""A detector's recipe: everything that decides what it becomes, besides the pictures themselves."""

import math
from collections.abc import Iterator
from dataclasses import field, replace
from typing import Annotated

from pydantic import Field

from models.nets.names import DETECTOR_ACTIVATIONS, DETECTOR_BACKBONES
from models.tables import Count, Flag, Fraction, FractionBelowOne, Integer, NotNegative, Positive, Whole, known, rule
from models.training.recipes.detector_tables import DetectionLoss, Distillation, PictureSource, Variation
from models.training.recipes.pictures import selects_by_its_own
from models.training.recipes.reading import SidePx, table

# The grids of strides 8, 16 and 32 must fit on each other.
InputPx = Annotated[Integer, Field(ge=64, multiple_of=32)]
EVAL_KINDS = ("rendered", "voc", "coco", "photos")


@table
class DetectorNetwork:
    """PicoDet's sizes; see models.nets.picodet.PicoDet."""

    scale: Positive = 0.75
    neck_channels: Annotated[Integer, Field(ge=2)] = 96
    neck_kernel: Count = 3
    head_convs: Whole = 2
    reg_max: Count = 7
    act: Annotated[str, known(*DETECTOR_ACTIVATIONS)] = "hard_swish"
    # or "esnet", the backbone of the official detectors of COCO
    body: Annotated[str, known(*DETECTOR_BACKBONES)] = "lcnet"
    # To begin with, below the data folder: an official PP-LCNet of the same scale (.pdparams), or the whole official
    # PicoDet-S of COCO (.onnx), which needs the body esnet, a scale of 0.75, a neck of 96 channels and kernels of 5.
    backbone: str = ""

    @rule("neck_kernel")
    def _kernel_is_odd(self) -> Iterator[str]:
        if not self.neck_kernel % 2:
            yield f"must be odd, not {self.neck_kernel}"


@table
class DetectorStage:
    """A stretch of training, in steps or in epochs; each step takes one of the input sizes at random."""

    steps: Whole = 0
    sizes_px: tuple[InputPx, ...] = ()  # multiples of 32
    batch: Count = 16
    epochs: NotNegative = 0.0

    @rule("steps", "epochs")
    def _has_one_length(self) -> Iterator[str]:
        if (self.steps > 0) == (self.epochs > 0):
            yield "a stage has either 'steps' or 'epochs'"

    @rule("sizes_px")
    def _has_a_size(self) -> Iterator[str]:
        if not self.sizes_px:
            yield "needs a size"


@table
class DetectorEvalSource:
    """Pictures never trained on: "rendered" scenes of other seeds, the held-out photos of a "voc" or "photos" source, or a
    "coco" file of their own."""

    kind: Annotated[str, known(*EVAL_KINDS)]
    name: str
    count: Whole = 0
    first_seed: Whole = 0
    root: str = ""
    file: str = ""
    images: str = "images"
    delimiter: str = "\t"
    teacher: str = ""
    made: Flag = False  # its file is one that `shitu data pseudo-boxes` makes: an evaluation goes without it until then

    @rule("count", "kind")
    def _renders_something(self) -> Iterator[str]:
        if self.kind == "rendered" and self.count < 1:
            yield "'rendered' needs a 'count' of 1 or more"


@table
class DetectorOptimizer:
    """What changes the weights, how fast, and their moving average."""

    kind: Annotated[str, known("adamw", "momentum")] = "adamw"  # or "momentum": SGD as the official detector is trained
    learning_rate: Positive = 2e-3
    weight_decay: NotNegative = 0.02
    momentum: FractionBelowOne = 0.9
    warmup_steps: Whole = 500
    warmup_from: Fraction = 0.0  # fraction of the learning rate that the warm-up begins with
    final: Fraction = 0.01  # fraction of the learning rate that the cosine ends with
    clip_norm: NotNegative = 5.0  # 0: none
    ema_decay: FractionBelowOne = 0.999
    # Cycle-EMA (PP-PicoDet, section 3): after each cycle the average forgets what was before.
    ema_cycle_steps: Whole = 0
    ema_cycle_epochs: NotNegative = 0.0
    ema_adopt: Flag = False  # at the end of a cycle, training continues from the average


@table
class DetectorRecipe:
    """Everything that decides what a detector becomes, besides the pictures themselves."""

    name: str
    data: tuple[PictureSource, ...]
    stages: tuple[DetectorStage, ...]
    eval: tuple[DetectorEvalSource, ...] = ()
    select_by: tuple[str, ...] = ()  # eval sets whose mean AP50 decides which weights are kept; empty: all
    seed: Whole = 1
    pool: Flag = True  # keep all pictures, stretched, on disk; False: read annotated photos whenever they are sampled
    pool_px: SidePx = 320
    deploy_px: InputPx = 256
    evaluate_every: Count = 250  # steps
    evaluate_every_epochs: NotNegative = 0.0
    network: DetectorNetwork = field(default_factory=DetectorNetwork)
    variation: Variation = field(default_factory=Variation)
    loss: DetectionLoss = field(default_factory=DetectionLoss)
    distill: Distillation = field(default_factory=Distillation)
    optimizer: DetectorOptimizer = field(default_factory=DetectorOptimizer)

    @rule("data")
    def _sources_fit_together(self) -> Iterator[str]:
        if not self.data:
            yield "needs a source"
        elif not any(source.sampling_weight for source in self.data):
            yield "every 'sampling_weight' is 0, so no picture would be sampled"

    @rule("stages")
    def _has_a_stage(self) -> Iterator[str]:
        if not self.stages:
            yield "needs a stage"

    _selects_by_its_own = selects_by_its_own

    @rule("pool", "data")
    def _without_a_pool_there_are_only_files(self) -> Iterator[str]:
        for source in self.data:
            if not self.pool and source.kind not in ("coco", "voc"):
                yield f"false goes with coco and voc sources only, not with {source.kind!r} ({source.name!r})"

    @property
    def steps(self) -> int:
        """All optimiser steps, over all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> DetectorStage:
        """The stage that `step` (from 0) falls in."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]

    def in_steps(self, pictures: int) -> "DetectorRecipe":
        """The same recipe with its epochs counted in steps, for so many pictures. What is in steps stays."""

        def steps(epochs: float, batch: int) -> int:
            return max(1, math.ceil(epochs * pictures / batch))

        stages = tuple(replace(s, steps=steps(s.epochs, s.batch), epochs=0.0) if s.epochs else s for s in self.stages)
        first, optimizer, every = self.stages[0].batch, self.optimizer, self.evaluate_every
        if optimizer.ema_cycle_epochs:
            cycle = steps(optimizer.ema_cycle_epochs, first)
            optimizer = replace(optimizer, ema_cycle_steps=cycle, ema_cycle_epochs=0.0)
        if self.evaluate_every_epochs:
            every = steps(self.evaluate_every_epochs, first)
        return replace(self, stages=stages, optimizer=optimizer, evaluate_every=every, evaluate_every_epochs=0.0)
