"""Evens out the directions of an embedding, so that what most pictures share does not outweigh what distinguishes them.

The embeddings of many augmented views are decorrelated and their spread is halved in the log, as the teacher's are: full
whitening would lift noise. A linear map does it, so it is served as the embedder's last layer (Jegou and Chum, "Negative
evidences and co-occurrences in image retrieval", ECCV 2012).
"""

import numpy as np
import paddle

from models.nets.embedding import EmbedderV2
from models.training.data.augment import augment
from models.training.data.pool import Pool
from models.training.engine.inputs import normalize
from models.training.errors import TrainingError
from models.training.tasks.precise_bn import BATCH, PICTURES
from models.training.teachers.features import Whitening


def whiten(network: EmbedderV2, pool: Pool, size_px: int, seed: int, pictures: int = PICTURES) -> None:
    """Fit the last map of `network`, in place, to `pictures` augmented views of the pool. Leaves it in evaluation mode."""
    if network.whitening is None:
        raise TrainingError("the network has no whitening map")
    size = network.whitening.weight.shape[0]
    network.whitening.weight.set_value(paddle.eye(size))
    network.whitening.bias.set_value(paddle.zeros([size]))
    network.eval()
    rng = np.random.default_rng([seed, 4])
    chosen = rng.permutation(len(pool.views))[:pictures]
    rows = []
    with paddle.no_grad():
        for indices in np.array_split(chosen, max(1, len(chosen) // BATCH)):
            views = np.stack([augment(pool.views[index], size_px, rng, pool.backgrounds) for index in indices])
            rows.append(network(paddle.to_tensor(normalize(views))).numpy())
    fitted = Whitening(np.concatenate(rows), size)
    network.whitening.weight.set_value(fitted.projection.astype(np.float32))
    network.whitening.bias.set_value(-(fitted.mean @ fitted.projection).astype(np.float32))
