from collections.abc import Callable

import numpy as np
import paddle
import pytest
from paddle import nn

from models.nets.embedding import EmbedderV2
from models.nets.lcnetv2 import DEPTHS_BASE, DEPTHS_LARGE, DEPTHS_SMALL, PPLCNetV2, fused
from tests.models.nets.checks import (
    assert_batch_equals_singles,
    digest,
    official_digest,
    parameter_count,
    parameters_without_gradient,
)
from tests.models.nets.seeded import fill, seeded_images, seeded_state


def test_base_has_the_official_names_and_shapes() -> None:
    assert digest(PPLCNetV2()) == official_digest("PPLCNetV2_base")


def test_base_has_6_64_million_parameters_when_served() -> None:
    assert parameter_count(fused(PPLCNetV2())) == 6_640_488


@pytest.mark.parametrize(
    ("width", "depths"), [(0.75, DEPTHS_SMALL), (1.25, DEPTHS_LARGE), (0.5, DEPTHS_BASE), (0.25, (1, 1, 2, 1))]
)
def test_other_widths_and_depths_build(width: float, depths: tuple[int, ...]) -> None:
    network = PPLCNetV2(width, depths, class_num=7)
    network.eval()
    assert tuple(network(paddle.zeros([1, 3, 64, 64])).shape) == (1, 7)
    assert [len(stage) for stage in network.stages] == list(depths)


def test_depths_of_another_number_of_stages_are_refused() -> None:
    with pytest.raises(ValueError, match="4 stages"):
        PPLCNetV2(1.0, (2, 2))


@pytest.mark.parametrize("make", [lambda: PPLCNetV2(0.5, class_num=9), lambda: EmbedderV2(0.5)])
def test_fused_answers_as_unfused(make: Callable[[], nn.Layer]) -> None:
    network = make()
    fill(network, seeded_state(network, seed=5))
    network.eval()
    images = paddle.to_tensor(seeded_images(0, count=2, side=96))
    served = fused(network)
    assert not [name for name in served.state_dict() if "dw_conv_list" in name]
    expected = network(images).numpy()
    np.testing.assert_allclose(served(images).numpy(), expected, atol=1e-5 * np.abs(expected).max())


def test_fusing_leaves_the_trained_network_as_it_was() -> None:
    network = PPLCNetV2(0.25, class_num=9)
    fill(network, seeded_state(network, seed=5))
    before = {name: value.numpy().copy() for name, value in network.state_dict().items()}
    network.train()
    served = fused(network)
    assert network.training
    assert not served.training
    after = network.state_dict()
    assert list(after) == list(before)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name].numpy(), value, err_msg=name)


@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_gradient_reaches_every_parameter_that_learns() -> None:
    network = PPLCNetV2(0.25, class_num=10)
    logits = network(paddle.to_tensor(seeded_images(0, count=4, side=64)))
    assert parameters_without_gradient(network, logits.square().sum()) == []
    frozen = [name for name, parameter in network.named_parameters() if parameter.stop_gradient]
    assert {name.rpartition(".")[2] for name in frozen} == {"_mean", "_variance", "weight", "bias"}
    # Only the merged filters, which `fused` computes, do not learn.
    assert all(".dw_conv." in name for name in frozen if name.endswith(("weight", "bias")))


def test_a_batch_answers_as_its_pictures_one_by_one() -> None:
    network = PPLCNetV2(0.25, class_num=10)
    fill(network, seeded_state(network, seed=3))
    assert_batch_equals_singles(network, seeded_images(0, count=3, side=64))
