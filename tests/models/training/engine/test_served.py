"""A network in training answers through its exported program as it does eagerly."""

import numpy as np
import paddle
import pytest

from models.nets.embedding import EmbedderV2
from models.nets.picodet import PicoDet, ServedPicoDet
from models.training.engine.cpu_convolution import accelerate
from models.training.engine.inputs import square_input
from models.training.engine.programs import answers
from models.training.engine.served import WORTH_A_PROGRAM, as_served


@pytest.mark.parametrize("pictures", [WORTH_A_PROGRAM - 1, WORTH_A_PROGRAM])
def test_an_embedder_answers_as_it_does_eagerly(pictures: int) -> None:
    paddle.seed(1)
    network = EmbedderV2(0.25, (1, 1, 1, 1), embedding_size=16, colours=True)
    accelerate(network, 1)
    pixels = np.random.default_rng(1).normal(size=(3, 3, 32, 32)).astype(np.float32)
    network.train()
    network(paddle.to_tensor(pixels))  # batch statistics of its own
    answer = as_served(network, square_input("x", 32), pictures)
    network.eval()
    (expected,) = answers(network, pixels)
    (got,) = answer(pixels)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    (one,) = answer(pixels[:1])
    np.testing.assert_allclose(one, expected[:1], atol=1e-5)
    for parameter in network.parameters():
        parameter.set_value(paddle.zeros_like(parameter))
    np.testing.assert_array_equal(answer(pixels)[0], got)  # it keeps the weights that it was made of


def test_a_detector_answers_as_it_does_eagerly() -> None:
    paddle.seed(1)
    network = PicoDet(0.25, neck_channels=16, head_convs=1)
    accelerate(network, 1)
    pixels = np.random.default_rng(1).normal(size=(1, 3, 64, 64)).astype(np.float32)
    answer = as_served(ServedPicoDet(network), square_input("image", 64), WORTH_A_PROGRAM, batched=False)
    network.eval()
    expected = answers(ServedPicoDet(network), pixels)
    got = answer(pixels)
    assert [output.shape for output in got] == [output.shape for output in expected]
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
