"""Loads the exported program of a model folder into the engine that can run it: OpenVINO first, else Paddle Inference.

Importing this module loads neither engine, and no program may be loaded before a fork: both keep threads.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from models.engines.program import OTHER_STEM, PRECISIONS, STEM, STEMS, Program
from models.errors import ArtifactError, EngineError
from models.pdmodel.parameters import parameter_shapes
from models.pdmodel.pir import cut_pir, parse_pir
from models.pdmodel.program_desc import TensorSpec, cut_program, parse_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from models.engines.pixels import PixelSpec

__all__ = ["ENGINES", "PRECISIONS", "Program", "TensorSpec", "load_program"]

# What each engine reads, the best first. `.pdmodel` is the official archives' format, `.json` that of Paddle 3's.
FORMATS = {"openvino": (".xml", ".onnx", ".pdmodel", ".json"), "paddle": (".json", ".pdmodel")}
PADDLES = (".pdmodel", ".json")
WEIGHTS = {".xml": ".bin", ".json": ".pdiparams", ".pdmodel": ".pdiparams"}
PACKAGES = {"openvino": "openvino", "paddle": "paddlepaddle"}
ENGINES = ("auto", *FORMATS)
# What to do where an engine reads nothing that a model has.
ADVICE = {
    "auto": "export the model again.",
    "openvino": "take the engine auto, or export the model with --formats onnx.",
    "paddle": "take the engine openvino or auto, or export the model with --formats paddle.",
}


def load_program(
    folder: Path | str,
    *,
    engine: str = "auto",
    threads: int = 1,
    outputs: Sequence[str] = (),
    precision: str = "auto",
    pixels: PixelSpec | None = None,
) -> Program:
    """The program of `folder`, ready to run on `threads` threads. "auto" takes the first engine that is installed.

    `precision` picks one of the folder's programs, "auto" the most exact one; only OpenVINO runs others than fp32.
    `outputs` cuts a program of PaddlePaddle's before its end: its outputs are then these variables, and its inputs those that
    lead there.
    `pixels`: a program that reads pictures, where the engine has such (`Program.reads_pixels`).
    Raises ArtifactError: artifact_missing, artifact_incomplete, artifact_invalid. Raises EngineError: engine_unknown,
    precision_unknown, engine_not_installed, program_missing, program_corrupt.
    """
    folder = Path(folder)
    if engine not in ENGINES:
        raise EngineError(f"There is no engine {engine!r}; take one of {', '.join(ENGINES)}.", "engine_unknown")
    if precision not in PRECISIONS:
        detail = f"There is no precision {precision!r}; take one of {', '.join(PRECISIONS)}."
        raise EngineError(detail, "precision_unknown")
    if not folder.is_dir():
        raise ArtifactError(f"There is no model folder {str(folder)!r}.", "artifact_missing")
    precision, found = _program_files(folder, precision)
    chosen = _choose(found, engine, folder)
    file = found[chosen]
    weights = _weights(file)
    if file.suffix in PADDLES:
        return _load_paddles(chosen, file, weights, threads, outputs, precision, pixels)
    if outputs:
        raise EngineError(f"Only a program of PaddlePaddle's can be cut, not {file.name}.", "program_missing")
    from models.engines.openvino import OpenVinoProgram

    return OpenVinoProgram(file, threads, precision=precision, pixels=pixels)


def program_of(folder: Path, engine: str = "auto", precision: str = "auto") -> tuple[str, tuple[Path, ...]]:
    """The precision of the program that `load_program` takes from `folder`, and its files. Nothing is loaded.

    Raises ArtifactError and EngineError as it does.
    """
    precision, found = _program_files(folder, precision)
    file = found[_choose(found, engine, folder)]
    return precision, tuple({file: None, _weights(file): None})


def _program_files(folder: Path, precision: str) -> tuple[str, dict[str, Path]]:
    """What there is in `precision`, and the best file for each engine that runs it."""
    for candidate in STEMS if precision == "auto" else (precision,):
        files = {
            engine: file
            for engine, suffixes in FORMATS.items()
            if (candidate == "fp32" or engine == "openvino")
            and (file := _first(folder / f"{stem}{suffix}" for stem in _stems(candidate) for suffix in suffixes))
            is not None
        }
        if files:
            return candidate, files
    wanted = f"{STEM}.onnx, .json ..." if precision == "auto" else f"for {precision}"
    raise EngineError(f"The folder {str(folder)!r} holds no program ({wanted}).", "program_missing")


def _stems(precision: str) -> tuple[str, ...]:
    """PaddleDetection calls what it exports `model`."""
    return (STEMS[precision], OTHER_STEM) if precision == "fp32" else (STEMS[precision],)


def _first(files: Iterable[Path]) -> Path | None:
    return next((file for file in files if file.is_file()), None)


def _choose(found: dict[str, Path], engine: str, folder: Path) -> str:
    wanted = list(FORMATS) if engine == "auto" else [engine]
    readable = [name for name in wanted if name in found]
    if not readable:
        held = sorted(file.name for file in found.values())
        detail = f"{engine} reads none of the programs in {str(folder)!r} ({', '.join(held)}): {ADVICE[engine]}"
        raise EngineError(detail, "program_missing")
    installed = [name for name in readable if importlib.util.find_spec(name) is not None]
    if not installed:
        packages = " or ".join(PACKAGES[name] for name in readable)
        raise EngineError(f"To run this program, install {packages}.", "engine_not_installed")
    return installed[0]


def _weights(file: Path) -> Path:
    """The file of parameters next to a program; ONNX holds its own."""
    weights = file.with_suffix(WEIGHTS.get(file.suffix, file.suffix))
    if not weights.is_file():
        raise ArtifactError(f"Next to {file.name} the file {weights.name} is missing.", "artifact_incomplete")
    return weights


def _load_paddles(
    engine: str,
    file: Path,
    weights: Path,
    threads: int,
    outputs: Sequence[str],
    precision: str,
    pixels: PixelSpec | None,
) -> Program:
    """A `.pdmodel`, or a program of PaddlePaddle 3."""
    model = file.read_bytes()
    old_format = file.suffix == ".pdmodel"
    try:
        program = parse_program(model) if old_format else parse_pir(model)
    except ArtifactError as error:
        raise EngineError(f"{file.name}: {error.detail}", "program_corrupt") from error
    if parameter_shapes(weights) != program.parameter_shapes():
        raise EngineError(f"{weights.name} holds other parameters than {file.name} names.", "program_corrupt")
    if outputs:
        model = cut_program(program, outputs) if old_format else cut_pir(model, list(outputs))
        program = parse_program(model) if old_format else parse_pir(model)
    if engine == "openvino":
        from models.engines.openvino import OpenVinoProgram

        return OpenVinoProgram(model, threads, weights.read_bytes(), precision, pixels)
    from models.engines.paddle import PaddleProgram

    ports = (program.inputs, program.outputs)
    if old_format:
        return PaddleProgram(model, weights.read_bytes(), ports, threads, old_format=True)
    if not outputs:
        return PaddleProgram(file, weights, ports, threads, old_format=False)
    with tempfile.TemporaryDirectory() as work:  # Paddle reads this form from files alone
        cut = Path(work, file.name)
        cut.write_bytes(model)
        return PaddleProgram(cut, weights, ports, threads, old_format=False)
