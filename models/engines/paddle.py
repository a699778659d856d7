"""Runs programs with Paddle Inference: `inference.json` (today's format) and `.pdmodel` (that of the official archives)."""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from models.engines.program import Array, check_inputs
from models.errors import EngineError
from models.pdmodel.program_desc import TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

FORMAT_FLAG = "FLAGS_enable_pir_api"
ONEDNN_SHAPES = 10  # shapes whose kernels are kept; without a limit every new batch size adds to the memory for ever
Ports = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]
_loading = threading.Lock()


class PaddleProgram:
    """One predictor; a lock keeps two threads from sharing its buffers."""

    engine = "paddle"
    precision = "fp32"
    reads_pixels = False

    def __init__(
        self, model: Path | bytes, parameters: Path | bytes, ports: Ports, threads: int, *, old_format: bool
    ) -> None:
        """`model` and `parameters` are both files or both their bytes; `ports` are the program's inputs and outputs.

        Raises EngineError: program_corrupt for whatever Paddle can't read.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # at import Paddle misses a compiler cache that nothing here would use
            import paddle
        config = paddle.inference.Config()
        if isinstance(model, bytes) and isinstance(parameters, bytes):
            config.set_model_buffer(model, len(model), parameters, len(parameters))
        else:
            config.set_model(str(model), str(parameters))
        config.disable_gpu()
        config.disable_glog_info()
        config.enable_mkldnn()  # the default today, and the default has changed before: ten times slower without
        config.set_mkldnn_cache_capacity(ONEDNN_SHAPES)
        config.set_cpu_math_library_num_threads(threads)
        try:
            with _format(paddle, old_format=old_format):
                self._predictor = paddle.inference.create_predictor(config)
        except (RuntimeError, ValueError, OSError, NotImplementedError) as error:
            raise EngineError(f"Paddle can't read the program: {_reason(error)}", "program_corrupt") from error
        self._lock = threading.Lock()
        self.inputs, self.outputs = ports

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """The outputs by name. Raises EngineError: input_invalid, engine_failed."""
        check_inputs(self.inputs, inputs)
        with self._lock:
            try:
                for spec in self.inputs:
                    handle = self._predictor.get_input_handle(spec.name)
                    handle.copy_from_cpu(np.ascontiguousarray(inputs[spec.name]))
                self._predictor.run()
                return {
                    spec.name: np.asarray(self._predictor.get_output_handle(spec.name).copy_to_cpu(), np.float32)
                    for spec in self.outputs
                }
            except (RuntimeError, ValueError, OSError, NotImplementedError) as error:
                raise EngineError(f"Paddle failed: {_reason(error)}") from error


@contextmanager
def _format(paddle: Any, *, old_format: bool) -> Iterator[None]:
    """Loads a program by the rules of its own format.

    Old programs need the flag off while their predictor is made, and only then: it may be set at run time, and set back
    at once, so that programs of both formats (and training, which needs it on) live in one process.
    """
    with _loading:
        before = paddle.get_flags(FORMAT_FLAG)[FORMAT_FLAG]
        paddle.set_flags({FORMAT_FLAG: not old_format})
        try:
            yield
        finally:
            paddle.set_flags({FORMAT_FLAG: before})


def _reason(error: Exception) -> str:
    """The line in which Paddle says what is wrong; around it are its stack and a hint."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "Error" in line or line.startswith("(")]
    return (named or lines or [type(error).__name__])[-1][:300]
