"""Teachers as files: a small network with seeded weights, written as ONNX and as OpenVINO IR."""

import shutil
from pathlib import Path

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn

from models.training.engine.programs import write_programs
from models.training.tasks.classifier_evaluation import classifier_input

SIDE = 24
GRID = 4


class Network(nn.Layer):
    """(N, 3, SIDE, SIDE) -> mean colours of GRID x GRID cells -> (N, classes), after a softmax where one is requested."""

    def __init__(self, classes: int, softmax: bool) -> None:
        super().__init__()
        self.cells = nn.AvgPool2D(SIDE // GRID)
        self.fc = nn.Linear(3 * GRID * GRID, classes)
        self.fc.weight.set_value(np.random.default_rng(0).normal(size=self.fc.weight.shape).astype(np.float32))
        self.last = nn.Softmax() if softmax else nn.Identity()

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.last(self.fc(self.cells(x).flatten(1)))


def teacher_files(folder: Path, classes: int, *, softmax: bool) -> dict[str, Path]:
    """The network as "onnx" and "openvino" (IR) files in `folder`; they take one normalized NCHW picture."""
    work = folder / "work"
    work.mkdir(parents=True)
    formats = ["onnx", "openvino"]
    made = write_programs(Network(classes, softmax), classifier_input(SIDE), work, formats, batched=False)
    for part in made.values():
        for file in part.iterdir():
            shutil.move(file, folder / f"teacher{file.suffix}")
    return {"onnx": folder / "teacher.onnx", "openvino": folder / "teacher.xml"}


def logits_of(pixels: NDArray[np.float32], classes: int) -> NDArray[np.float32]:
    """The network's output for (N, 3, SIDE, SIDE) prepared pixels, before its softmax."""
    with paddle.no_grad():
        return np.asarray(Network(classes, softmax=False)(paddle.to_tensor(pixels)).numpy(), np.float32)
