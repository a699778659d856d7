import paddle
import pytest

from models.nets.lcnet import LCNetStages, PPLCNet, scaled_channels
from tests.models.nets.checks import assert_batch_equals_singles, parameter_count, parameters_without_gradient
from tests.models.nets.seeded import fill, seeded_images, seeded_state

PUBLISHED_MILLIONS = {0.25: 1.5, 0.35: 1.6, 0.5: 1.9, 0.75: 2.4, 1.0: 3.0, 1.5: 4.5, 2.0: 6.5, 2.5: 9.0}


@pytest.mark.parametrize(("scale", "millions"), PUBLISHED_MILLIONS.items())
def test_every_published_width_has_its_published_size(scale: float, millions: float) -> None:
    assert parameter_count(PPLCNet(scale)) / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize(
    ("channels", "scale", "expected"), [(16, 0.25, 8), (16, 0.35, 8), (64, 0.35, 24), (128, 0.35, 48), (16, 2.5, 40)]
)
def test_channels_are_multiples_of_8_and_hardly_fewer(channels: int, scale: float, expected: int) -> None:
    assert scaled_channels(channels, scale) == expected


def test_feature_maps_are_at_strides_8_16_and_32() -> None:
    stages = LCNetStages(0.5)
    stages.eval()
    maps = stages(paddle.zeros([1, 3, 64, 96]))
    assert [tuple(x.shape) for x in maps] == [(1, 64, 8, 12), (1, 128, 4, 6), (1, 256, 2, 3)]
    assert stages.out_channels == (64, 128, 256)


@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_gradient_reaches_every_parameter() -> None:
    network = PPLCNet(0.25, class_num=10)
    logits = network(paddle.to_tensor(seeded_images(0, count=4, side=64)))
    assert tuple(logits.shape) == (4, 10)
    assert parameters_without_gradient(network, logits.square().sum()) == []


def test_a_batch_answers_as_its_pictures_one_by_one() -> None:
    network = PPLCNet(0.25, class_num=10)
    fill(network, seeded_state(network, seed=3))
    assert_batch_equals_singles(network, seeded_images(0, count=3, side=64))
