"""One network as programs: Paddle's own, ONNX and OpenVINO IR, each held to the eager network before it is kept.

`export_network` is the way of every kind of network into an artifact folder. Programs are made in a separate folder
and moved next to the manifest only when they answer as the network does, so a failed export leaves no artifact.
"""

import importlib.metadata
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from models.artifacts.folders import MANIFEST, write_manifest
from models.artifacts.manifest import ImageInput
from models.engines.loader import load_program
from models.errors import ArtifactError, ModelError
from models.export.precisions import PRECISIONS, add_precisions, require_measurable
from models.nets.lcnetv2 import fused
from models.training.engine.half_weights import round_to_half
from models.training.engine.programs import FORMATS, answers, write_programs

Array = NDArray[np.float32]
LICENCE = "Apache-2.0"
DEFAULT_FORMATS = ("paddle", "onnx")
TOLERANCE = 1e-3  # of the largest output, between the eager network and each program
BATCH = 3


@dataclass(frozen=True)
class Kind:
    """What a program answers: its task, and the manifest's `output` made from the names of the program's outputs."""

    task: str
    output: Callable[[Sequence[str]], dict[str, Any]]


@dataclass(frozen=True)
class Origin:
    """Where a manifest's metrics come from."""

    data: Sequence[str]
    metrics: Mapping[str, float]
    thresholds: Mapping[str, float]
    minutes: float | None = None
    name: str = ""
    network: str = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 0
    licence: str = LICENCE


def embeds(dim: int) -> Kind:
    """A network with one output (N, dim)."""
    return Kind("embed", lambda names: {"name": names[0], "dim": dim})


def hashes(bits: int) -> Kind:
    """A network with one output (N, bits), which are binarised by their sign."""
    return Kind("hash", lambda names: {"name": names[0], "bits": bits})


def classifies(labels: Sequence[str]) -> Kind:
    """A network with one output (N, classes): probabilities, so it ends in its softmax."""
    return Kind("classify", lambda names: {"name": names[0], "labels": list(labels)})


def detects(strides: Sequence[int], reg_max: int) -> Kind:
    """A detector with scores and distances for each stride in turn, before decoding and suppression."""

    def output(names: Sequence[str]) -> dict[str, Any]:
        heads = [
            {"scores": names[2 * level], "distances": names[2 * level + 1], "stride": stride}
            for level, stride in enumerate(strides)
        ]
        return {"heads": heads, "reg_max": reg_max}

    return Kind("detect", output)


def export_network(
    network: nn.Layer,
    kind: Kind,
    given: ImageInput,
    folder: Path,
    origin: Origin,
    formats: Sequence[str] = DEFAULT_FORMATS,
    pictures: Sequence[NDArray[np.uint8]] | None = None,
    *,
    batched: bool = True,
) -> Path:
    """Fuse `network`, write it in all `formats` (of FORMATS and PRECISIONS) with its manifest, and return `folder`.

    The network takes (N, 3, height, width) float32 and answers with a tensor or a tuple of tensors; `batched` programs take
    any N, others 1. `origin.name` and `origin.network` are the manifest's. `pictures` are for `add_precisions`.
    What `folder` held before is replaced. Raises ArtifactError for an unknown format, and if an fp32 program's answers
    differ from the eager network's by more than TOLERANCE of the largest, or another's as `add_precisions` says; for bf16 on
    a processor that can't measure it before anything is replaced.
    """
    programs = [name for name in formats if name in FORMATS]
    precisions = [name for name in formats if name in PRECISIONS]
    if unknown := [name for name in formats if name not in (*FORMATS, *PRECISIONS)]:
        raise ArtifactError(f"There is no format {unknown[0]!r}; take some of {', '.join((*FORMATS, *PRECISIONS))}.")
    if {"onnx", "onnx-half"} <= set(programs):
        raise ArtifactError("The formats onnx and onnx-half are one file with different weights; take one of them.")
    if not programs or (precisions and not {"onnx", "onnx-half", "openvino"} & set(programs)):
        needed = "onnx or openvino" if precisions else ", ".join(FORMATS)
        raise ArtifactError(f"An artifact needs an fp32 program to begin with: {needed}.")
    require_measurable(precisions)
    serving = fused(network)
    forget_artifact(folder)
    pixels = _probe(given, BATCH if batched else 1)
    expected = answers(serving, pixels)
    rounding = {}
    if "onnx-half" in programs:
        round_to_half(serving)
        unrounded, expected = expected, answers(serving, pixels)
        worst = max(_relative(a, b) for a, b in zip(unrounded, expected, strict=True))
        rounding = {"weight_bits": 16, "difference_by_rounding": float(f"{worst:.2g}")}
    with tempfile.TemporaryDirectory(dir=folder) as work:
        made = write_programs(serving, given, Path(work), programs, batched=batched)
        names, differences = _agreed(made, given.name, pixels, expected)
        for source in made.values():
            for file in sorted(source.iterdir()):
                shutil.move(file, folder / file.name)
    made_with = {
        "steps": origin.steps,
        "paddlepaddle": importlib.metadata.version("paddlepaddle"),
        "difference_from_eager": differences,
        **rounding,
        **({"minutes": origin.minutes} if origin.minutes is not None else {}),
    }
    write_manifest(
        folder,
        name=origin.name,
        task=kind.task,
        network=origin.network,
        input=asdict(given),
        output=kind.output(names),
        thresholds=origin.thresholds,
        recipe={**origin.recipe, "made_with": made_with},
        data=origin.data,
        metrics=origin.metrics,
        licence=origin.licence,
    )
    if precisions:
        try:
            add_precisions(
                folder,
                precisions,
                pictures,
                lambda pixels: dict(zip(names, answers(serving, pixels), strict=True)),
            )
        except ModelError:
            forget_artifact(folder)
            raise
    return folder


def forget_artifact(folder: Path) -> None:
    """Make `folder`, and remove the programs and the manifest of an older artifact: they do not describe the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in [folder / MANIFEST, *folder.glob("inference*")]:
        file.unlink(missing_ok=True)


def _agreed(
    made: Mapping[str, Path], name: str, pixels: Array, expected: Sequence[Array]
) -> tuple[list[str], dict[str, float]]:
    """The output names that all programs share, and each one's largest difference, relative to the largest output."""
    names: list[str] = []
    differences = {}
    for form, source in made.items():
        program = load_program(source, engine=FORMATS[form])
        own = [output.name for output in program.outputs]
        if names and own != names:
            raise ArtifactError("the programs name their outputs differently")
        names = own
        outputs = program.run({name: pixels})
        worst = max(_relative(a, outputs[output]) for a, output in zip(expected, own, strict=True))
        if not worst < TOLERANCE:
            raise ArtifactError(
                f"the {form} program differs from the eager network by {worst:.2g} of the largest output"
            )
        differences[form] = float(f"{worst:.2g}")
    return names, differences


def _probe(given: ImageInput, count: int) -> Array:
    shape = (count, 3, given.height, given.width)
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def _relative(expected: Array, got: Array) -> float:
    return float(np.abs(expected - got).max() / max(float(np.abs(expected).max()), 1e-6))
