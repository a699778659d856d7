"""A program that takes pictures: colours become numbers within the graph where the engine can do that, else in numpy.

OpenVINO's program is compiled for one picture of the manifest's size: shapes that do not change cost less than a batch gains
(a sixth of an embedding's time), and its first layer reads bytes. Paddle Inference gains from batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from models.engines.loader import load_program
from models.pictures.image import normalize

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from models.engines.program import Array, Program
    from models.pdmodel.program_desc import TensorSpec

BATCH = 32  # bounds the memory of a run; larger batches are no faster


class PixelSpec(Protocol):
    """What a program's input wants of a picture, as models.artifacts.manifest.ImageInput has it."""

    @property
    def name(self) -> str: ...

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def mean(self) -> tuple[float, float, float]: ...

    @property
    def std(self) -> tuple[float, float, float]: ...


class PixelProgram:
    """(height, width, 3) RGB uint8 pictures in, named arrays out, a row for each. `run` as `Program.run`."""

    def __init__(self, program: Program, spec: PixelSpec) -> None:
        self._program, self._spec = program, spec
        given = next((one for one in program.inputs if one.name == spec.name), None)
        self._batch = min((given.shape[0] if given and given.shape else None) or BATCH, BATCH)

    @property
    def engine(self) -> str:
        """What runs it: "openvino" or "paddle"."""
        return self._program.engine

    @property
    def precision(self) -> str:
        """What it computes in."""
        return self._program.precision

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` gives."""
        return self._program.outputs

    def run(self, pictures: Sequence[NDArray[np.uint8]]) -> dict[str, Array]:
        """The outputs by name, of all pictures one after another. Raises EngineError as `Program.run`."""
        parts = []
        for start in range(0, len(pictures), self._batch):
            batch = pictures[start : start + self._batch]
            if self._program.reads_pixels:
                parts.append(self._program.run({self._spec.name: batch[0][None]}))
            else:
                planes = np.stack([normalize(picture, self._spec.mean, self._spec.std) for picture in batch])
                parts.append(self._program.run({self._spec.name: planes}))
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def load_pixel_program(
    folder: Path | str,
    spec: PixelSpec,
    *,
    engine: str = "auto",
    threads: int = 1,
    outputs: Sequence[str] = (),
    precision: str = "auto",
) -> PixelProgram:
    """`load_program` for pictures. Raises as it does."""
    program = load_program(folder, engine=engine, threads=threads, outputs=outputs, precision=precision, pixels=spec)
    return PixelProgram(program, spec)
