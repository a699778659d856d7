"""Runs programs with OpenVINO: ONNX, OpenVINO IR, and PaddlePaddle's `.pdmodel` and `.json`, without PaddlePaddle."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.engines import compiled
from models.engines.program import Array, check_inputs
from models.errors import EngineError
from models.pdmodel.program_desc import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.engines.pixels import PixelSpec

CPU_FLAGS = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}

_filling = threading.Lock()


class OpenVinoProgram:
    """One compiled program with one inference request; a lock keeps two threads from sharing its buffers."""

    engine = "openvino"

    def __init__(
        self,
        model: Path | bytes,
        threads: int,
        parameters: bytes | None = None,
        precision: str = "fp32",
        pixels: PixelSpec | None = None,
    ) -> None:
        """`model` is a file, or a PaddlePaddle program's bytes with the `parameters` of its `.pdiparams`.

        `precision` is the model's own, or "bf16" to have an fp32 model computed in bf16 where the processor does that.
        `pixels`: its one input takes one picture, (1, height, width, 3) uint8, whose colours are normalised in the graph.
        Raises EngineError: program_corrupt for whatever OpenVINO can't read or convert.
        """
        openvino = import_openvino()
        self.precision = "fp32" if precision == "bf16" and not computes_bf16() else precision
        self._openvino, self._core = openvino, openvino.Core()
        settings = _settings(threads, self.precision)
        key = compiled.cache_key(
            [openvino.__version__, json.dumps(settings), _reported(pixels), *_bytes(model, parameters)]
        )
        found = None if pixels is None else self._kept(key, settings)  # only what serves photos is worth its place
        self._request, self.inputs, self.outputs = found or self._made(key, model, parameters, settings, pixels)
        shapes = [spec.shape for spec in self.inputs]
        self.reads_pixels = pixels is not None and shapes == [(1, pixels.height, pixels.width, 3)]
        self._lock = threading.Lock()

    def _kept(self, key: str, settings: dict[str, Any]) -> Any:
        """The program as it was compiled before; None where it was not, or this OpenVINO refuses it."""
        found = compiled.load(key)
        if found is None:
            return None
        (inputs, outputs), blob = found
        try:
            request = self._core.import_model(blob, "CPU", settings).create_infer_request()
        except (RuntimeError, ValueError, TypeError):
            return None
        return request, inputs, outputs

    def _made(
        self,
        key: str,
        model: Path | bytes,
        parameters: bytes | None,
        settings: dict[str, Any],
        pixels: PixelSpec | None,
    ) -> Any:
        core = self._core
        try:
            network = self._read(model, parameters)
            # Names as they are before compiling, which merges tensors and gives them each other's names.
            if pixels is not None and len(network.inputs) == 1:
                try:
                    network = _with_pixels(self._openvino, network, pixels)
                except RuntimeError:  # its shapes are not to be changed: it takes what it was made for
                    network = self._read(model, parameters)
            inputs = tuple(_spec(port, f"input_{i}") for i, port in enumerate(network.inputs))
            outputs = tuple(_spec(port, f"output_{i}") for i, port in enumerate(network.outputs))
            program = core.compile_model(network, "CPU", settings)
            request = program.create_infer_request()
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"OpenVINO can't read the program: {_reason(error)}", "program_corrupt") from error
        if pixels is not None:
            with suppress(RuntimeError):  # a program that cannot be kept is compiled again next time
                compiled.keep(key, (inputs, outputs), program.export_model().getvalue())
        return request, inputs, outputs

    def _read(self, model: Path | bytes, parameters: bytes | None) -> Any:
        if isinstance(model, bytes) and parameters is not None and model.lstrip()[:1] == b"{":
            from models.engines.pir_graph import pir_network

            return pir_network(self._openvino, model, parameters)
        return self._core.read_model(str(model)) if parameters is None else self._core.read_model(model, parameters)

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """The outputs by name. Raises EngineError: input_invalid, engine_failed."""
        check_inputs(self.inputs, inputs, np.uint8 if self.reads_pixels else np.float32)
        arrays = [np.ascontiguousarray(inputs[spec.name]) for spec in self.inputs]
        with self._lock:
            try:
                results = self._request.infer(arrays)
            except RuntimeError as error:
                raise EngineError(f"OpenVINO failed: {_reason(error)}") from error
            return {spec.name: np.array(results[i], np.float32) for i, spec in enumerate(self.outputs)}


def import_openvino() -> Any:
    """The package OpenVINO, which otherwise reports its very import to an analytics service, without consent."""
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # as if that package were not installed, which OpenVINO allows for
    import openvino

    # At the first tensor that is read OpenVINO fills its tables of element types, and gives up the GIL in the middle of it.
    # A second thread that then reads its first one waits for the tables with the GIL in its hands: the process hangs
    # still for ever. So they are filled here, by one thread, before there is a program that another could run.
    with _filling:
        _ = openvino.Tensor(np.zeros(1, np.float32)).data
    return openvino


@cache
def computes_bf16(flags_of: Path = CPU_FLAGS) -> bool:
    """Whether this processor multiplies bf16 itself. OpenVINO emulates it on others, which is slower than f32."""
    try:
        flags = next(line for line in flags_of.read_text().splitlines() if line.startswith("flags"))
    except (OSError, StopIteration):
        return False
    return not BF16_FLAGS.isdisjoint(flags.split())


def _settings(threads: int, precision: str) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        # Without a hint OpenVINO takes bf16 where the processor has it: other results on other machines.
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # pinned processes of one machine fight for the same cores
    }


def _with_pixels(openvino: Any, network: Any, pixels: PixelSpec) -> Any:
    """`network` for one picture of bytes, row by row: (value / 255 - mean) / std is its first layer."""
    from openvino.preprocess import PrePostProcessor

    names = [sorted(port.get_names()) for port in network.outputs]
    steps = PrePostProcessor(network)
    given = steps.input()
    given.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    given.model().set_layout(openvino.Layout("NCHW"))
    given.preprocess().convert_element_type(openvino.Type.f32).mean([255 * one for one in pixels.mean]).scale(
        [255 * one for one in pixels.std]
    )
    made = steps.build()
    made.reshape([1, pixels.height, pixels.width, 3])
    for port, known in zip(made.outputs, names, strict=True):
        port.get_tensor().set_names(set(known))
    return made


def _reported(pixels: PixelSpec | None) -> str:
    """What of it is compiled into a program."""
    return "" if pixels is None else json.dumps([pixels.height, pixels.width, list(pixels.mean), list(pixels.std)])


def _bytes(model: Path | bytes, parameters: bytes | None) -> list[bytes]:
    """All of a program's files; one that cannot be read is reported where it is loaded."""
    if isinstance(model, bytes):
        return [model, parameters or b""]
    weights = model.with_suffix(".bin")
    files = (model, weights) if model.suffix == ".xml" else (model,)
    return [model.suffix.encode(), *(file.read_bytes() if file.is_file() else b"" for file in files)]


def _spec(port: Any, unnamed: str) -> TensorSpec:
    shape = tuple(size.get_length() if size.is_static else None for size in port.get_partial_shape())
    names = sorted(port.get_names())
    return TensorSpec(names[0] if names else unnamed, shape)


def _reason(error: Exception) -> str:
    """The last line that says something; the first ones name OpenVINO's source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
