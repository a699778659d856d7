"""A network cut after one of its layers."""

from collections.abc import Callable

import numpy as np
import paddle
import pytest
from paddle import nn

from models.nets.lcnet import PPLCNet
from models.nets.lcnetv2 import PPLCNetV2
from models.nets.stop_layer import StopLayerError, stop_after
from tests.models.nets.seeded import seeded_images

DEPTHS = (1, 1, 1, 1)


def outputs(network: nn.Layer, name: str) -> np.ndarray:
    """What the layer `name` gives while the whole network works."""
    kept: list[np.ndarray] = []
    hook = getattr(network, name).register_forward_post_hook(lambda _l, _i, output: kept.append(output.numpy()))
    network.eval()
    network(paddle.to_tensor(seeded_images(0, count=2, side=64)))
    hook.remove()
    return kept[0]


@pytest.mark.parametrize("name", ["avg_pool", "last_conv", "flatten"])
@pytest.mark.parametrize("make", [lambda: PPLCNetV2(0.25, DEPTHS, class_num=7), lambda: PPLCNet(0.25, class_num=7)])
def test_the_named_layers_output_is_the_networks(make: type[nn.Layer], name: str) -> None:
    network = make()
    expected = outputs(network, name)
    kept = dict(network.state_dict())
    assert stop_after(network, name) == expected.shape[1]
    assert network.training is False
    got = network(paddle.to_tensor(seeded_images(0, count=2, side=64)))
    np.testing.assert_array_equal(got.flatten(1).numpy(), expected.reshape(2, -1))
    left = set(network.state_dict())
    assert left < set(kept)
    assert "fc.weight" not in left
    assert ("last_conv.weight" in left) == (name != "avg_pool")


def test_a_network_in_training_stays_so_and_its_statistics_too() -> None:
    network = PPLCNetV2(0.25, DEPTHS, class_num=None)
    network.train()
    before = network.stem[0].bn._mean.numpy().copy()
    stop_after(network, "flatten")
    assert network.training
    np.testing.assert_array_equal(network.stem[0].bn._mean.numpy(), before)


class After(nn.Layer):
    """Adds to a layer's output what follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.conv = nn.Conv2D(3, 3, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.pool(x)
        return x + self.conv(x)


def small() -> nn.Layer:
    return PPLCNetV2(0.25, DEPTHS)


@pytest.mark.parametrize(
    ("make", "name", "message"),
    [
        (
            small,
            "neck",
            "PPLCNetV2 has no layer 'neck'; it has stem, stages, avg_pool, last_conv, act",
        ),
        (small, "stem", r"'stem' of PPLCNetV2 gives a map of \[1, 16, 32, 32\]; .* after pooling"),
        (small, "stages", "'stages' of PPLCNetV2 works 0 times on a picture"),
        (After, "pool", "After can't be cut after 'pool'"),
    ],
)
def test_where_there_are_no_features_is_reported(make: Callable[[], nn.Layer], name: str, message: str) -> None:
    with pytest.raises(StopLayerError, match=message):
        stop_after(make(), name)
