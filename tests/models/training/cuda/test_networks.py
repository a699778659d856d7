"""The networks in PyTorch answer as those in PaddlePaddle do, with the same weights under the same names."""

import importlib.util

import numpy as np
import paddle
import pytest
from paddle import nn

from models.nets.embedding import EmbedderLite, EmbedderV2

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch, an optional aid of training, is not installed"
)


def make_uneven(network: nn.Layer) -> None:
    """Batch statistics and weights that no default hides."""
    rng = np.random.default_rng(0)
    for name, tensor in network.state_dict().items():
        if name.endswith("_variance") or ("bn" in name and name.endswith("weight")):
            tensor.set_value(rng.uniform(0.5, 1.5, tensor.shape).astype(np.float32))
        elif name.endswith(("_mean", ".bias")):
            tensor.set_value(rng.normal(0, 0.1, tensor.shape).astype(np.float32))


@pytest.mark.parametrize(("kind", "side"), [("lcnet", 64), ("lcnet", 56), ("lite0", 64), ("lite0", 75), ("lite2", 64)])
def test_both_answer_alike(kind: str, side: int) -> None:
    import torch

    from models.training.cuda import networks

    paddle.seed(1)
    ours = EmbedderV2(dropout=0.0) if kind == "lcnet" else EmbedderLite(kind)
    make_uneven(ours)
    ours.eval()
    theirs = networks.EmbedderLCNet() if kind == "lcnet" else networks.EmbedderLite(kind)
    arrays = {name: tensor.numpy() for name, tensor in ours.state_dict().items()}
    networks.load_arrays(theirs, arrays)
    theirs.eval()
    x = np.random.default_rng(1).normal(size=(2, 3, side, side)).astype(np.float32)
    with torch.no_grad():
        found = theirs(torch.from_numpy(x)).numpy()
    expected = ours(paddle.to_tensor(x)).numpy()
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    back = networks.to_arrays(theirs)
    assert all(np.array_equal(back[name], array) for name, array in arrays.items())
    assert set(back) == set(arrays)


def test_weights_of_another_network_are_refused() -> None:
    from models.training.cuda import networks

    arrays = networks.to_arrays(networks.EmbedderLite("lite0"))
    with pytest.raises(ValueError, match="another network"):
        networks.load_arrays(networks.EmbedderLCNet(), arrays)
    with pytest.raises(ValueError, match="more than it has"):
        networks.load_arrays(networks.EmbedderLite("lite0"), arrays | {"more": np.zeros(1, np.float32)})


def test_the_mean_over_places_is_the_embedding() -> None:
    import torch

    from models.training.cuda import networks

    network = networks.EmbedderLite("lite0").eval()
    with torch.no_grad():
        maps = network.backbone(torch.randn(2, 3, 64, 64))
        assert torch.allclose(network.places(maps).mean((2, 3)), network.pool(maps), atol=1e-5)
