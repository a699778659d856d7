"""Their DeepHash configurations as a recipe of binary codes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shitu.paddleclas.training.arch import HASHES, backbone
from shitu.paddleclas.training.metric import TRAIN, eval_lists, sampler, shared
from shitu.paddleclas.training.parts import listed, size_px, transforms

if TYPE_CHECKING:
    from shitu.paddleclas.training.source import Source

VIEWS = 4


def hash_recipe(source: Source, name: str, *, given: bool) -> dict[str, Any]:
    """The recipe: a ShiTu embedder of as many dimensions as bits, ending in tanh."""
    side = size_px(source)
    bits = source.whole("Arch.Backbone.class_num", source.whole("Arch.Head.embedding_size", 48))
    body = backbone(source, "Arch.Backbone", given=given)
    if body["kind"] == "resnet50_vd":
        source.refuse("Arch.Backbone.name", "binary codes are made by PP-LCNet and PP-LCNetV2 here")
    source.only("Arch.Neck.name", ["Tanh"], "codes end in tanh")
    source.only("Arch.Head.name", ["FC"], "the head is a layer over the classes")
    for key in ("class_num", "embedding_size"):
        source.note(f"Arch.Head.{key}", "counted here")
    source.note("Arch.BackboneStopLayer", "the network ends in its embedding")
    source.only("Global.feature_binarize", ["sign", "round"], "codes are binarised by their sign")
    if source.has("Global.pretrained_model"):
        source.refuse("Global.pretrained_model", "binary codes begin at random here")
    if body["kind"] != "resnet50_vd" and body.get("class_expand") != 1280:
        source.refuse("Arch.Backbone.class_expand", "an embedder of codes has 1280")
    transforms(source, f"{TRAIN}.dataset", side)
    source.note(f"{TRAIN}.dataset.transform_ops", "pictures are augmented as the embedder's are")
    data = listed(source, f"{TRAIN}.dataset")
    sampled = sampler(source)
    if sampled.pop("kind") == "shuffle":
        sampled["views_per_class"] = VIEWS
        source.note(f"{TRAIN}.sampler.name", f"{VIEWS} pictures of a class in each batch, for pairs need them")
    made = shared(source, data, side, sampled)
    views = made.pop("sampler")["views_per_class"]
    kind = {"lcnet": "v1", "lcnetv2": "v2"}.get(body["kind"], "v1")
    embedder = {"kind": kind, "width": body.get("width", 1.0)} | ({"depths": body["depths"]} if kind == "v2" else {})
    return (
        {"name": name, "pool_px": side, "deploy_px": side, "views_per_class": views}
        | {"network": {"bits": bits, "embedder": embedder}, "loss": _loss(source)}
        | made
        | {"data": [data.table("list", "train")], "eval": eval_lists(source, side)}
    )


def _loss(source: Source) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, at in source.named("Loss.Train"):
        if name not in HASHES or made:
            source.refuse(at, f"codes are trained by one of {', '.join(HASHES)}")
            continue
        source.note(f"{at}.weight", "of one loss alone the weight counts for nothing")
        source.only(f"{at}.multi_label", [False], "a picture has one label")
        for key in ("n_class", "bit", "quant_limit"):
            source.note(f"{at}.{key}", "counted here")
        made["kind"] = HASHES[name]
        if name == "DSHSDLoss":
            made["alpha"] = source.number(f"{at}.alpha", 0.05)
        elif name == "LCDSHLoss":
            made["lcdsh_weight"] = source.number(f"{at}._lambda", source.number(f"{at}.lambda", 3.0))
        else:
            made |= {"dch_gamma": source.number(f"{at}.gamma", 20.0), "dch_weight": source.number(f"{at}._lambda", 0.1)}
    return made
