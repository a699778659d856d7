"""Export: a trained network, fused, as an artifact folder that both engines run, with the difference from the eager one.

The static program is Paddle's (`inference.json` + `inference.pdiparams`); `inference.onnx` is made from it, for OpenVINO.
"""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from models.artifacts import MANIFEST, write_manifest
from models.engine import load_program
from models.errors import ArtifactError
from models.nets.lcnetv2 import fused
from models.nets.picodet import ServedPicoDet
from models.training.checkpoint import Checkpoint, to_tensors
from models.training.recipe import EmbedderRecipe, as_table
from models.training.train_detector import DetectorRecipe, build_detector
from models.training.train_embedder import build_embedder, load_weights

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
LICENCE = "Apache-2.0"
TOLERANCE = 1e-3  # of the largest output, between the eager network and either engine
OPSET = 13
BATCH = 3


@dataclass(frozen=True)
class Origin:
    """What a manifest says of where its numbers come from."""

    data: Sequence[str]
    metrics: dict[str, float]
    thresholds: dict[str, float]
    minutes: float | None = None


def export_embedder(recipe: EmbedderRecipe, checkpoint: Path, folder: Path, origin: Origin) -> Path:
    """Write the embedder of `checkpoint` (a run's `best.npz`) as an artifact. Raises ArtifactError if an engine differs."""
    network = build_embedder(recipe.network)
    steps = load_weights(network, checkpoint)
    network.eval()
    serving = fused(network)
    size = recipe.deploy_px
    names = _save(serving, folder, "x", size, batched=True)
    differences = _compare(serving, folder, "x", size, BATCH)
    width = f"x{recipe.network.width:g}"
    kind = "PPLCNetV2_base_ShiTu" if recipe.network.kind == "v2" else "PPLCNet_ShiTu"
    write_manifest(
        folder,
        name=recipe.name,
        task="embed",
        network=f"{kind} {width}",
        input=_input("x", size, "linear"),
        output={"name": names[0], "dim": recipe.network.embedding_size},
        **_provenance(as_table(recipe), steps, differences, origin),
    )
    return folder


def export_detector(recipe: DetectorRecipe, checkpoint: Path, folder: Path, origin: Origin) -> Path:
    """The same for a main-body detector; its program ends before decoding and suppression, which are numpy's."""
    network = build_detector(recipe)
    steps = _load_detector(network, checkpoint)
    network.eval()
    serving = ServedPicoDet(network)
    serving.eval()
    names = _save(serving, folder, "image", recipe.deploy_px, batched=False)
    differences = _compare(serving, folder, "image", recipe.deploy_px, 1)
    strides = (8, 16, 32, 64)
    heads = [
        {"scores": names[2 * level], "distances": names[2 * level + 1], "stride": stride}
        for level, stride in enumerate(strides)
    ]
    write_manifest(
        folder,
        name=recipe.name,
        task="detect",
        network=f"PicoDet LCNet x{recipe.network.scale:g}, CSP-PAN {recipe.network.neck_channels}",
        input=_input("image", recipe.deploy_px, "cubic"),
        output={"heads": heads, "reg_max": recipe.network.reg_max},
        **_provenance(as_table(recipe), steps, differences, origin),
    )
    return folder


def add_findings(folder: Path, metrics: Mapping[str, float], thresholds: Mapping[str, float]) -> None:
    """Write what was measured of an exported program into its manifest."""
    table = json.loads((folder / MANIFEST).read_bytes())
    kept = {key: value for key, value in table.items() if key not in ("schema", "files")}
    write_manifest(folder, **{**kept, "metrics": metrics, "thresholds": thresholds})


def _load_detector(network: nn.Layer, checkpoint: Path) -> int:
    stored = Checkpoint.load(checkpoint)
    if "detector" not in stored.groups:
        raise ArtifactError(f"{checkpoint} holds no detector")
    missing, unexpected = network.set_state_dict(to_tensors(stored.groups["detector"]))
    if missing or unexpected:
        raise ArtifactError(
            f"{checkpoint.name} holds another network: missing {missing[:3]}, unexpected {unexpected[:3]}"
        )
    return int(stored.progress["step"])


def _save(serving: nn.Layer, folder: Path, name: str, size: int, *, batched: bool) -> list[str]:
    """Both programs; returns the output names that they share."""
    import paddle2onnx

    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)  # an older program's says nothing of this one
    spec = paddle.static.InputSpec([None if batched else 1, 3, size, size], "float32", name=name)
    prefix = folder / "inference"
    paddle.jit.save(serving, str(prefix), input_spec=[spec])
    json_file, parameters, onnx = (str(prefix.with_suffix(end)) for end in (".json", ".pdiparams", ".onnx"))
    paddle2onnx.export(json_file, parameters, onnx, opset_version=OPSET)
    with_paddle = load_program(folder, engine="paddle")
    with_openvino = load_program(folder, engine="openvino")
    names = [output.name for output in with_openvino.outputs]
    if names != [output.name for output in with_paddle.outputs]:
        raise ArtifactError("the engines name the program's outputs differently")
    return names


def _compare(serving: nn.Layer, folder: Path, name: str, size: int, batch: int) -> dict[str, float]:
    """Largest difference of each engine from the eager network, relative to the largest output."""
    images = np.random.default_rng(0).normal(size=(batch, 3, size, size)).astype(np.float32)
    with paddle.no_grad():
        answer = serving(paddle.to_tensor(images))
    eager = [tensor.numpy() for tensor in (answer if isinstance(answer, tuple | list) else [answer])]
    differences = {}
    for engine in ("openvino", "paddle"):
        program = load_program(folder, engine=engine)
        outputs = program.run({name: images})
        worst = max(_relative(a, outputs[spec.name]) for a, spec in zip(eager, program.outputs, strict=True))
        if not worst < TOLERANCE:
            raise ArtifactError(f"{engine} differs from the eager network by {worst:.2g} of the largest output")
        differences[engine] = float(f"{worst:.2g}")
    return differences


def _relative(expected: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    return float(np.abs(expected - got).max() / max(float(np.abs(expected).max()), 1e-6))


def _input(name: str, size: int, interpolation: str) -> dict[str, Any]:
    return {"name": name, "height": size, "width": size, "interpolation": interpolation, "mean": MEAN, "std": STD}


def _provenance(recipe: dict[str, Any], steps: int, differences: dict[str, float], origin: Origin) -> dict[str, Any]:
    made_with = {
        "steps": steps,
        "paddlepaddle": importlib.metadata.version("paddlepaddle"),
        "difference_from_eager": differences,
        **({"minutes": origin.minutes} if origin.minutes is not None else {}),
    }
    return {
        "thresholds": dict(origin.thresholds),
        "recipe": {**recipe, "made_with": made_with},
        "data": list(origin.data),
        "metrics": dict(origin.metrics),
        "licence": LICENCE,
    }
