"""Arch and Loss of their recognition configurations as tables of a metric-learning recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.nets.names import CLASSIFIERS, SCALES
from shitu.paddleclas.training.parts import weights_of_theirs

if TYPE_CHECKING:
    from collections.abc import Callable

    from shitu.paddleclas.training.source import Source

LCNETS = {f"PPLCNet_x{scale}".replace(".", "_"): scale for scale in SCALES}
V2 = {"small": (0.75, [2, 2, 4, 2]), "base": (1.0, [2, 2, 6, 2]), "large": (1.25, [2, 2, 8, 2])}
HEADS = {"FC": "fc", "ArcMargin": "arcmargin", "CosMargin": "cosmargin", "CircleMargin": "circlemargin"}
INITIAL = "initial values are the published ones"
HASHES = {"DSHSDLoss": "dshsd", "LCDSHLoss": "lcdsh", "DCHLoss": "dch"}


def backbone(source: Source, path: str, *, given: bool) -> dict[str, Any]:
    """`Arch.Backbone` as a recipe's table."""
    name = source.text(f"{path}.name")
    weights_of_theirs(source, path, given=given)
    made: dict[str, Any] = {"kind": "lcnet", "width": 1.0}
    plain = name.removesuffix("_ShiTu")
    if name in LCNETS:
        made["width"] = LCNETS[name]
    elif (size := V2.get(plain.removeprefix("PPLCNetV2_"))) and plain.startswith("PPLCNetV2_"):
        made = {"kind": "lcnetv2", "width": size[0], "depths": size[1], "shitu_last_stage": name != plain}
    elif name == "ResNet50_vd":
        made = {"kind": "resnet50_vd"}
    else:
        source.refuse(
            f"{path}.name", f"no network {name!r} here; there are {', '.join(CLASSIFIERS)} and PPLCNetV2_base_ShiTu"
        )
    if made["kind"] != "resnet50_vd":
        made["class_expand"] = source.whole(f"{path}.class_expand", 1280)
        made["dropout"] = source.number(f"{path}.dropout_prob", 0.2)
    source.note(f"{path}.class_num", "the backbone ends at its stop layer")
    return made


def stop_layer(source: Source, path: str) -> dict[str, Any]:
    """`Arch.BackboneStopLayer`: their `flatten_0` and `adaptive_avg_pool2d_0` are the features that come out flat here."""
    name = source.text(f"{path}.name", "flatten")
    if name.startswith(("flatten", "adaptive_avg_pool2d", "avg_pool")):
        return {"name": "flatten"}
    source.refuse(f"{path}.name", f"{name}: the features are taken where they are flat")
    return {"name": "flatten"}


def neck(source: Source, path: str) -> dict[str, Any]:
    """`Arch.Neck`."""
    name = source.text(f"{path}.name")
    if not name:
        return {"kind": "none"}
    if name == "BNNeck":
        for key in ("weight_attr", "bias_attr"):
            source.note(f"{path}.{key}", INITIAL)
        source.note(f"{path}.num_features", "as many as the backbone gives")
        return {"kind": "bnneck"}
    if name == "FC":
        source.note(f"{path}.embedding_size", "as many as the backbone gives")
        source.note(f"{path}.weight_attr", INITIAL)
        return {"kind": "fc", "size": source.whole(f"{path}.class_num", 512)}
    source.refuse(f"{path}.name", f"no neck {name!r} here; there are FC and BNNeck")
    return {"kind": "none"}


def head(source: Source, path: str) -> dict[str, Any]:
    """`Arch.Head`; how many classes there are is counted in the lists."""
    name = source.text(f"{path}.name")
    if not name:
        return {"kind": "none"}
    for key in ("embedding_size", "class_num"):
        source.note(f"{path}.{key}", "counted here: of the neck, and of the lists")
    for key in ("weight_attr", "bias_attr"):
        source.note(f"{path}.{key}", INITIAL)
    if name not in HEADS:
        source.refuse(f"{path}.name", f"no head {name!r} here; there are {', '.join(HEADS)}")
        return {"kind": "none"}
    made: dict[str, Any] = {"kind": HEADS[name]}
    if name != "FC":
        defaults = {"ArcMargin": (0.5, 80.0), "CosMargin": (0.35, 64.0), "CircleMargin": (0.25, 64.0)}[name]
        made |= {
            "margin": source.number(f"{path}.margin", defaults[0]),
            "scale": source.number(f"{path}.scale", defaults[1]),
        }
        if name == "ArcMargin":
            made["easy_margin"] = source.flag(f"{path}.easy_margin")
    return made


def losses(source: Source, path: str = "Loss.Train") -> dict[str, Any]:
    """`Loss.Train` as a recipe's table. With one loss alone its weight counts for nothing, as there."""
    made: dict[str, Any] = {}
    for name, at in source.named(path):
        if name.startswith("Distillation") and name not in LOSSES:
            continue  # `distill` reads them
        if name not in LOSSES:
            source.refuse(at, f"no such loss here; there are {', '.join(LOSSES)}")
            continue
        key, read = LOSSES[name]
        made[key] = {"weight": source.number(f"{at}.weight", 1.0)} | read(source, at)
    if len(source.names(path)) == 1 and made:
        next(iter(made.values()))["weight"] = 1.0
    return made


def _cross_entropy(source: Source, at: str) -> dict[str, Any]:
    return {"smoothing": source.number(f"{at}.epsilon", 0.0)}


def _on(source: Source, at: str) -> dict[str, Any]:
    return {"on": source.text(f"{at}.feature_from", "features")}


def _triplet(source: Source, at: str) -> dict[str, Any]:
    normal = source.flag(f"{at}.normalize_feature", default=True)
    return {"margin": source.number(f"{at}.margin", 0.5), "normalize": normal} | _on(source, at)


def _angular(source: Source, at: str) -> dict[str, Any]:
    source.only(f"{at}.normalize_feature", [True], "features are normalised")
    source.only(f"{at}.reduction", ["mean"], "the mean is taken")
    weight = source.number(f"{at}.absolute_loss_weight", 1.0)
    return {
        "margin": source.number(f"{at}.margin", 0.5),
        "ap_value": source.number(f"{at}.ap_value", 0.9),
        "an_value": source.number(f"{at}.an_value", 0.5),
        "absolute_weight": weight if source.flag(f"{at}.add_absolute") else 0.0,
    } | _on(source, at)


def _supcon(source: Source, at: str) -> dict[str, Any]:
    source.note(f"{at}.views", "the sampler says how many pictures of a class there are")
    return {"temperature": source.number(f"{at}.temperature", 0.07)} | _on(source, at)


def _contrastive(source: Source, at: str) -> dict[str, Any]:
    return {"margin": source.number(f"{at}.margin", 0.5)} | _on(source, at)


def _remembered(source: Source, at: str) -> dict[str, Any]:
    source.note(f"{at}.feat_dim", "counted here")
    return _contrastive(source, at) | {
        "memory_size": source.whole(f"{at}.xbm_size", 0),
        "memory_weight": source.number(f"{at}.xbm_weight", 1.0),
        "memory_from": source.whole(f"{at}.start_iter", 1000),
    }


def _cosface(source: Source, at: str) -> dict[str, Any]:
    margin, gamma = source.number(f"{at}.margin", 0.35), source.number(f"{at}.gamma", 64.0)
    return {"margin": margin, "gamma": gamma} | _on(source, at)


def _center(source: Source, at: str) -> dict[str, Any]:
    for key in ("num_classes", "feat_dim"):
        source.note(f"{at}.{key}", "counted here")
    return _on(source, at)


LOSSES: dict[str, tuple[str, Callable[[Source, str], dict[str, Any]]]] = {
    "CELoss": ("ce", _cross_entropy),
    "DistillationGTCELoss": ("ce", _cross_entropy),
    "DistillationCELoss": ("ce", _cross_entropy),
    "TripletLossV2": ("triplet", _triplet),
    "TripletAngularMarginLoss": ("triplet_angular_margin", _angular),
    "SupConLoss": ("supcon", _supcon),
    "ContrastiveLoss": ("contrastive", _contrastive),
    "ContrastiveLoss_XBM": ("contrastive", _remembered),
    "PairwiseCosface": ("pairwise_cosface", _cosface),
    "CenterLoss": ("center", _center),
}
