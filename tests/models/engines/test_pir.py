"""Programs of Paddle 3 (`inference.json`): OpenVINO's graph of each operator against what Paddle computes of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn
from paddle.nn import functional as F  # noqa: N812 - Paddle's own name for it

from models.engines.loader import load_program
from models.errors import ArtifactError, EngineError
from models.pdmodel.pir import cut_pir, parse_pir
from models.training.engine.programs import save_program
from tests.models import programs

Array = NDArray[np.float32]
SHAPE = (2, 4, 8, 12)


class Tried(nn.Layer):
    """A convolution, so that there are parameters, and what is tried."""

    def __init__(self, make: Callable[[Any], Any], layer: nn.Layer | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2D(4, 4, 3, padding=1)
        self.layer = layer or nn.Identity()
        self.make = make

    def forward(self, x: Any) -> Any:
        return self.make(self.layer(self.conv(x)))


def saved(network: nn.Layer, folder: Path, *, batch: int | None = None) -> Path:
    paddle.seed(0)
    network.eval()
    spec = paddle.static.InputSpec([batch, *SHAPE[1:]], "float32", name="x")
    save_program(network, folder / "inference", [spec])
    return folder


TRIED: dict[str, Callable[[Any], Any]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": F.sigmoid,
    "tanh": paddle.tanh,
    "exp": paddle.exp,
    "sqrt": lambda x: paddle.sqrt(paddle.abs(x) + 1),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "swish": F.swish,
    "silu": F.silu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "gelu": F.gelu,
    "gelu by tanh": lambda x: F.gelu(x, approximate=True),
    "softmax": lambda x: F.softmax(x, axis=1),
    "arithmetic": lambda x: (x + 1.5) * (x - 0.5) / (paddle.abs(x) + 2) + paddle.maximum(x, x * 0.5) - paddle.minimum(x, -x),
    "power": lambda x: paddle.pow(paddle.abs(x) + 1, x),
    "scale": lambda x: paddle.scale(x, 2.0, 3.0, bias_after_scale=False),
    "average pool": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "average pool with its border": lambda x: F.avg_pool2d(x, 3, 2, 1, exclusive=False),
    "maximum pool": lambda x: F.max_pool2d(x, 3, 2, 1),
    "maximum pool rounded up": lambda x: F.max_pool2d(x, 3, 2, 0, ceil_mode=True),
    "global pool": lambda x: F.adaptive_avg_pool2d(x, 1),
    "global maximum": lambda x: F.adaptive_max_pool2d(x, 1),
    "adaptive pool": lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
    "nearest": lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False),
    "bilinear by corners": lambda x: F.interpolate(x, size=(5, 7), mode="bilinear", align_corners=True),
    "mean": lambda x: x.mean(axis=[2, 3]),
    "mean of all": lambda x: x.mean(),
    "sum": lambda x: x.sum(axis=1, keepdim=True),
    "max": lambda x: x.max(axis=-1),
    "reshape": lambda x: x.reshape([0, 2, -1, 12]),
    "flatten": lambda x: x.flatten(1),
    "flatten the sides": lambda x: x.flatten(2),
    "flatten the middle": lambda x: x.flatten(1, 2),
    "squeeze": lambda x: x.mean(axis=2, keepdim=True).squeeze(2).unsqueeze([1, 4]),
    "transpose": lambda x: x.transpose([0, 2, 3, 1]),
    "concat": lambda x: paddle.concat([x, x * 2], axis=1),
    "stack": lambda x: paddle.stack([x, x * 2], axis=1),
    "split": lambda x: [part * 1.0 for part in paddle.split(x, [1, 3], axis=1)][1],
    "split in half": lambda x: paddle.split(x, 2, axis=1)[1] * 1.0,
    "slice": lambda x: x[:, 1:3, 2, ::1],
    "shuffle": lambda x: x.reshape([0, 2, 2, 8, 12]).transpose([0, 2, 1, 3, 4]).reshape([0, 4, 8, 12]),
    "matmul": lambda x: paddle.matmul(x, x, transpose_y=True),
    "expand": lambda x: x + paddle.ones([1, 4, 1, 1]).expand([1, 4, 8, 12]),
    "shape": lambda x: x.reshape([paddle.shape(x)[0], 384]),
    "dropout": lambda x: F.dropout(x, 0.3, training=False, mode="downscale_in_infer"),
    "cast": lambda x: x.astype("int32").astype("float32"),
}  # fmt: skip
LAYERS: dict[str, Callable[[], nn.Layer]] = {
    "depthwise": lambda: nn.Conv2D(4, 4, 5, 2, 2, groups=4),
    "grouped": lambda: nn.Conv2D(4, 8, 3, padding=1, groups=2, bias_attr=False),
    "dilated": lambda: nn.Conv2D(4, 6, 3, padding=2, dilation=2),
    "same": lambda: nn.Conv2D(4, 6, 3, stride=2, padding="SAME"),
    "batch norm": lambda: nn.BatchNorm2D(4),
    "layer norm": lambda: nn.LayerNorm([8, 12]),
    "linear": lambda: nn.Linear(12, 5),
}


def agrees(network: nn.Layer, folder: Path) -> None:
    """With the eager network: Paddle Inference fuses some of these operators with the convolution before them and dies."""
    saved(network, folder)
    pixels = np.random.RandomState(3).standard_normal(SHAPE).astype(np.float32)
    with paddle.no_grad():
        expected = network(paddle.to_tensor(pixels)).numpy()
    (ours,) = load_program(folder, engine="openvino").run({"x": pixels}).values()
    np.testing.assert_allclose(ours.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    assert ours.ndim == max(expected.ndim, 0)
    assert np.abs(expected).max() > 0


@pytest.mark.parametrize("tried", TRIED)
def test_an_operator_computes_what_paddle_does(tried: str, tmp_path: Path) -> None:
    agrees(Tried(TRIED[tried]), tmp_path)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_computes_what_paddle_does(layer: str, tmp_path: Path) -> None:
    made = LAYERS[layer]()
    for name, value in made.state_dict().items():  # else statistics would be those that change nothing
        random = np.random.RandomState(len(name))
        value.set_value(random.uniform(0.5, 1.5, value.shape).astype(np.float32))
    agrees(Tried(lambda x: x, made), tmp_path)


@pytest.mark.parametrize("engine", ["openvino", "paddle"])
def test_a_program_is_cut_at_inner_values(engine: str, tmp_path: Path) -> None:
    saved(Tried(lambda x: F.sigmoid(F.relu(x)).mean()), tmp_path)
    program = parse_pir((tmp_path / "inference.json").read_bytes())
    inner = [op.outputs["Out"][0] for op in program.operators if op.type in {"relu", "sigmoid"}]
    cut = load_program(tmp_path, engine=engine, outputs=inner)
    made = cut.run({"x": np.random.RandomState(3).standard_normal(SHAPE).astype(np.float32)})
    assert [spec.name for spec in cut.outputs] == inner
    assert [made[name].shape for name in inner] == [SHAPE, SHAPE]
    np.testing.assert_allclose(made[inner[1]], 1 / (1 + np.exp(-made[inner[0]])), rtol=1e-5)


def test_what_the_program_does_not_make_is_no_place_to_cut(tmp_path: Path) -> None:
    programs.save_json(tmp_path, "embed")
    with pytest.raises(ArtifactError, match="makes no variable '%99999'"):
        cut_pir((tmp_path / "inference.json").read_bytes(), ["%99999"])


def test_an_operator_that_is_not_known_is_named(tmp_path: Path) -> None:
    saved(Tried(lambda x: paddle.cumsum(x, axis=1)), tmp_path)
    with pytest.raises(
        EngineError, match="the operator 'cumsum', which is not known here; run it with the engine paddle"
    ) as caught:
        load_program(tmp_path, engine="openvino")
    assert caught.value.code == "program_corrupt"
    assert load_program(tmp_path, engine="paddle").inputs[0].name == "x"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda _: "{}",
        lambda _: "[1]",
        lambda text: text.replace('"pir"', '"pie"'),
        lambda text: text.replace('"version":4', '"version":400').replace('"version": 4', '"version": 400'),
        lambda text: text.replace("conv2d", "conv9d"),
    ],
)
def test_a_damaged_program_is_refused(spoil: Callable[[str], str], tmp_path: Path) -> None:
    programs.save_json(tmp_path, "embed")
    file = tmp_path / "inference.json"
    spoiled = spoil(file.read_text())
    assert spoiled != file.read_text()
    file.write_text(spoiled)
    with pytest.raises(EngineError) as caught:
        load_program(tmp_path, engine="openvino")
    assert caught.value.code == "program_corrupt"


def test_parameters_of_another_program_are_refused(tmp_path: Path) -> None:
    saved(Tried(F.relu), tmp_path)
    (tmp_path / "inference.pdiparams").write_bytes(programs.parameter(np.zeros((3, 3), np.float32)))
    with pytest.raises(EngineError, match=r"inference\.pdiparams holds other parameters than inference\.json names"):
        load_program(tmp_path)


def test_the_form_is_that_of_the_file(tmp_path: Path) -> None:
    programs.save_json(tmp_path, "detect")
    program = parse_pir((tmp_path / "inference.json").read_bytes())
    assert [(spec.name, spec.shape) for spec in program.inputs] == [("x", (None, 3, 32, 32))]
    assert [spec.name for spec in program.outputs] == ["fetch_name_0", "fetch_name_1"]
    assert program.parameter_shapes() == [(programs.CHANNELS, 3, programs.STRIDE, programs.STRIDE)]
    assert json.loads((tmp_path / "inference.json").read_bytes())["base_code"]["magic"] == "pir"
