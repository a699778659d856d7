"""Recomputes a network's batch-norm statistics on many pictures, so that it serves as it was trained ("precise BN").

In training each batch is divided by its own deviation. Served, it is divided by a running average's; where a channel
answers to few pictures only, that average can be so small that one of them explodes through the layers: strongly
magenta packages had embeddings a hundred thousand times too long, all of them alike. Statistics over large batches at
the size that is deployed, with the weights held still, have no such holes (Wu and Johnson, "Rethinking Batch in
BatchNorm", arXiv:2105.07576, section 3). Channels that hardly any picture moves even then are silenced: what they would
say of the first picture that does is noise, many times amplified.
"""

import numpy as np
import paddle
from paddle import nn

from models.training.data.augment import augment
from models.training.data.pool import Pool
from models.training.engine.inputs import normalize

PICTURES, BATCH = 2048, 256
QUIET = 0.01  # variance over all pictures below which a channel is silenced; most have 0.1 to 10


def recompute_bn_statistics(network: nn.Layer, pool: Pool, size_px: int, seed: int, pictures: int = PICTURES) -> None:
    """Replace the batch statistics of `network`, in place, by those of `pictures` augmented views of the pool."""
    norms = [layer for layer in network.sublayers() if isinstance(layer, nn.BatchNorm1D | nn.BatchNorm2D)]
    if not norms:
        network.eval()
        return
    _recompute(network, norms, pool, size_px, seed, pictures)
    if _silence(norms):
        _recompute(network, norms, pool, size_px, seed, pictures)  # what follows a silenced channel has changed
    network.eval()


def _silence(norms: list[nn.Layer]) -> int:
    """Give quiet channels the weight 0; returns how many."""
    silenced = 0
    for norm in norms:
        quiet = norm._variance.numpy() < QUIET
        norm.weight.set_value(np.where(quiet, np.float32(0), norm.weight.numpy()))
        silenced += int(quiet.sum())
    return silenced


def _recompute(network: nn.Layer, norms: list[nn.Layer], pool: Pool, size_px: int, seed: int, pictures: int) -> None:
    momenta = [norm._momentum for norm in norms]
    rng = np.random.default_rng([seed, 3])
    chosen = rng.permutation(len(pool.views))[:pictures]
    network.train()
    with paddle.no_grad():
        for number, indices in enumerate(np.array_split(chosen, max(1, len(chosen) // BATCH))):
            for norm in norms:  # running = running * momentum + batch * (1 - momentum): the mean of all batches so far
                norm._momentum = number / (number + 1)
            views = np.stack([augment(pool.views[index], size_px, rng, pool.backgrounds) for index in indices])
            network(paddle.to_tensor(normalize(views)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm._momentum = momentum
