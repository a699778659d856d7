"""What an exported program looks like, whatever engine runs it: named arrays in, named arrays out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from models.pdmodel.program_desc import TensorSpec

Array = NDArray[np.float32]
STEM = "inference"
OTHER_STEM = "model"  # PaddleDetection's
# The name that a folder's program has in each precision. bf16 is no file: the fp32 program, computed in bf16.
STEMS = {"fp32": STEM, "fp16": f"{STEM}_fp16", "bf16": STEM, "int8": f"{STEM}_int8"}
PRECISIONS = ("auto", *STEMS)


class Program(Protocol):
    """A loaded program. `run` may be called from any thread, but one call at a time is worked on."""

    @property
    def engine(self) -> str:
        """ "openvino" or "paddle"."""

    @property
    def precision(self) -> str:
        """What it computes in, as a key of STEMS: "fp32" also where bf16 was requested and the processor has none."""

    @property
    def reads_pixels(self) -> bool:
        """Whether `run` takes a picture's bytes instead of float32 (models.engines.pixels)."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes, all float32, or uint8 where it reads pixels."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` gives, in the program's order."""

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """The outputs by name, arrays of the caller's own. Raises EngineError: input_invalid, engine_failed."""


def check_inputs(specs: Sequence[TensorSpec], inputs: Mapping[str, Any], kind: type = np.float32) -> None:
    """Raises EngineError (input_invalid) unless `inputs` are exactly what the program takes, in name, type and shape."""
    expected, given = {spec.name for spec in specs}, set(inputs)
    if expected != given:
        raise EngineError(f"the program takes {sorted(expected)}, not {sorted(given)}", "input_invalid")
    for spec in specs:
        array = inputs[spec.name]
        if array.dtype != kind:
            raise EngineError(f"input {spec.name!r} must be {np.dtype(kind)}, not {array.dtype}", "input_invalid")
        fits = len(array.shape) == len(spec.shape) and all(
            want is None or want == have for want, have in zip(spec.shape, array.shape, strict=True)
        )
        if not fits or 0 in array.shape:
            wanted = "x".join("n" if size is None else str(size) for size in spec.shape)
            raise EngineError(
                f"input {spec.name!r} must be {wanted}, not {'x'.join(map(str, array.shape))}", "input_invalid"
            )
