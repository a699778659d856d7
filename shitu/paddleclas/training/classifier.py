"""Their classification configurations as a classifier's recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.nets.names import CLASSIFIERS
from shitu.paddleclas.training.parts import listed, loader, metrics, optimizer, size_px, transforms, weights_of_theirs

if TYPE_CHECKING:
    from shitu.paddleclas.training.source import Source

TRAIN, EVAL = "DataLoader.Train", "DataLoader.Eval"
PLAIN = {"DistributedBatchSampler", "BatchSampler"}


def classifier_recipe(source: Source, name: str, *, given: bool, arch: str = "Arch") -> dict[str, Any]:
    """The recipe. Its `class_num` is counted in the lists where they have another one."""
    side = size_px(source)
    recipe: dict[str, Any] = {
        "name": name,
        "network": network(source, arch, given=given),
        "epochs": source.whole("Global.epochs", 100),
        "class_num": source.whole("Arch.class_num", source.whole("Global.class_num", 0)),
        "deploy_px": side,
        "evaluate_every": source.whole("Global.eval_interval", 1),
        "smoothing": _smoothing(source),
        "data": [listed(source, f"{TRAIN}.dataset").table("list", "train")],
    }
    for key in ("class_num", "name"):
        source.get(f"{arch}.{key}")
    recipe["augment"] = _augment(source, side)
    recipe["sampler"] = _sampler(source, side)
    table = optimizer(source)
    recipe["optimizer"] = table | {"warmup_epochs": table.pop("warmup")}
    loader(source, f"{TRAIN}.loader")
    if source.names(EVAL):
        transforms(source, f"{EVAL}.dataset", side)
        held = listed(source, f"{EVAL}.dataset").table("list", "eval")
        recipe["eval"] = [held] if source.flag("Global.eval_during_train", default=True) else []
        source.note(f"{EVAL}.sampler", "the batch of an evaluation changes nothing")
        loader(source, f"{EVAL}.loader")
    metrics(source, {"TopkAcc"}, "top-1 and top-5 are reported")
    return recipe


def network(source: Source, path: str, *, given: bool) -> str:
    """The network's published name."""
    name = source.text(f"{path}.name")
    weights_of_theirs(source, path, given=given)
    if name not in CLASSIFIERS:
        source.refuse(f"{path}.name", f"no network {name!r} here; there are {', '.join(CLASSIFIERS)}")
    return name


def _smoothing(source: Source) -> float:
    found = 0.0
    for name, at in source.named("Loss.Train"):
        if name in {"CELoss", "DistillationGTCELoss"}:
            source.note(f"{at}.weight", "the loss of labels has the weight 1")
            found = source.number(f"{at}.epsilon", 0.0)
        elif not name.startswith("Distillation"):
            source.refuse(at, "classifiers are trained by CELoss")
    return found


def _augment(source: Source, side: int) -> dict[str, Any]:
    ops = transforms(source, f"{TRAIN}.dataset", side)
    made: dict[str, Any] = {}
    for name, at in source.named(f"{TRAIN}.dataset.transform_ops"):
        if name in {"Pad", "PadV2", "RandomRotation", "RandomErasing", "RandCropImageV2"}:
            source.refuse(at, "no such augmentation of a classifier here")
        elif name == "RandCropImage":
            made |= {
                key: ops[name][theirs]
                for key, theirs in (("area", "scale"), ("aspect", "ratio"))
                if ops[name].get(theirs)
            }
    if "RandCropImage" not in ops:
        made["area"], made["aspect"] = [1.0, 1.0], [1.0, 1.0]
    if "RandFlipImage" not in ops:
        made["flip"] = 0.0
    for name, at in source.named(f"{TRAIN}.dataset.batch_transform_ops"):
        if name != "MixupOperator":
            source.refuse(at, "no such augmentation of a batch here")
            continue
        source.note(f"{at}.class_num", "counted here")
        made["mixup_alpha"] = source.number(f"{at}.alpha", 1.0)
    return made


def _sampler(source: Source, side: int) -> dict[str, Any]:
    path = f"{TRAIN}.sampler"
    name = source.text(f"{path}.name", "DistributedBatchSampler")
    for key in ("drop_last", "shuffle", "is_training"):
        source.note(f"{path}.{key}", "pictures are shuffled, and none is left out")
    if name == "MultiScaleSampler":
        scales = source.get(f"{path}.scales", [side])
        return {
            "batch": source.whole(f"{path}.first_bs", 128),
            "scales": [one[0] if isinstance(one, list) else one for one in scales],
            "divisor": source.whole(f"{path}.divided_factor", 32),
        }
    if name not in PLAIN:
        source.refuse(f"{path}.name", f"no sampler {name!r} here")
    return {"batch": source.whole(f"{path}.batch_size", 64), "scales": [side]}
