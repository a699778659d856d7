"""A detector and an embedder for ONNX Runtime Mobile: two programs in its own format, ORT, and a file that says how to use them.

A program is saved for one picture, its shapes fixed, in the order of nodes and with the fusions that run on every processor.
Constants are not folded: weights of 16 bits would be stored in 32. It is compared with the program that is served.
(https://onnxruntime.ai/docs/performance/model-optimizations/ort-format-models.html)
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts.folders import load_manifest
from models.artifacts.manifest import Manifest
from models.artifacts.official import sha256_of
from models.engines.loader import load_program
from models.errors import ArtifactError, EngineError
from models.export.calibration_pictures import prepared, synthetic_pictures

Array = NDArray[np.float32]
SCHEMA = 1
MODELS, ENDING = "models.json", ".ort"
SOURCE = "inference.onnx"
TASKS = {"detector": ("detect",), "embedder": ("embed", "hash")}
TOLERANCE = 1e-4  # of the largest output, between a program and the one that is served
COMPARED = 8  # pictures
QUIET = 3  # errors alone


@dataclass(frozen=True)
class PhoneModel:
    """One exported program: its file and size, that of the ONNX file it was made of, and how far its answers are from the service's."""

    name: str
    file: Path
    size_bytes: int
    source_bytes: int
    difference: float  # of the largest output


def export_phone(sources: Mapping[str, Path], folder: Path) -> dict[str, PhoneModel]:
    """Writes the models of `sources` (by "detector", "embedder") into `folder`, with `models.json` written last.

    What an earlier export left there is replaced. Raises ArtifactError for a model of another kind, without ONNX, and whose
    program answers otherwise; EngineError where ONNX Runtime is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made, about = {}, {}
    with tempfile.TemporaryDirectory(dir=folder) as work:
        for role, source in sources.items():
            manifest = load_manifest(source)
            if manifest.task not in TASKS[role]:
                raise ArtifactError(f"{manifest.name} is no {role} but made to {manifest.task}.")
            program = Path(work) / f"{role}{ENDING}"
            difference = _convert(source, manifest, program)
            sizes = program.stat().st_size, (source / SOURCE).stat().st_size
            made[role] = PhoneModel(manifest.name, folder / program.name, *sizes, difference)
            about[role] = _described(manifest, program)
        (folder / MODELS).unlink(missing_ok=True)  # it does not describe what comes
        for role in TASKS:
            (folder / f"{role}{ENDING}").unlink(missing_ok=True)
        for role in made:
            shutil.move(Path(work) / f"{role}{ENDING}", folder)
        listed = Path(work) / MODELS
        listed.write_text(
            json.dumps({"schema": SCHEMA, **about}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        listed.replace(folder / MODELS)
    return made


def _convert(source: Path, manifest: Manifest, program: Path) -> float:
    """Writes `program`; its largest difference from the program that is served. Raises ArtifactError, EngineError."""
    runtime = _runtime()
    if not (source / SOURCE).is_file():
        detail = f"{manifest.name} has no {SOURCE}, which ONNX Runtime reads; export it with --formats onnx."
        raise ArtifactError(detail, "artifact_incomplete")
    options = runtime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(program)
    options.add_session_config_entry("session.save_model_format", "ORT")
    plain = runtime.SessionOptions()
    plain.log_severity_level = QUIET
    plain.intra_op_num_threads = 1
    providers = ["CPUExecutionProvider"]
    try:
        whole = runtime.InferenceSession(str(source / SOURCE), plain, providers=providers)
        (given,) = whole.get_inputs()
        for size in given.shape:
            if isinstance(size, str):  # a batch of any size
                options.add_free_dimension_override_by_name(size, 1)
        runtime.InferenceSession(
            str(source / SOURCE), options, providers=providers, disabled_optimizers=["ConstantFolding"]
        )
        session = runtime.InferenceSession(str(program), plain, providers=providers)
    except Exception as error:  # what the package raises has no common root
        raise EngineError(f"ONNX Runtime can't convert {manifest.name}.", "program_corrupt") from error
    return _difference(source, manifest, session)


def _difference(source: Path, manifest: Manifest, session: Any) -> float:
    """Between the session and the program that is served, over rendered pictures. Raises ArtifactError."""
    served = load_program(source, precision="fp32")
    names = [output.name for output in session.get_outputs()]
    (given,) = session.get_inputs()
    spec = manifest.input
    if given.name != spec.name or given.shape != [1, 3, spec.height, spec.width]:
        raise ArtifactError(f"{manifest.name}: the program takes {given.name} {given.shape}, unlike its manifest says.")
    worst = 0.0
    for picture in synthetic_pictures(manifest.task, spec.height, COMPARED):
        pixels = prepared(picture, spec)
        expected, got = served.run({spec.name: pixels}), session.run(names, {spec.name: pixels})
        for name, answer in zip(names, got, strict=True):
            largest = max(float(np.abs(expected[name]).max()), 1e-6)
            worst = max(worst, float(np.abs(expected[name].reshape(answer.shape) - answer).max()) / largest)
    if not worst < TOLERANCE:
        raise ArtifactError(f"The ORT program of {manifest.name} differs by {worst:.2g} of the largest output.")
    return worst


def _described(manifest: Manifest, program: Path) -> dict[str, Any]:
    """What an app must know to prepare a picture and to read the answer; `digest` is what galleries name."""
    return {
        "file": program.name,
        "sha256": sha256_of(program),
        "name": manifest.name,
        "digest": manifest.digest,
        "licence": manifest.licence,
        "input": asdict(manifest.input),
        "output": asdict(manifest.output),
        "thresholds": dict(manifest.thresholds),
    }


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        detail = "ONNX Runtime is not installed: pip install 'shitu[phone]'."
        raise EngineError(detail, "engine_not_installed") from error
    return onnxruntime
