"""The official networks at their full size, with the goldens' parameters, as both engines run them.

The goldens are what the official graphs answered on Paddle Inference (benchmarks/make_golden.py). Here our networks are
exported as artifacts are, and each engine must give those embeddings, and after the serving decoder those boxes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import paddle2onnx
import pytest
from paddle import nn

from models.artifacts.manifest import DetectionOutput, Head
from models.boxes import suppress
from models.detector import KEPT, SUPPRESSION_IOU, decode_heads
from models.engines.loader import load_program
from models.nets.embedding import EmbedderV1, EmbedderV2
from models.nets.lcnetv2 import fused
from models.nets.names import STRIDES
from models.nets.picodet import PicoDet, ServedPicoDet
from models.training.engine.programs import save_program
from tests.models.nets.checks import GOLDEN
from tests.models.nets.seeded import fill, seeded_images, seeded_state

SIDE = 640


class Leaky(nn.Layer):
    """Leaky ReLU of two plain operators: of Paddle's own, paddle2onnx loses the slope, and its oneDNN engine dies."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.maximum(x, x * 0.01)


def plain(network: nn.Layer) -> nn.Layer:
    """`network` with its LeakyReLUs replaced."""
    for layer in network.sublayers(include_self=True):
        for name, child in layer.named_children():
            if isinstance(child, nn.LeakyReLU):
                setattr(layer, name, Leaky())
    return network


def export(network: nn.Layer, folder: Path, shape: list[int | None]) -> Path:
    """`inference.json` for Paddle, `inference.onnx` for OpenVINO."""
    network.eval()
    spec = paddle.static.InputSpec(shape, "float32", name="x")
    save_program(network, folder / "inference", [spec])
    program, parameters, onnx = (str(folder / f"inference.{end}") for end in ("json", "pdiparams", "onnx"))
    paddle2onnx.export(program, parameters, onnx, opset_version=13, optimize_tool="None")
    return folder


@pytest.mark.parametrize(
    ("make", "golden"),
    [
        (EmbedderV2, "embedder_v2"),
        # The network is held to the same golden in tests/models/nets, its export in tests/models/export, in small.
        pytest.param(EmbedderV1, "embedder_v1", marks=pytest.mark.slow),
    ],
)
def test_both_engines_embed_as_the_official_graph(make: type[nn.Layer], golden: str, tmp_path: Path) -> None:
    stored = np.load(GOLDEN / f"{golden}.npz")
    seed = int(stored["seed"])
    network = fused(make())
    fill(network, seeded_state(network, seed))
    folder = export(network, tmp_path, [None, 3, 224, 224])
    images = seeded_images(seed, count=2, side=224)
    for engine in ("openvino", "paddle"):
        program = load_program(folder, engine=engine)
        (features,) = program.run({"x": images}).values()
        np.testing.assert_allclose(features, stored["features"], rtol=1e-4, atol=1e-4, err_msg=engine)


# The network is held to the same golden in tests/models/nets, both engines to a small one in tests/models/artifacts.
@pytest.mark.slow
def test_both_engines_find_the_boxes_of_the_official_graph(tmp_path: Path) -> None:
    golden = dict(np.load(GOLDEN / "picodet.npz"))
    seed = int(golden["seed"])
    detector = PicoDet(neck_channels=96, neck_kernel=3, head_convs=2, act="leaky_relu")
    fill(detector, seeded_state(detector, seed))
    folder = export(plain(ServedPicoDet(detector)), tmp_path, [1, 3, SIDE, SIDE])
    images = seeded_images(seed, count=1, side=SIDE)
    for engine in ("openvino", "paddle"):
        program = load_program(folder, engine=engine)
        names = [spec.name for spec in program.outputs]
        heads = tuple(Head(names[2 * i], names[2 * i + 1], stride) for i, stride in enumerate(STRIDES))
        boxes, scores = decode_heads(program.run({"x": images}), DetectionOutput(heads, reg_max=7), SIDE, SIDE)
        kept = suppress(boxes, scores, SUPPRESSION_IOU)[:KEPT]
        expected = golden["boxes"]  # (n, 6): class, score, x1, y1, x2, y2
        assert len(kept) == len(expected) > 20, engine
        np.testing.assert_allclose(scores[kept], expected[:, 1], rtol=1e-3, err_msg=engine)
        np.testing.assert_allclose(boxes[kept], expected[:, 2:], atol=0.05, err_msg=engine)
