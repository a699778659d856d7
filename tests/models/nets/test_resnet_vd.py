import numpy as np
import paddle
import pytest

from models.nets.resnet_vd import ResNet50_vd, Shortcut
from tests.models.nets.checks import assert_batch_equals_singles, parameters_without_gradient
from tests.models.nets.seeded import fill, seeded_images, seeded_state

PUBLISHED_MILLIONS = 25.58


@pytest.fixture(scope="module")
def resnet50() -> ResNet50_vd:
    return ResNet50_vd()


def test_it_has_the_published_number_of_parameters(resnet50: ResNet50_vd) -> None:
    learnt = sum(parameter.size for parameter in resnet50.parameters() if not parameter.stop_gradient)
    assert learnt / 1e6 == pytest.approx(PUBLISHED_MILLIONS, abs=0.02)


def test_layers_bear_the_official_names(resnet50: ResNet50_vd) -> None:
    shapes = {name: tuple(value.shape) for name, value in resnet50.state_dict().items()}
    assert shapes["stem.0.conv.weight"] == (32, 3, 3, 3)
    assert shapes["stem.2.bn._variance"] == (64,)
    assert shapes["blocks.0.short.conv.weight"] == (256, 64, 1, 1)
    assert shapes["blocks.3.conv1.conv.weight"] == (128, 128, 3, 3)
    assert shapes["blocks.13.short.bn.weight"] == (2048,)
    assert shapes["blocks.15.conv2.conv.weight"] == (2048, 512, 1, 1)
    assert shapes["fc.weight"] == (2048, 1000)
    # A weight and four vectors of its batch norm for each convolution (3 + 16 x 3 + 4 shortcuts), and the last layer.
    assert len(shapes) == 5 * 55 + 2


def test_a_shortcut_averages_before_its_convolution_also_at_an_odd_edge() -> None:
    shortcut = Shortcut(3, 4, halves=True)
    shortcut.eval()
    image = seeded_images(0, count=1, side=64)[:, :, :5, :5]
    pooled = np.stack(
        [
            [image[0, :, y : y + 2, x : x + 2].reshape(3, -1).mean(1) for x in (0, 2, 4)]  # (3, 3 channels)
            for y in (0, 2, 4)
        ]
    )
    weight = shortcut.conv.weight.numpy()[:, :, 0, 0]  # (4, 3)
    expected = (pooled @ weight.T).transpose(2, 0, 1) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(shortcut(paddle.to_tensor(image)).numpy()[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_gradient_reaches_every_parameter() -> None:
    network = ResNet50_vd(class_num=10, depths=(1, 2, 1, 1))
    logits = network(paddle.to_tensor(seeded_images(0, count=4, side=64)))
    assert tuple(logits.shape) == (4, 10)
    assert parameters_without_gradient(network, logits.square().sum()) == []


def test_a_batch_answers_as_its_pictures_one_by_one_and_features_are_2048() -> None:
    network = ResNet50_vd(class_num=None, depths=(1, 2, 1, 1))
    fill(network, seeded_state(network, seed=3))
    images = seeded_images(0, count=3, side=64)
    assert_batch_equals_singles(network, images)
    assert tuple(network(paddle.to_tensor(images)).shape) == (3, 2048)
