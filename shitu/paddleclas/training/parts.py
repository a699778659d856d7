"""What all kinds of their training configurations share: Global, Optimizer, data sets, transforms, metrics."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from shitu.paddleclas.training.source import Source

CPU = "CPUs alone train here"
NO_EFFECT = {
    "Global.device": CPU,
    "Global.save_interval": "the last weights are saved every few minutes, and the best always",
    "Global.print_batch_step": "`shitu train` reports by itself",
    "Global.use_visualdl": "a run's metrics are in its folder",
    "Global.save_inference_dir": "`shitu export` writes where --out says",
    "Global.to_static": "training has its own programs",
    "Global.use_dali": "pictures are prepared by this project",
    "Global.eval_mode": "retrieval for embedders, classification for classifiers",
    "Global.checkpoints": "the same command resumes a run in its folder",
    "Global.output_format": "`shitu export --formats` says which",
    "Profiler": "nothing is profiled",
    "AMP": CPU,
    "Infer": "`shitu embed` and `shitu classify` take their options",
    "Loss.Eval": "evaluation is by the metrics",
    "Metric.Train": "evaluation is by the metrics of the eval set",
    "Arch.infer_output_key": "the features are exported",
    "Arch.infer_add_softmax": "an embedder has none",
    "Arch.is_rec": "known by Arch.name",
}
RETRIEVAL = {"Recallk", "mAP", "mINP", "Precisionk"}
LOADER = "pictures are read by --threads processes"
CLOSE = 1e-3


@dataclass(frozen=True)
class Listed:
    """A list of pictures: `root` and `file` as a recipe has them; `lines` how many pictures, `ids` whether a third column counts."""

    root: str
    file: str
    delimiter: str
    ids: bool
    lines: int

    def table(self, kind: str, name: str, **more: Any) -> dict[str, Any]:
        """A source of a recipe."""
        table = {"kind": kind, "name": name, "root": self.root, "file": self.file, "delimiter": self.delimiter}
        return table | ({"ids": True} if self.ids else {}) | more


def common(source: Source) -> None:
    """The keys that change nothing here."""
    for path, why in NO_EFFECT.items():
        source.note(path, why)
    source.only("Global.feature_normalize", [True], "embeddings are compared after they are normalised")
    source.only("Global.re_ranking", [False], "`shitu evaluate retrieval` has no re-ranking by neighbours")
    source.only("Global.retrieval_feature_from", ["features"], "the neck's features are the embedding")


def pretrained(source: Source) -> Path | None:
    """The file of `Global.pretrained_model`, with its suffix."""
    if not source.has("Global.pretrained_model"):
        return None
    file = Path(source.text("Global.pretrained_model"))
    file = file if file.suffix == ".pdparams" else file.with_name(f"{file.name}.pdparams")
    if not file.is_file():
        source.refuse("Global.pretrained_model", f"there is no file {str(file)!r}")
    return file


def weights_of_theirs(source: Source, path: str, *, given: bool) -> None:
    """`pretrained` and `use_ssld` of a network, which make theirs fetch weights of ImageNet."""
    source.note(f"{path}.use_ssld", "which weights they are is up to the file of --init")
    wanted = source.get(f"{path}.pretrained", False)
    if wanted is False or (wanted is True and given):
        return
    where = "" if wanted is True else f" (such as {wanted!r})"
    source.refuse(
        f"{path}.pretrained",
        f"fetches weights there; give a file by -o Global.pretrained_model=FILE{where}, or begin at random by -o {path}.pretrained=False",
    )


def size_px(source: Source, default: int = 224) -> int:
    """The side of `Global.image_shape`."""
    shape = source.get("Global.image_shape", [3, default, default])
    if (
        isinstance(shape, list)
        and len(shape) == 3
        and shape[1] == shape[2]
        and isinstance(shape[1], int)
        and shape[1] > 0
    ):
        return int(shape[1])
    source.refuse("Global.image_shape", f"must be [3, side, side], not {shape!r}")
    return default


def listed(source: Source, path: str) -> Listed:
    """The data set at `path`, whose list is counted."""
    source.only(
        f"{path}.name",
        ["ImageNetDataset", "VeriWild", "ICartoonDataset", "LogoDataset", "CustomLabelDataset"],
        "lists of path and label are read here; write one, and take ImageNetDataset",
    )
    for key in ("relabel", "backend"):
        source.note(f"{path}.{key}", "labels are counted from 0 here")
    root, file = source.text(f"{path}.image_root"), Path(source.text(f"{path}.cls_label_path"))
    delimiter = source.text(f"{path}.delimiter", " ")
    ids = source.get(f"{path}.name") == "VeriWild"
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        source.refuse(f"{path}.cls_label_path", f"there is no list {str(file)!r}")
        return Listed(root, file.name, delimiter, ids, 1)
    lines = sum(1 for line in text.splitlines() if line.strip())
    return Listed(root, os.path.relpath(file, root or "."), delimiter, ids, max(lines, 1))


def transforms(source: Source, path: str, side: int) -> dict[str, dict[str, Any]]:
    """The operations of `transform_ops` that augment, by name; those that only prepare are compared with what is done here."""
    found: dict[str, dict[str, Any]] = {}
    for name, at in source.named(f"{path}.transform_ops"):
        values = {key: source.get(f"{at}.{key}") for key in source.names(at)}
        found[name] = values
        if name == "NormalizeImage":
            for key, used in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
                given = values.get(key)
                if given is not None and any(abs(a - b) > CLOSE for a, b in zip(given, used, strict=True)):
                    source.refuse(f"{at}.{key}", f"{given}, where {list(used)} is used")
        elif name in {"ResizeImage", "RandCropImage", "RandCropImageV2", "CropImage"}:
            size = values.get("size", side)
            if size not in (side, [side, side]) and not (name == "ResizeImage" and "resize_short" in values):
                source.refuse(
                    f"{at}.size",
                    f"{size}, where pictures of {side} x {side} are trained and served (Global.image_shape)",
                )
        elif name not in {
            "DecodeImage",
            "ToCHWImage",
            "RandFlipImage",
            "Pad",
            "PadV2",
            "RandomRotation",
            "RandomErasing",
        }:
            source.refuse(at, "no such augmentation here")
    return found


def loader(source: Source, path: str) -> None:
    """How many processes read."""
    source.note(path, LOADER)


def steps_of(epochs: int, lines: int, batch: int) -> int:
    """Optimiser steps of so many epochs."""
    return max(math.ceil(epochs * lines / max(batch, 1)), 1)


def optimizer(source: Source) -> dict[str, Any]:
    """`kind`, `learning_rate` and `weight_decay`, and `warmup` in epochs."""
    kind = source.text("Optimizer.name", "Momentum")
    made: dict[str, Any] = {"kind": "momentum" if kind == "Momentum" else "adamw"}
    source.only("Optimizer.name", ["Momentum", "AdamW", "Adam"], "there are Momentum, AdamW and Adam")
    source.only("Optimizer.momentum", [0.9], "momentum is 0.9")
    source.only("Optimizer.beta1", [0.9], "beta1 is 0.9")
    source.only("Optimizer.beta2", [0.999], "beta2 is 0.999")
    source.only("Optimizer.epsilon", [1e-8, 1e-08], "epsilon is 1e-8")
    for key in ("no_weight_decay_name", "one_dim_param_no_weight_decay", "multi_precision", "use_nesterov"):
        source.note(f"Optimizer.{key}", "AdamW spares biases and batch norms here")
    source.only("Optimizer.regularizer.name", ["L2"], "weights decay by L2")
    decay = source.number("Optimizer.regularizer.coeff", 0.0) + source.number("Optimizer.weight_decay", 0.0)
    rule = source.text("Optimizer.lr.name", "Cosine")
    if rule != "Cosine":
        source.note("Optimizer.lr.name", f"{rule}: the rate falls by a cosine here")
        for key in ("decay_epochs", "values", "step_size", "gamma", "milestones"):
            source.note(f"Optimizer.lr.{key}", "the rate falls by a cosine here")
    for key in ("warmup_start_lr", "eta_min", "by_epoch", "last_epoch"):
        source.note(f"Optimizer.lr.{key}", "warm-up begins at 0, the cosine ends at 0, step by step")
    return made | {
        "learning_rate": source.number("Optimizer.lr.learning_rate", 0.01),
        "weight_decay": decay,
        "warmup": source.number("Optimizer.lr.warmup_epoch", 0.0),
        "ema_decay": source.number("EMA.decay", 0.0),
    }


def metrics(source: Source, known: set[str], shown: str) -> None:
    """The metrics that training reports; the others are a command's."""
    for name, at in source.named("Metric.Eval"):
        if name in known:
            source.note(at, shown)
        else:
            source.refuse(at, "no such metric here")
