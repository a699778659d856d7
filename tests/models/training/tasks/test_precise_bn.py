"""Recomputed batch statistics: those of many pictures at once, as a slow computation has them."""

import numpy as np
import paddle
from paddle import nn

from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD
from models.pictures.image import normalize as served
from models.training.data.pool import Pool
from models.training.engine.inputs import normalize
from models.training.tasks.precise_bn import recompute_bn_statistics

SIZE = 16


def pool_of(colours: list[int]) -> Pool:
    views = np.full((len(colours), SIZE, SIZE, 4), 255, np.uint8)
    views[..., :3] = np.array(colours, np.uint8)[:, None, None, None]
    empty = np.zeros((len(colours), 0), np.float32)
    zeros = np.zeros(len(colours), np.int64)
    return Pool(
        views, zeros, zeros, empty, empty, np.zeros(len(colours), np.float32), np.zeros((0, SIZE, SIZE, 3), np.uint8)
    )


def test_a_channel_that_few_pictures_move_cannot_explode() -> None:
    paddle.seed(0)
    network = nn.Sequential(nn.Conv2D(3, 4, 1), nn.ReLU(), nn.BatchNorm2D(4), nn.AdaptiveAvgPool2D(1), nn.Flatten())
    norm = network[2]
    norm._variance.set_value(np.full(4, 1e-12, np.float32))  # what a running average can come to
    views = normalize(np.full((2, SIZE, SIZE, 3), 128, np.uint8))
    network.eval()
    assert float(paddle.abs(network(paddle.to_tensor(views))).max()) > 100
    recompute_bn_statistics(network, pool_of(list(range(0, 256, 4))), SIZE, seed=1)
    assert not network.training
    assert norm._momentum == 0.9
    assert float(paddle.abs(network(paddle.to_tensor(views))).max()) < 10


def test_a_channel_that_no_picture_moves_is_silenced() -> None:
    network = nn.Sequential(nn.Conv2D(3, 2, 1, bias_attr=False), nn.BatchNorm2D(2))
    kernel = np.zeros((2, 3, 1, 1), np.float32)
    kernel[0], kernel[1] = 1.0, 1e-4
    network[0].weight.set_value(kernel)
    recompute_bn_statistics(network, pool_of(list(range(0, 256, 4))), SIZE, seed=1)
    assert network[1].weight.numpy().tolist() == [1.0, 0.0]


def test_the_statistics_are_the_mean_over_the_batches() -> None:
    network = nn.Sequential(nn.BatchNorm2D(3))
    before = {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}
    recompute_bn_statistics(network, pool_of([100] * 600), SIZE, seed=1, pictures=600)
    mean, deviation = network[0]._mean.numpy(), np.sqrt(network[0]._variance.numpy())
    expected = normalize(np.full((1, 1, 1, 3), 100, np.uint8)).ravel()
    # Views are re-lit by chance: their mean lies near the picture's own, and they differ.
    np.testing.assert_allclose(mean, expected, atol=0.5)
    assert (deviation > 0.05).all()
    assert (deviation < 1.5).all()
    np.testing.assert_array_equal(network[0].weight.numpy(), before["0.weight"])


def test_batches_are_prepared_as_single_pictures_are_when_served() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), dtype=np.uint8)
    expected = (images / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(normalize(images), expected.transpose(0, 3, 1, 2), atol=1e-5)
    for image, prepared in zip(images, normalize(images), strict=True):
        np.testing.assert_array_equal(prepared, served(image, IMAGENET_MEAN, IMAGENET_STD))
