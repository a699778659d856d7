from pathlib import Path

import numpy as np
import paddle
import pytest

from models.engines.loader import load_program
from models.nets.efficientnet_lite import (
    FEATURES,
    SIZES_PX,
    EfficientNetLite,
    fold_norms,
    load_pretrained,
    norm_to_conv,
)
from models.nets.embedding import EmbedderLite
from models.nets.pdparams import ParameterError
from models.training.engine.inputs import square_input
from models.training.engine.programs import write_programs
from tests.models.nets.seeded import fill, seeded_images, seeded_state

GOLDEN = Path(__file__).parents[2] / "golden" / "nets"
THEIRS = {"_mean": "running_mean", "_variance": "running_var"}


def published(network: EfficientNetLite, seed: int = 1) -> dict[str, np.ndarray]:
    """Weights under the published names, with what else the published files hold."""
    state = seeded_state(network, seed)
    named = {".".join(THEIRS.get(part, part) for part in name.split(".")): array for name, array in state.items()}
    return {**named, "_fc.weight": np.zeros((1000, FEATURES)), "_bn0.num_batches_tracked": np.array(7)}


def features(network: EfficientNetLite, pixels: np.ndarray) -> np.ndarray:
    network.eval()
    with paddle.no_grad():
        return network(paddle.to_tensor(pixels)).numpy()


@pytest.mark.parametrize("kind", ["lite0", "lite2"])
def test_features_are_those_of_the_published_loader(kind: str) -> None:
    side = SIZES_PX[kind]  # 260 is odd at some stages, where "SAME" pads both sides alike
    images = seeded_images(1, count=2, side=side // 32 * 32)
    pixels = np.zeros((2, 3, side, side), np.float32)
    pixels[:, :, : images.shape[2], : images.shape[3]] = images
    with np.load(GOLDEN / f"efficientnet_{kind}.npz") as golden:
        expected = golden["features"]
    plain, fused = EfficientNetLite(kind), EfficientNetLite(kind, fused=True)
    load_pretrained(plain, published(plain))
    load_pretrained(fused, published(plain))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(features(plain, pixels), expected, atol=1e-4 * scale)
    np.testing.assert_allclose(features(fused, pixels), expected, atol=1e-4 * scale)


def test_a_fused_network_has_no_norms_and_biases_instead() -> None:
    plain, fused = seeded_state(EfficientNetLite(), 1), EfficientNetLite(fused=True).state_dict()
    folded = fold_norms(plain)
    assert set(folded) == set(fused)
    assert "_blocks.3._depthwise_conv.bias" in folded
    assert not any("_bn" in name for name in fused)


def test_weights_of_another_network_are_refused_and_change_nothing() -> None:
    network = EfficientNetLite("lite0")
    before = network._conv_head.weight.numpy().copy()
    with pytest.raises(ParameterError, match="another network's"):
        load_pretrained(network, published(EfficientNetLite("lite2")))
    np.testing.assert_array_equal(network._conv_head.weight.numpy(), before)


def test_each_norm_follows_its_convolution() -> None:
    assert norm_to_conv("_bn1") == "_conv_head"
    assert norm_to_conv("_blocks.5._bn1") == "_blocks.5._depthwise_conv"
    with pytest.raises(ParameterError):
        norm_to_conv("_blocks.5._bn9")


def test_any_size_goes_in_and_a_batch_is_its_pictures() -> None:
    network = EmbedderLite("lite0", 16)
    fill(network, seeded_state(network, 2))
    network.eval()
    pixels = seeded_images(3, count=2, side=96)
    with paddle.no_grad():
        both = network(paddle.to_tensor(pixels)).numpy()
        each = [network(paddle.to_tensor(one[None])).numpy()[0] for one in pixels]
        odd = network(paddle.to_tensor(pixels[:, :, :75, :51])).numpy()
    assert both.shape == odd.shape == (2, 16)
    np.testing.assert_allclose(both, each, atol=1e-4 * np.abs(both).max())


@pytest.mark.parametrize("side", [64, 75])
def test_its_programs_answer_as_it_does(tmp_path: Path, side: int) -> None:
    """Strides pad on one side: OpenVINO once read unset memory there, and every run gave another answer."""
    network = EmbedderLite("lite0", 16)
    fill(network, seeded_state(network, 2))
    network.eval()
    pixels = np.random.default_rng(0).normal(size=(2, 3, side, side)).astype(np.float32)
    with paddle.no_grad():
        expected = network(paddle.to_tensor(pixels)).numpy()
    made = write_programs(network, square_input("x", side), tmp_path, ["paddle", "onnx"], batched=True)
    for engine, form in (("paddle", "paddle"), ("openvino", "onnx")):
        program = load_program(made[form], engine=engine)
        answer = program.run({"x": pixels})[program.outputs[0].name]
        np.testing.assert_allclose(answer, expected, atol=1e-4 * np.abs(expected).max(), err_msg=engine)
