from collections.abc import Callable

import numpy as np
import paddle
import pytest
from paddle import nn

from models.nets.embedding import EmbedderV1, EmbedderV2
from models.nets.lcnetv2 import fused
from tests.models.nets.checks import (
    GOLDEN,
    assert_batch_equals_singles,
    digest,
    official_digest,
    parameter_count,
    parameters_without_gradient,
)
from tests.models.nets.seeded import fill, seeded_images, seeded_state


@pytest.mark.parametrize(("make", "golden"), [(EmbedderV2, "embedder_v2"), (EmbedderV1, "embedder_v1")])
def test_answers_as_the_official_graph(make: type[nn.Layer], golden: str) -> None:
    stored = np.load(GOLDEN / f"{golden}.npz")
    seed = int(stored["seed"])
    network = fused(make())
    fill(network, seeded_state(network, seed))
    features = network(paddle.to_tensor(seeded_images(seed, count=2, side=224))).numpy()
    assert features.shape == (2, 512)
    np.testing.assert_allclose(features, stored["features"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [EmbedderV2, EmbedderV1])
def test_has_the_official_names_and_shapes(make: type[nn.Layer]) -> None:
    assert digest(make()) == official_digest(make.__name__)


@pytest.mark.parametrize(("make", "count"), [(EmbedderV2, 4_575_616), (EmbedderV1, 8_419_792)])
def test_has_the_official_size_when_served(make: type[nn.Layer], count: int) -> None:
    assert parameter_count(fused(make())) == count


@pytest.mark.parametrize(
    "make", [lambda: EmbedderV2(0.5, (1, 1, 2, 1), embedding_size=128), lambda: EmbedderV1(0.25, 128)]
)
@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_narrow_ones_train(make: Callable[[], nn.Layer]) -> None:
    network = make()
    network.train()
    features = network(paddle.to_tensor(seeded_images(0, count=4, side=64)))
    assert tuple(features.shape) == (4, 128)
    target = paddle.to_tensor(np.random.RandomState(0).standard_normal((4, 128)).astype(np.float32))
    assert parameters_without_gradient(network, (features * target).sum()) == []


@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_the_neck_learns_its_scale_and_keeps_its_shift() -> None:
    network = EmbedderV2(0.25, (1, 1, 1, 1), embedding_size=16)
    network.train()
    optimizer = paddle.optimizer.Momentum(0.1, parameters=network.parameters())
    target = paddle.to_tensor(np.random.RandomState(0).standard_normal((4, 16)).astype(np.float32))
    (network(paddle.to_tensor(seeded_images(0, count=4, side=64))) * target).sum().backward()
    optimizer.step()
    assert np.abs(network.neck.feat_bn.weight.numpy() - 1).max() > 1e-3
    assert np.abs(network.neck.feat_bn.bias.numpy()).max() < 1e-12


@pytest.mark.parametrize("make", [EmbedderV2, EmbedderV1])
def test_a_batch_answers_as_its_pictures_one_by_one(make: type[nn.Layer]) -> None:
    network = make(0.25)
    fill(network, seeded_state(network, seed=3))
    assert_batch_equals_singles(network, seeded_images(0, count=3, side=64))
