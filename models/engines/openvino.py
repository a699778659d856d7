"""Runs programs with OpenVINO: ONNX, OpenVINO IR, and PaddlePaddle's `.pdmodel`, which it reads without PaddlePaddle."""

from __future__ import annotations

import sys
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.engines.program import Array, check_inputs
from models.errors import EngineError
from models.pdmodel.program_desc import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

CPU_FLAGS = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}

_filling = threading.Lock()


class OpenVinoProgram:
    """One compiled program with one inference request; a lock keeps two threads from sharing its buffers."""

    engine = "openvino"

    def __init__(
        self, model: Path | bytes, threads: int, parameters: bytes | None = None, precision: str = "fp32"
    ) -> None:
        """`model` is a file, or a `.pdmodel`'s bytes with the `parameters` of its `.pdiparams`.

        `precision` is the model's own, or "bf16" to have an fp32 model computed in bf16 where the processor does that.
        Raises EngineError: program_corrupt for whatever OpenVINO can't read or convert.
        """
        openvino = import_openvino()
        self.precision = "fp32" if precision == "bf16" and not computes_bf16() else precision
        core = openvino.Core()
        try:
            network = core.read_model(str(model)) if parameters is None else core.read_model(model, parameters)
            compiled = core.compile_model(network, "CPU", _settings(threads, self.precision))
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"OpenVINO can't read the program: {_reason(error)}", "program_corrupt") from error
        self._request = compiled.create_infer_request()
        self._lock = threading.Lock()
        # Names as they are before compiling, which merges tensors and gives them each other's names.
        self.inputs = tuple(_spec(port, f"input_{i}") for i, port in enumerate(network.inputs))
        self.outputs = tuple(_spec(port, f"output_{i}") for i, port in enumerate(network.outputs))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name. Raises EngineError: input_invalid, engine_failed."""
        check_inputs(self.inputs, inputs)
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


def _spec(port: Any, unnamed: str) -> TensorSpec:
    shape = tuple(size.get_length() if size.is_static else None for size in port.get_partial_shape())
    names = sorted(port.get_names())
    return TensorSpec(names[0] if names else unnamed, shape)


def _reason(error: Exception) -> str:
    """The last line that says something; the first ones name OpenVINO's source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
