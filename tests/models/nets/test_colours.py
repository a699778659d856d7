import numpy as np
import paddle
import pytest

from models.nets.colours import BANDS, ColourHistogram, colour_centres
from models.nets.embedding import EmbedderV2
from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD


def test_counts_each_colour_in_its_band() -> None:
    centres = colour_centres()
    image = np.zeros((32, 32, 3), np.float32)
    for band, colour in enumerate((5, 60, 123, 199)):
        image[band * 8 : band * 8 + 8] = centres[colour]
    counts = ColourHistogram()(_network_input(image)).numpy().reshape(len(centres), BANDS).T
    assert counts.argmax(axis=1).tolist() == [5, 60, 123, 199]
    np.testing.assert_allclose((counts**2 - 1e-4).sum(axis=1), 1.0, atol=1e-3)  # fractions of a whole


def test_is_the_softmax_over_distances() -> None:
    rng = np.random.default_rng(0)
    image = np.repeat(np.repeat(rng.random((4, 4, 3), np.float32), 4, axis=0), 4, axis=1)
    centres = (colour_centres() - IMAGENET_MEAN) / IMAGENET_STD
    assignments = np.zeros((BANDS, len(centres)))
    for row in range(4):
        for column in range(4):
            seen = (image[row * 4, column * 4] - IMAGENET_MEAN) / IMAGENET_STD
            closeness = np.exp(-20.0 * ((seen - centres) ** 2).sum(axis=1))
            assignments[row] += closeness / closeness.sum() / 4
    counts = ColourHistogram()(_network_input(image)).numpy().reshape(-1, BANDS).T
    np.testing.assert_allclose(counts, np.sqrt(assignments + 1e-4), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("side", [80, 112, 128])
def test_its_embedder_takes_every_size_that_recipes_train_at(side: int) -> None:
    network = EmbedderV2(0.25, (1, 1, 1, 1), embedding_size=32, colours=True)
    network.eval()
    assert network(paddle.rand([2, 3, side, side])).shape == [2, 32]


def test_the_centres_learn() -> None:
    histogram = ColourHistogram()
    histogram(paddle.rand([2, 3, 32, 32])).sum().backward()
    assert float(paddle.abs(histogram.assign.weight.grad).sum()) > 0


def _network_input(image: np.ndarray) -> paddle.Tensor:
    return paddle.to_tensor(((image - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)[None].astype(np.float32))
