"""A detector's recipe: everything that decides what it becomes, besides the pictures themselves."""

import math
from dataclasses import dataclass, field, replace
from typing import Annotated

from models.nets.names import DETECTOR_ACTIVATIONS, DETECTOR_BACKBONES
from models.training.recipes.bounds import Count, NotNegative, PartOfOne, Positive, Share, SidePx, Whole, Within
from models.training.recipes.detector_tables import DRAWN, DetectionLoss, Distillation, PictureSource, Variation
from models.training.recipes.embedder import RecipeError

# The grids of strides 8, 16 and 32 must fit on each other.
InputPx = Annotated[int, Within(64, multiple=32)]
EVAL_KINDS = ("rendered", "voc", "coco", "photos")


@dataclass(frozen=True)
class DetectorNetwork:
    """PicoDet's sizes; see models.nets.picodet.PicoDet."""

    scale: Positive = 0.75
    neck_channels: Annotated[int, Within(2)] = 96
    neck_kernel: Count = 3
    head_convs: Whole = 2
    reg_max: Count = 7
    act: str = "hard_swish"
    body: str = "lcnet"  # or "esnet", the body of the official detectors of COCO
    # To begin with, below the data folder: an official PP-LCNet of the same scale (.pdparams), or the whole official
    # PicoDet-S of COCO (.onnx), which needs the body esnet, a scale of 0.75, a neck of 96 channels and kernels of 5.
    backbone: str = ""

    def __post_init__(self) -> None:
        if self.act not in DETECTOR_ACTIVATIONS:
            raise RecipeError(f"'act' must be one of {', '.join(DETECTOR_ACTIVATIONS)}, not {self.act!r}")
        if self.body not in DETECTOR_BACKBONES:
            raise RecipeError(f"'body' must be one of {', '.join(DETECTOR_BACKBONES)}, not {self.body!r}")
        if not self.neck_kernel % 2:
            raise RecipeError(f"'neck_kernel' must be odd, not {self.neck_kernel}")


@dataclass(frozen=True)
class DetectorStage:
    """A stretch of training, in steps or in epochs; each step takes one of the input sizes at random."""

    steps: Whole = 0
    sizes_px: tuple[InputPx, ...] = ()  # multiples of 32
    batch: Count = 16
    epochs: NotNegative = 0.0

    def __post_init__(self) -> None:
        if (self.steps > 0) == (self.epochs > 0):
            raise RecipeError("a stage has either 'steps' or 'epochs'")
        if not self.sizes_px:
            raise RecipeError("'sizes_px' has no size")


@dataclass(frozen=True)
class DetectorEvalSource:
    """Pictures never trained on: "rendered" scenes of other seeds, the held-out photos of a "voc" or "photos" source, or a
    "coco" file of their own."""

    kind: str
    name: str
    count: Whole = 0
    first_seed: Whole = 0
    root: str = ""
    file: str = ""
    images: str = "images"
    delimiter: str = "\t"
    teacher: str = ""
    made: bool = False  # its file is one that `shitu data pseudo-boxes` makes: an evaluation goes without it until then

    def __post_init__(self) -> None:
        if self.kind not in EVAL_KINDS:
            raise RecipeError(f"'kind' must be one of {', '.join(EVAL_KINDS)}, not {self.kind!r}")
        if self.kind == "rendered" and self.count < 1:
            raise RecipeError("the kind 'rendered' needs a 'count'")


@dataclass(frozen=True)
class DetectorOptimizer:
    """What changes the weights, how fast, and their moving average."""

    kind: str = "adamw"  # or "momentum": SGD as the official detector is trained
    learning_rate: Positive = 2e-3
    weight_decay: NotNegative = 0.02
    momentum: PartOfOne = 0.9
    warmup_steps: Whole = 500
    warmup_from: Share = 0.0  # share of the learning rate that the warm-up begins with
    final: Share = 0.01  # share of the learning rate that the cosine ends with
    clip_norm: NotNegative = 5.0  # 0: none
    ema_decay: PartOfOne = 0.999
    # Cycle-EMA (PP-PicoDet, section 3): after each cycle the average forgets what was before.
    ema_cycle_steps: Whole = 0
    ema_cycle_epochs: NotNegative = 0.0
    ema_adopt: bool = False  # at the end of a cycle, training goes on from the average

    def __post_init__(self) -> None:
        if self.kind not in ("adamw", "momentum"):
            raise RecipeError(f"'kind' must be one of adamw, momentum, not {self.kind!r}")


@dataclass(frozen=True)
class DetectorRecipe:
    """Everything that decides what a detector becomes, besides the pictures themselves."""

    name: str
    data: tuple[PictureSource, ...]
    stages: tuple[DetectorStage, ...]
    eval: tuple[DetectorEvalSource, ...] = ()
    select_by: tuple[str, ...] = ()  # eval sets whose mean AP50 decides which weights are kept; empty: all
    seed: Whole = 1
    pool: bool = True  # keep all pictures, stretched, on disk; False: read annotated photos whenever they are drawn
    pool_px: SidePx = 320
    deploy_px: InputPx = 256
    evaluate_every: Count = 250  # steps
    evaluate_every_epochs: NotNegative = 0.0
    network: DetectorNetwork = field(default_factory=DetectorNetwork)
    variation: Variation = field(default_factory=Variation)
    loss: DetectionLoss = field(default_factory=DetectionLoss)
    distill: Distillation = field(default_factory=Distillation)
    optimizer: DetectorOptimizer = field(default_factory=DetectorOptimizer)

    def __post_init__(self) -> None:
        if not self.data or not self.stages:
            raise RecipeError("'data' and 'stages' need an entry each")
        if not any(source.sampling_weight for source in self.data):
            raise RecipeError("every 'sampling_weight' is 0, so no picture would be drawn")
        if unknowns := [name for name in self.select_by if name not in {eval_set.name for eval_set in self.eval}]:
            raise RecipeError(f"'select_by' names no eval set of this recipe: {unknowns[0]!r}")
        if not self.pool and any(source.kind not in ("coco", "voc") for source in self.data):
            raise RecipeError(f"'pool = false' goes with coco and voc sources only, not with {DRAWN[0]!r}")

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
