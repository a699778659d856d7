"""Runs a network that is being trained as it will be served: fused, and as a program, several times faster on a CPU."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from models.artifacts.manifest import ImageInput
from models.engines.loader import load_program
from models.nets.lcnetv2 import fused
from models.training.engine.programs import answers, write_programs

Array = NDArray[np.float32]
Answers = Callable[[Array], list[Array]]  # pixels (N, 3, height, width) -> the network's outputs, in order
WORTH_A_PROGRAM = 256  # pictures: making the program takes as long as 70 to 150 of them do otherwise, or two seconds


def as_served(
    network: nn.Layer, given: ImageInput, pictures: int, threads: int = 1, *, batched: bool = True
) -> Answers:
    """The network in evaluation mode as a function: through an exported program where so many `pictures` are worth it.

    The program is of the weights as they are now. `batched` ones take any N, others 1.
    """
    serving = fused(network)
    if pictures < WORTH_A_PROGRAM:
        return lambda pixels: answers(serving, pixels)
    with tempfile.TemporaryDirectory() as work:
        folder = write_programs(serving, given, Path(work), ["paddle"], batched=batched)["paddle"]
        program = load_program(folder, engine="paddle", threads=threads)
    names = [output.name for output in program.outputs]

    def answer(pixels: Array) -> list[Array]:
        outputs = program.run({given.name: pixels})
        return [outputs[name] for name in names]

    return answer
