import numpy as np
import paddle
import pytest

from models.nets.names import STRIDES
from models.nets.picodet import PicoDet, ServedPicoDet, upsample_x2
from tests.models.nets.checks import (
    GOLDEN,
    assert_batch_equals_singles,
    digest,
    official_digest,
    parameter_count,
    parameters_without_gradient,
)
from tests.models.nets.decoding import Array, decode, suppress
from tests.models.nets.seeded import fill, seeded_images, seeded_state


@pytest.fixture(scope="module")
def golden() -> dict[str, Array]:
    return dict(np.load(GOLDEN / "picodet.npz"))


@pytest.fixture(scope="module")
def served(golden: dict[str, Array]) -> list[Array]:
    """The outputs of our network as the official export has it, on the golden's parameters and picture."""
    detector = PicoDet(neck_channels=96, neck_kernel=3, head_convs=2, act="leaky_relu")
    seed = int(golden["seed"])
    fill(detector, seeded_state(detector, seed))
    images = paddle.to_tensor(seeded_images(seed, count=1, side=640))
    return [output.numpy() for output in ServedPicoDet(detector)(images)]


@pytest.mark.parametrize("level", range(4))
def test_heads_answer_as_the_official_graph(level: int, golden: dict[str, Array], served: list[Array]) -> None:
    stride = STRIDES[level]
    scores, bins = served[2 * level], served[2 * level + 1]
    side = 640 // stride
    assert scores.shape == (1, 1, side, side)
    assert bins.shape == (1, 32, side, side)
    expected = golden[f"scores_{stride}"]
    np.testing.assert_allclose(scores.reshape(-1)[: len(expected)], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bins.reshape(-1)[golden[f"picked_{stride}"]], golden[f"bins_{stride}"], atol=1e-4)


def test_boxes_are_those_of_the_official_graph(golden: dict[str, Array], served: list[Array]) -> None:
    expected = golden["boxes"]  # (n, 6): class, score, x1, y1, x2, y2
    candidates = decode(served[0::2], served[1::2], STRIDES, 640)
    assert 20 < len(expected) < (candidates[:, 0] > 0.025).sum()  # the suppression has something to do
    boxes = suppress(candidates)
    assert boxes.shape == (len(expected), 5)
    np.testing.assert_allclose(boxes[:, 0], expected[:, 1], rtol=1e-4)
    np.testing.assert_allclose(boxes[:, 1:], expected[:, 2:], rtol=1e-4, atol=1e-3)


def test_has_the_official_names_and_shapes() -> None:
    assert digest(PicoDet()) == official_digest("PicoDet")


def test_has_the_official_sizes() -> None:
    assert parameter_count(PicoDet()) / 1e6 == pytest.approx(7.09, abs=0.005)
    exported = PicoDet(neck_channels=96, neck_kernel=3, head_convs=2, act="leaky_relu")
    # The export lacks the four unused scale factors.
    assert parameter_count(exported) - 4 == 6_633_116


def test_upsampling_repeats_every_row_and_column() -> None:
    x = np.random.RandomState(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(upsample_x2(paddle.to_tensor(x)).numpy(), x.repeat(2, axis=2).repeat(2, axis=3))


@pytest.mark.filterwarnings("ignore:When training, we now always track")
def test_a_narrow_one_trains() -> None:
    network = PicoDet(0.5, neck_channels=48, neck_kernel=3, head_convs=2)
    network.train()
    levels = network(paddle.to_tensor(seeded_images(0, count=2, side=128)))
    assert [tuple(level.class_logits.shape) for level in levels] == [(2, 1, s, s) for s in (16, 8, 4, 2)]
    assert [tuple(level.distance_logits.shape) for level in levels] == [(2, 32, s, s) for s in (16, 8, 4, 2)]
    loss = sum(level.class_logits.square().mean() + level.distance_logits.square().mean() for level in levels)
    assert parameters_without_gradient(network, loss) == []


def test_cells_start_as_background() -> None:
    network = PicoDet(0.25, neck_channels=32, head_convs=1)
    network.eval()
    scores = ServedPicoDet(network)(paddle.zeros([1, 3, 64, 64]))[0::2]
    assert [float(score.max()) for score in scores] == pytest.approx([0.01] * 4, abs=0.005)


def test_a_distance_is_the_expectation_over_its_bins() -> None:
    network = PicoDet(0.25, neck_channels=32, head_convs=1)
    logits = np.full((1, 4, 8), -50.0, np.float32)
    logits[0, 0, 3] = logits[0, 1, 0] = logits[0, 2, 7] = logits[0, 3, 4] = logits[0, 3, 5] = 50.0
    distances = network.head.distribution_project(paddle.to_tensor(logits.reshape(1, 32)))
    np.testing.assert_allclose(distances.numpy(), [[3.0, 0.0, 7.0, 4.5]], atol=1e-5)


def test_a_batch_answers_as_its_pictures_one_by_one() -> None:
    network = PicoDet(0.25, neck_channels=32, neck_kernel=3, head_convs=1)
    fill(network, seeded_state(network, seed=3))
    assert_batch_equals_singles(network, seeded_images(0, count=3, side=128))
