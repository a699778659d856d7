"""What holds for every network: names and shapes, parameter counts, gradients, batches."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

GOLDEN = Path(__file__).parents[2] / "golden" / "nets"


def parameter_count(network: nn.Layer) -> int:
    """Values in the state, batch-norm statistics included, as the published sizes count them."""
    return sum(int(np.prod(value.shape)) for value in network.state_dict().values())


def digest(network: nn.Layer) -> tuple[int, str]:
    """How many entries the state has, and the SHA-256 of its sorted lines `name shape`."""
    lines = sorted(f"{name} {'x'.join(map(str, value.shape))}" for name, value in network.state_dict().items())
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()


def official_digest(network: str) -> tuple[int, str]:
    """The same of the official training weights."""
    for line in (GOLDEN / "state_dicts.tsv").read_text().splitlines()[1:]:
        name, entries, sha256 = line.split("\t")
        if name == network:
            return int(entries), sha256
    raise KeyError(network)


def parameters_without_gradient(network: nn.Layer, loss: paddle.Tensor) -> list[str]:
    """Trainable parameters that `loss` does not move."""
    loss.backward()
    return [
        name
        for name, parameter in network.named_parameters()
        if not parameter.stop_gradient and (parameter.grad is None or not np.abs(parameter.grad.numpy()).max() > 0)
    ]


def flat(outputs: paddle.Tensor | Sequence[object]) -> list[paddle.Tensor]:
    if isinstance(outputs, paddle.Tensor):
        return [outputs]
    return [tensor for output in outputs for tensor in flat(output)]


def assert_batch_equals_singles(network: nn.Layer, images: np.ndarray) -> None:
    network.eval()
    together = flat(network(paddle.to_tensor(images)))
    apart = [flat(network(paddle.to_tensor(image[None]))) for image in images]
    for i, batch in enumerate(together):
        np.testing.assert_allclose(
            batch.numpy(), np.concatenate([single[i].numpy() for single in apart]), rtol=1e-4, atol=1e-5
        )
