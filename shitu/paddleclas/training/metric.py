"""Their RecModel configurations (PP-ShiTu's general recognition, products, logos, vehicles) as a metric-learning recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shitu.paddleclas.training.arch import backbone, head, losses, neck, stop_layer
from shitu.paddleclas.training.parts import (
    RETRIEVAL,
    Listed,
    listed,
    loader,
    metrics,
    optimizer,
    size_px,
    steps_of,
    transforms,
)

if TYPE_CHECKING:
    from shitu.paddleclas.training.source import Source

PLAIN = {"DistributedBatchSampler", "BatchSampler"}
TRAIN, EVAL = "DataLoader.Train", "DataLoader.Eval"
OF_PK = {"class": "id_avg_prob", "picture": "sample_avg_prob"}


def metric_recipe(source: Source, name: str, *, given: bool, arch: str = "Arch") -> dict[str, Any]:
    """The recipe. `given`: there is a file of weights to begin with. `arch` is where the network stands."""
    side = size_px(source)
    recipe: dict[str, Any] = {"name": name, "pool_px": 0, "deploy_px": side}
    recipe["backbone"] = backbone(source, f"{arch}.Backbone", given=given)
    recipe["stop_layer"] = stop_layer(source, f"{arch}.BackboneStopLayer")
    recipe["neck"], recipe["head"] = neck(source, f"{arch}.Neck"), head(source, f"{arch}.Head")
    recipe["loss"] = losses(source)
    ops = transforms(source, f"{TRAIN}.dataset", side)
    recipe["augment"] = augment(source, ops)
    data = listed(source, f"{TRAIN}.dataset")
    return (
        recipe
        | shared(source, data, side, sampler(source))
        | {
            "data": [data.table("list", "train")],
            "eval": eval_lists(source, side),
        }
    )


def shared(source: Source, data: Listed, side: int, sampled: dict[str, Any]) -> dict[str, Any]:
    """Sampler, optimiser, stages and how often is evaluated, in steps: one stage of all epochs."""
    batch = sampled.pop("batch")
    loader(source, f"{TRAIN}.loader")
    table = optimizer(source)
    warmup = table.pop("warmup")
    epochs = source.whole("Global.epochs", 100)
    metrics(source, RETRIEVAL, "recall@1 is reported while training; `shitu evaluate retrieval` has the others")
    every = source.whole("Global.eval_interval", 1)
    return {
        "sampler": sampled,
        "optimizer": table | {"warmup_steps": steps_of(1, int(warmup * data.lines), batch) if warmup else 0},
        "stages": [{"steps": steps_of(epochs, data.lines, batch), "size_px": side, "batch": batch}],
        "evaluate_every": steps_of(every, data.lines, batch),
    }


def sampler(source: Source) -> dict[str, Any]:
    """`DataLoader.Train.sampler`, with its batch."""
    path = f"{TRAIN}.sampler"
    name = source.text(f"{path}.name", "DistributedBatchSampler")
    made: dict[str, Any] = {"batch": source.whole(f"{path}.batch_size", 256)}
    for key in ("drop_last", "shuffle", "max_iters"):
        source.note(f"{path}.{key}", "pictures are shuffled, and none is left out")
    if name == "PKSampler":
        made["views_per_class"] = source.whole(f"{path}.sample_per_id", 4)
        method = source.text(f"{path}.sample_method", "sample_avg_prob")
        source.only(f"{path}.sample_method", list(OF_PK.values()), "there are id_avg_prob and sample_avg_prob")
        made["kind"] = "class" if method == "id_avg_prob" else "picture"
        for key in ("id_list", "ratio"):
            source.note(f"{path}.{key}", "all classes alike")
        if source.has(f"{path}.id_list") and len(set(source.get(f"{path}.ratio", [1]))) > 1:
            source.refuse(
                f"{path}.id_list", "classes by their numbers: write a list for each range, with its `sampling_weight`"
            )
    elif name == "DistributedRandomIdentitySampler":
        made |= {"kind": "class", "views_per_class": source.whole(f"{path}.num_instances", 4)}
    else:
        if name not in PLAIN:
            source.refuse(f"{path}.name", f"no sampler {name!r} here")
        made |= {"kind": "shuffle", "views_per_class": 1}
    return made


def augment(source: Source, ops: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The augmentation that consists of these operations."""
    path = f"{TRAIN}.dataset.transform_ops"
    if "RandCropImage" in ops:
        made: dict[str, Any] = {"kind": "resized_crop"}
    elif "Pad" in ops or "PadV2" in ops:
        made = {"kind": "pad_crop"}
        if (ops.get("Pad") or ops.get("PadV2") or {}).get("padding", 10) != 10:
            source.refuse(path, "a padding of 10 pixels is what is done here")
    else:
        made = {"kind": "flip"}
        if "RandFlipImage" not in ops:
            source.note(path, "pictures are mirrored here")
    if "RandomRotation" in ops:
        rotation = ops["RandomRotation"]
        made |= {"rotation_probability": rotation.get("prob", 0.5), "rotation_deg": float(rotation.get("degrees", 90))}
    if "RandomErasing" in ops:
        erasing = ops["RandomErasing"]
        made["erase_probability"] = float(erasing.get("EPSILON", erasing.get("probability", 0.5)))
    return made


def eval_lists(source: Source, side: int) -> list[dict[str, Any]]:
    """Query and gallery of `DataLoader.Eval`."""
    wanted = source.flag("Global.eval_during_train", default=True)
    if not source.names(EVAL):
        return []
    lists: list[Listed] = []
    for part in ("Query", "Gallery"):
        transforms(source, f"{EVAL}.{part}.dataset", side)
        lists.append(listed(source, f"{EVAL}.{part}.dataset"))
        source.note(f"{EVAL}.{part}.sampler", "the batch of an evaluation changes nothing")
        loader(source, f"{EVAL}.{part}.loader")
    query, gallery = lists
    if query.root != gallery.root:
        source.refuse(f"{EVAL}.Gallery.dataset.image_root", "query and gallery must have one root here")
    more = {} if query.file == gallery.file else {"gallery_file": gallery.file}
    return [query.table("lists", "eval", **more)] if wanted else []
