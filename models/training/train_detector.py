"""Train the main-body detector by its recipe: read it in one go, from the network to the last checkpoint."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from models.boxes import suppress
from models.detector import KEPT, SUPPRESSION_IOU, decode_heads
from models.image import normalize, resize
from models.manifest import DetectionOutput, Head
from models.nets.picodet import STRIDES, PicoDet, ServedPicoDet
from models.training.checkpoint import Arrays, Checkpoint, to_arrays, to_tensors
from models.training.cpu_convolution import accelerate, keep_freed_memory
from models.training.detection_data import (
    BatchMaker,
    PictureSource,
    build_pool,
    load_pool,
    read_taught,
    read_voc,
    rendered_pictures,
)
from models.training.detection_losses import DetectionLoss, detection_losses
from models.training.detection_metrics import Detections, evaluate_detector
from models.training.detection_views import Picture, Variation
from models.training.errors import TrainingError
from models.training.loop import Progress
from models.training.recipe import Optimizer, as_table
from models.training.schedule import MovingAverage, cosine_learning_rate

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
REPORT_EVERY, SAVE_EVERY = 25, 100  # steps


@dataclass(frozen=True)
class DetectorNetwork:
    """PicoDet's sizes; see models.nets.picodet.PicoDet."""

    scale: float = 0.75
    neck_channels: int = 96
    neck_kernel: int = 3
    head_convs: int = 2
    reg_max: int = 7
    act: str = "hard_swish"


@dataclass(frozen=True)
class DetectorStage:
    """A stretch of training; each step takes one of the input sizes at random."""

    steps: int
    sizes_px: tuple[int, ...]
    batch: int = 16


@dataclass(frozen=True)
class DetectorExam:
    """Pictures never trained on: "rendered" scenes of other seeds, or the held-out photos of a "voc" or "photos" source."""

    kind: str
    name: str
    count: int = 0
    first_seed: int = 0
    root: str = ""
    file: str = ""
    delimiter: str = "\t"
    teacher: str = ""


@dataclass(frozen=True)
class DetectorRecipe:
    """Everything that decides what a detector becomes, besides the pictures themselves."""

    name: str
    data: tuple[PictureSource, ...]
    stages: tuple[DetectorStage, ...]
    exams: tuple[DetectorExam, ...] = ()
    select_by: tuple[str, ...] = ()  # exams whose mean AP50 decides which weights are kept; empty: all
    seed: int = 1
    pool_px: int = 320
    deploy_px: int = 256
    evaluate_every: int = 250
    network: DetectorNetwork = field(default_factory=DetectorNetwork)
    variation: Variation = field(default_factory=Variation)
    loss: DetectionLoss = field(default_factory=DetectionLoss)
    optimizer: Optimizer = field(default_factory=Optimizer)

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


def build_detector(recipe: DetectorRecipe) -> PicoDet:
    """The network of the recipe's `[network]` table, freshly initialised."""
    sizes = recipe.network
    return PicoDet(
        sizes.scale,
        neck_channels=sizes.neck_channels,
        neck_kernel=sizes.neck_kernel,
        head_convs=sizes.head_convs,
        reg_max=sizes.reg_max,
        act=sizes.act,
    )


def load_weights(network: PicoDet, path: Path) -> None:
    """Put the weights of a run's `best.npz` into a network of the same sizes. Raises TrainingError for any other."""
    stored = Checkpoint.load(path).groups.get("detector", {})
    own = network.state_dict()
    if {name: list(array.shape) for name, array in stored.items()} != {name: own[name].shape for name in own}:
        raise TrainingError(f"{path} does not hold the weights of this network")
    network.set_state_dict(to_tensors(stored))


def train_detector(
    recipe: DetectorRecipe,
    data: Path | None,
    out: Path,
    report: Callable[[Progress], None],
    prepare: Callable[[str, int, int], None],
    *,
    threads: int = 1,
    init: Path | None = None,
    resume: bool = True,
    stop_after: int | None = None,
) -> Path:
    """Run `recipe` to its end, or go on where `out/last.npz` stands. Returns `out/best.npz`, averaged weights.

    `data` is the folder that the recipe's photo sources are relative to. `stop_after` ends the run early after that
    many steps in all, as a kill would, but with a checkpoint. A new run starts from the weights of `init` (another run's
    `best.npz` of the same network) if given, else from random ones. Beside the weights lie `curve.jsonl`, `curve.png` and
    `metrics.json`. Raises TrainingError, RecipeError, DatasetError.
    """
    keep_freed_memory()
    out.mkdir(parents=True, exist_ok=True)
    build_pool(recipe.data, recipe.pool_px, data, out / "pool", prepare, processes=threads)
    make = BatchMaker(load_pool(out / "pool"), tuple(s.share for s in recipe.data), recipe.seed, recipe.variation)
    exams = {exam.name: exam_pictures(exam, recipe, data) for exam in recipe.exams}
    # The optimiser keeps its state by parameter name: the guard gives each run the same names, whatever ran before.
    with paddle.utils.unique_name.guard():
        run = _Run(recipe, out, threads, init, resume)
        last = min(recipe.steps, stop_after or recipe.steps)
        clock, images = time.monotonic(), 0
        for step in range(run.step, last):
            images += run.take_step(make)
            done = step + 1
            examined = done % recipe.evaluate_every == 0 or done == last
            if examined or done % REPORT_EVERY == 0:
                rate = images / (time.monotonic() - clock)
                left = sum(recipe.stage_at(s).batch for s in range(done, last)) / rate
                results = run.examine(exams) if examined else {}
                line = Progress(done, recipe.steps, run.take_means(), rate, left, results)
                _log(out / "curve.jsonl", line)
                report(line)
                if examined:  # the exams' time is not the training's
                    draw_curve(out / "curve.jsonl", out / "curve.png")
                    clock, images = time.monotonic(), 0
            if done % SAVE_EVERY == 0 or done == last:
                run.save()
    return out / "best.npz"


def exam_pictures(exam: DetectorExam, recipe: DetectorRecipe, data: Path | None) -> list[Picture]:
    """The pictures of an exam; photos at their own size."""
    if exam.kind == "rendered":
        return list(rendered_pictures(exam.first_seed, exam.count, recipe.pool_px))
    if data is None:
        raise TrainingError(f"the recipe's exam {exam.name!r} needs a data folder (--data)")
    if exam.kind == "photos":
        return list(read_taught(data / exam.root, exam.file, exam.delimiter, data / exam.teacher, held_out=True))
    return read_voc(data / exam.root, held_out=True)


def detect_with(detector: PicoDet, size_px: int) -> Callable[[NDArray[np.uint8]], Detections]:
    """An eager detector as a plain function: an RGB photo to boxes (D, 4) in its pixels and scores (D,), best first.

    What comes after the network is the serving code's own.
    """
    network = ServedPicoDet(detector)
    names = [f"{kind}{stride}" for stride in STRIDES for kind in ("scores", "distances")]
    heads = tuple(Head(f"scores{stride}", f"distances{stride}", stride) for stride in STRIDES)
    form = DetectionOutput(heads, len(detector.head.distribution_project.project) - 1)

    def detect(image: NDArray[np.uint8]) -> Detections:
        with paddle.no_grad():
            outputs = network(as_input(resize(image, size_px, size_px, "cubic")[None]))
        boxes, scores = decode_heads(
            {name: output.numpy() for name, output in zip(names, outputs, strict=True)}, form, size_px, size_px
        )
        kept = suppress(boxes, scores, SUPPRESSION_IOU)[:KEPT]
        height, width = image.shape[:2]
        return boxes[kept] * np.array([width, height] * 2, np.float32) / np.float32(size_px), scores[kept]

    return detect


def as_input(images: NDArray[np.uint8]) -> paddle.Tensor:
    """(N, H, W, 3) RGB -> (N, 3, H, W) as the network takes it."""
    return paddle.to_tensor(np.stack([normalize(image, MEAN, STD) for image in images]))


def draw_curve(log: Path, picture: Path) -> None:
    """Losses and AP50 over the steps, as a picture."""
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name in lines[0]["losses"]:
        left.plot([x["step"] for x in lines], [x["losses"].get(name, np.nan) for x in lines], label=name)
    examined = [line for line in lines if line["exams"]]
    for name in examined[0]["exams"] if examined else ():
        right.plot([x["step"] for x in examined], [x["exams"][name]["AP50"] for x in examined], label=name)
    for axes, title in ((left, "loss"), (right, "AP50 on held-out pictures")):
        axes.set(title=title, xlabel="step")
        if axes.lines:
            axes.legend()
    figure.savefig(picture)


class _Run:
    """The state of a run between two steps: what `last.npz` holds."""

    def __init__(self, recipe: DetectorRecipe, out: Path, threads: int, init: Path | None, resume: bool) -> None:
        self.recipe, self.out = recipe, out
        paddle.seed(recipe.seed)
        self.network, self.judge = build_detector(recipe), build_detector(recipe)
        accelerate(self.network, threads)
        accelerate(self.judge, threads)
        if init is not None:
            load_weights(self.network, init)
        self.optimizer = _optimizer(self.network, recipe)
        self.average = MovingAverage(self.network, recipe.optimizer.ema_decay)
        self.step, self.best = 0, -1.0
        self._sums: dict[str, list[float]] = {}
        if resume and (out / "last.npz").exists():
            self._load(Checkpoint.load(out / "last.npz"))
        else:
            for stale in ("curve.jsonl", "last.npz", "best.npz"):
                (out / stale).unlink(missing_ok=True)

    def take_step(self, make: BatchMaker) -> int:
        """One optimiser step; returns how many pictures it saw."""
        recipe, step = self.recipe, self.step
        stage, rates = recipe.stage_at(step), recipe.optimizer
        size = stage.sizes_px[int(np.random.default_rng([recipe.seed, step, 1]).integers(len(stage.sizes_px)))]
        images, boxes = make(step, stage.batch, size)
        self.optimizer.set_lr(cosine_learning_rate(step, recipe.steps, rates.learning_rate, rates.warmup_steps))
        self.network.train()
        parts = detection_losses(self.network(as_input(images)), boxes, size, recipe.loss)
        values = {name: float(part) for name, part in parts.items()}
        if not np.isfinite(sum(values.values())):
            raise TrainingError(f"the loss is {values} at step {step}; lower learning_rate or see the data")
        sum(parts.values(), paddle.zeros([])).backward()
        self.optimizer.step()
        self.optimizer.clear_grad()
        self.average.update(self.network, step)
        self.step += 1
        for name, value in values.items():
            self._sums.setdefault(name, []).append(value)
        return stage.batch

    def take_means(self) -> dict[str, float]:
        """Means of the loss parts since they were last taken."""
        means = {name: float(np.mean(values)) for name, values in self._sums.items()}
        self._sums = {}
        return means

    def examine(self, exams: dict[str, list[Picture]]) -> dict[str, dict[str, float]]:
        """Measure the averaged weights; the best so far go to `best.npz` and their figures to `metrics.json`."""
        self.judge.set_state_dict(self.average.values)
        detect = detect_with(self.judge, self.recipe.deploy_px)
        results = {name: evaluate_detector(detect, pictures) for name, pictures in exams.items()}
        names = self.recipe.select_by or tuple(results)
        score = float(np.mean([results[name]["AP50"] for name in names])) if names else float(self.step)
        if score >= self.best:
            self.best = score
            progress = {"step": self.step, "exams": results, "recipe": as_table(self.recipe)}
            Checkpoint({"detector": to_arrays(self.average.values)}, progress).save(self.out / "best.npz")
            (self.out / "metrics.json").write_text(json.dumps({"step": self.step, **results}, indent=1), "utf-8")
        return results

    def save(self) -> None:
        """Write `last.npz`."""
        groups: dict[str, Arrays] = {
            "network": to_arrays(self.network.state_dict()),
            "optimizer": to_arrays(self.optimizer.state_dict()),
            "average": to_arrays(self.average.values),
        }
        progress = {"step": self.step, "best": self.best, "recipe": as_table(self.recipe)}
        Checkpoint(groups, progress).save(self.out / "last.npz")

    def _load(self, checkpoint: Checkpoint) -> None:
        if checkpoint.progress["recipe"] != json.loads(json.dumps(as_table(self.recipe))):
            raise TrainingError(f"{self.out} holds a run of another recipe; choose another folder or start anew")
        self.network.set_state_dict(to_tensors(checkpoint.groups["network"]))
        self.optimizer.set_state_dict(to_tensors(checkpoint.groups["optimizer"]))
        self.average.values = to_tensors(checkpoint.groups["average"])
        self.step, self.best = int(checkpoint.progress["step"]), float(checkpoint.progress["best"])
        _cut_log(self.out / "curve.jsonl", self.step)


def _optimizer(network: nn.Layer, recipe: DetectorRecipe) -> paddle.optimizer.Optimizer:
    """AdamW; biases and batch norms are not decayed."""
    decayed = {parameter.name for parameter in network.parameters() if len(parameter.shape) > 1}
    return paddle.optimizer.AdamW(
        recipe.optimizer.learning_rate,
        parameters=[parameter for parameter in network.parameters() if not parameter.stop_gradient],
        weight_decay=recipe.optimizer.weight_decay,
        apply_decay_param_fun=decayed.__contains__,
        grad_clip=nn.ClipGradByGlobalNorm(recipe.optimizer.clip_norm),
    )


def _log(path: Path, line: Progress) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(
            json.dumps(
                {"step": line.step, "losses": line.losses, "exams": line.exams, "images_per_s": line.images_per_s}
            )
            + "\n"
        )


def _cut_log(path: Path, step: int) -> None:
    """Forget what a killed run logged after its last checkpoint: those steps are taken again."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(line for line in lines if json.loads(line)["step"] <= step), encoding="utf-8")
