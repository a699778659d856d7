"""The weights of an exported PicoDet of COCO, put back into one to train: equal answers, one foreground, other files refused."""

from pathlib import Path

import numpy as np
import onnx
import paddle
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from models.errors import ArtifactError
from models.nets.picodet import PicoDet
from models.training.networks import coco_weights
from models.training.networks.coco_weights import convolution_names, load_coco_weights, merged
from models.training.networks.exported_weights import Folded, read_convolutions
from models.training.teachers.pseudo_boxes import NO_BODIES

PHOTOS = np.random.default_rng(1).normal(size=(2, 3, 64, 64)).astype(np.float32)


def detector(classes: int = 80) -> PicoDet:
    return PicoDet(0.75, neck_channels=96, neck_kernel=5, head_convs=2, num_classes=classes, body="esnet")


@pytest.fixture(scope="module")
def stored() -> list[Folded]:
    """Random folded convolutions, in the order of the export."""
    network, rng = detector(), np.random.default_rng(2)
    layers = dict(network.named_sublayers())
    shapes = [tuple(layers[name].weight.shape) for name in convolution_names(network)]
    return [
        Folded(
            (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32),
            rng.normal(0, 0.1, shape[0]).astype(np.float32),
        )
        for shape in shapes
    ]


@pytest.fixture(scope="module")
def export(stored: list[Folded], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file with them; every second bias is added by a node of its own, as converters do for some."""
    nodes, arrays = [], []
    for number, own in enumerate(stored):
        arrays.append(numpy_helper.from_array(own.weight, f"w{number}"))
        inputs = ["x", f"w{number}"]
        if number % 2:
            arrays.append(numpy_helper.from_array(own.bias, f"flat{number}"))
            nodes += [helper.make_node("Reshape", [f"flat{number}", "shape"], [f"b{number}"])]
            nodes += [helper.make_node("Conv", inputs, [f"c{number}"])]
            nodes += [helper.make_node("Add", [f"c{number}", f"b{number}"], [f"y{number}"])]
        else:
            constant = numpy_helper.from_array(own.bias)
            nodes += [helper.make_node("Constant", [], [f"b{number}"], value=constant)]
            nodes += [helper.make_node("Conv", [*inputs, f"b{number}"], [f"y{number}"])]
    path = tmp_path_factory.mktemp("export") / "picodet.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "picodet", [], [], arrays)), path)
    return path


def answers(network: PicoDet) -> list[NDArray[np.float32]]:
    network.eval()
    with paddle.no_grad():
        return [part.numpy() for level in network(paddle.to_tensor(PHOTOS)) for part in level]


def test_the_file_gives_each_weight_with_its_bias(export: Path, stored: list[Folded]) -> None:
    for read, own in zip(read_convolutions(export), stored, strict=True):
        np.testing.assert_array_equal(read.weight, own.weight)
        np.testing.assert_array_equal(read.bias, own.bias)


def test_settling_the_norms_changes_no_answer(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled, plain = detector(), detector()
    load_coco_weights(settled, export, PHOTOS)
    monkeypatch.setattr(coco_weights, "recompute_norms", lambda *_: None)
    load_coco_weights(plain, export, PHOTOS)
    for own, other in zip(answers(settled), answers(plain), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-3, atol=1e-3 * max(1.0, float(np.abs(other).max())))
    means = settled.backbone.stem.bn._mean.numpy()
    assert np.abs(means - plain.backbone.stem.bn._mean.numpy()).max() > 1e-3


def test_a_plain_norm_adds_the_folded_bias(export: Path, stored: list[Folded], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_weights, "recompute_norms", lambda *_: None)
    network = detector()
    load_coco_weights(network, export, PHOTOS)
    network.eval()
    stem = network.backbone.stem
    given = stem.conv(paddle.to_tensor(PHOTOS))
    expected = given.numpy() + stored[0].bias.reshape(1, -1, 1, 1)
    np.testing.assert_allclose(stem.bn(given).numpy(), expected, atol=1e-5)


def test_the_foreground_is_the_mean_of_the_classes_that_are_bodies(stored: list[Folded]) -> None:
    head = stored[-1]
    one = merged(head, 1)
    bodies = [kind for kind in range(80) if kind not in NO_BODIES]
    np.testing.assert_allclose(one.weight[0], head.weight[bodies].mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(one.weight[1:], head.weight[80:])
    assert one.bias.shape == (33,)


def test_another_network_is_refused(export: Path, tmp_path: Path) -> None:
    small = PicoDet(0.5, neck_channels=64, neck_kernel=3, head_convs=2)
    with pytest.raises(ArtifactError, match="convolutions"):
        load_coco_weights(small, export, PHOTOS)
    narrow = PicoDet(0.75, neck_channels=64, neck_kernel=5, head_convs=2, body="esnet")
    with pytest.raises(ArtifactError, match="has"):
        load_coco_weights(narrow, export, PHOTOS)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08no network")
    with pytest.raises(ArtifactError):
        load_coco_weights(detector(), broken, PHOTOS)
