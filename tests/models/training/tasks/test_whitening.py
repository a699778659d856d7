"""The last map of an embedder: fitted to the pool, served, and left out in training."""

import numpy as np
import paddle
import pytest

from models.nets.embedding import EmbedderV2
from models.training.data.pool import Pool, load_pool
from models.training.engine.inputs import normalize
from models.training.errors import TrainingError
from models.training.tasks.whitening import whiten
from tests.models.training.tiny import Run


@pytest.fixture(scope="module")
def pool(tiny_run: Run) -> Pool:
    return load_pool(tiny_run.folder / "pool")


def embedder(*, whitened: bool) -> EmbedderV2:
    paddle.seed(3)
    return EmbedderV2(0.25, (1, 1, 1, 1), embedding_size=16, dropout=0.0, whitened=whitened)


def test_it_starts_as_no_change_and_learns_nothing(pool: Pool) -> None:
    plain, whitened = embedder(whitened=False), embedder(whitened=True)
    x = paddle.to_tensor(normalize(np.ascontiguousarray(pool.views[:6, :32, :32, :3])))
    for training in (True, False):
        for network in (plain, whitened):
            network.train() if training else network.eval()
        np.testing.assert_allclose(plain(x).numpy(), whitened(x).numpy(), rtol=1e-5, atol=1e-6)
    whitened.train()
    whitened(x).sum().backward()
    assert all(parameter.grad is None for parameter in whitened.whitening.parameters())


def test_directions_are_independent_and_their_spread_is_halved_in_the_log(pool: Pool) -> None:
    network = embedder(whitened=True)
    network.eval()
    x = paddle.to_tensor(normalize(np.ascontiguousarray(pool.views[:, :32, :32, :3])))
    before = network(x).numpy()
    whiten(network, pool, 32, seed=1, pictures=64)
    after = network(x).numpy()
    # A linear map of what it was before.
    mapped = before @ network.whitening.weight.numpy() + network.whitening.bias.numpy()
    np.testing.assert_allclose(after, mapped, rtol=1e-3, atol=1e-4)
    spread = [np.linalg.eigvalsh(np.cov(rows.T)) for rows in (before, after)]
    ranges = [np.log(values[-1] / np.median(values)) for values in spread]
    assert ranges[1] < 0.75 * ranges[0]


def test_a_network_without_the_map_is_refused(pool: Pool) -> None:
    with pytest.raises(TrainingError, match="no whitening"):
        whiten(embedder(whitened=False), pool, 32, seed=1)
