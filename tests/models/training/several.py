"""What each of several training processes does in the tests: the recipe's training, and the parts it is made of.

Run by `paddle.distributed.launch` with two folders, for results and of photos.
"""

import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import nn
from PIL import Image

from models.training.data.embedder_batches import Batch, batches
from models.training.engine.fit import fit
from models.training.engine.inputs import normalize
from models.training.engine.processes import Group
from models.training.engine.synchronised_norm import synchronise_norms
from models.training.recipes.embedder import EmbedderLoss, EmbedderNetwork, EmbedderRecipe, Optimizer
from models.training.recipes.pictures import Stage, ViewSource
from models.training.tasks import embedder, precise_bn

# Few of the photos have a known vector: the parts of a batch have different counts of them. The activations are smooth
# (hardswish), the steps small and few: a ReLU that rounding turns over, or a batch norm's amplification of it over many
# steps, would let even two runs of one process, with the pictures in another order, end apart.
RECIPE = EmbedderRecipe(
    "several",
    (
        ViewSource("rendered", "rendered", products=8, views=3),
        ViewSource(
            "list", "shop", root="shop", file="labels.tsv", crops=4, vectors="shop/known.npz", sampling_weight=2.0
        ),
    ),
    (Stage(3, 64, 16),),
    pool_px=64,
    deploy_px=32,
    network=EmbedderNetwork(kind="v1", width=0.25, embedding_size=32),
    loss=EmbedderLoss(triplet_weight=0.5, triplet_from=0.25),
    optimizer=Optimizer(learning_rate=0.001, warmup_steps=1, ema_decay=0.9),
)
SHAPES = {"BatchNorm2D": (8, 5, 6, 7), "BatchNorm1D": (8, 5)}
Arrays = dict[str, NDArray[np.float32]]


def write_textured(data: Path) -> None:
    """Two photos of each of six labels, of soft noise, and known vectors of the first label's.

    Plain colours would not do: where no picture varies a batch norm divides by rounding errors.
    """
    folder, rng = data / "shop", np.random.default_rng(5)
    folder.mkdir(parents=True)
    lines = [f"{label}{number}.png\t{label}" for label in "abcdef" for number in (0, 1)]
    for line in lines:
        coarse = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC).save(folder / line.split("\t")[0])
    (folder / "labels.tsv").write_text("\n".join(lines), encoding="utf-8")
    np.savez(folder / "known.npz", path=np.array(["a0.png", "a1.png"]), embedding=np.array([[3.0, 4.0], [0.0, 2.0]]))


def train(data: Path, out: Path) -> None:
    """The recipe, from its first step to its last, in 64 bits and by plain gradient descent.

    In 32 bits rounding grows through the batch norms to half a percent within three steps, which a mistake could hide in.
    AdamW divides each gradient by its own size: weights whose gradient is nothing but rounding, such as a bias before a
    batch norm, go anywhere with it.
    """
    paddle.set_default_dtype("float64")
    try:
        with (
            patch.object(embedder, "make_optimizer", descent),
            patch.object(embedder, "normalize", exact_pixels),
            patch.object(precise_bn, "normalize", exact_pixels),
            patch.object(embedder, "batches", exact_batches),
        ):
            fit(embedder.EmbedderTask, RECIPE, data, out, lambda _: None, lambda *_: None)
    finally:
        paddle.set_default_dtype("float32")


def exact_pixels(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """What networks take, in 64 bits."""
    return normalize(images).astype(np.float64)


def exact_batches(*arguments: Any) -> Generator[Batch, None, None]:
    """The trainer's batches, their vectors in 64 bits."""
    with closing(batches(*arguments)) as source:
        for batch in source:
            exact = {name: getattr(batch, name).astype(np.float64) for name in ("targets", "vectors", "has_vector")}
            yield replace(batch, **exact)


def descent(module: nn.Layer, recipe: EmbedderRecipe, _data: Path | None = None) -> paddle.optimizer.Optimizer:
    """Gradient descent with momentum over all that learns."""
    learnt = [parameter for parameter in module.parameters() if not parameter.stop_gradient]
    return paddle.optimizer.Momentum(recipe.optimizer.learning_rate, 0.9, parameters=learnt)


def norms(group: Group) -> Arrays:
    """What batch norms give for this process's part of a batch, what they keep, and the averaged gradients."""
    found: Arrays = {}
    for name, shape in SHAPES.items():
        rng = np.random.default_rng(7)
        pictures, weights = rng.normal(30.0, 2.0, shape), rng.normal(size=shape)
        mine = group.slice_of(shape[0])
        norm = getattr(nn, name)(shape[1])
        norm.weight.set_value(np.linspace(0.5, 1.5, shape[1]).astype(np.float32))
        synchronise_norms(norm, group)
        x = paddle.to_tensor(pictures[mine].astype(np.float32), stop_gradient=False)
        y = norm(x)
        (y * y * paddle.to_tensor(weights[mine].astype(np.float32))).mean().backward()
        group.average_gradients(norm)
        kept = {"y": y, "dx": x.grad / group.size, "dweight": norm.weight.grad, "dbias": norm.bias.grad}
        kept |= {"mean": norm._mean, "variance": norm._variance}
        norm.eval()
        kept["served"] = norm(x)
        found |= {f"{name} {key}": value.numpy() for key, value in kept.items()}
    return found


def gathered(group: Group) -> Arrays:
    """A loss over pairs of the whole batch, of rows of which each process has some."""
    rows = np.random.default_rng(8).normal(size=(6, 3)).astype(np.float32)
    x = paddle.to_tensor(rows[group.slice_of(6)], stop_gradient=False)
    every = group.gather(x)
    (paddle.matmul(every, every, transpose_y=True) ** 3).mean().backward()
    return {"every": every.numpy(), "dx": x.grad.numpy() / group.size}


def main(out: Path, data: Path) -> None:
    """Everything once."""
    group = Group.from_environment()
    np.savez(out / f"norms{group.rank}.npz", **norms(group))
    np.savez(out / f"gathered{group.rank}.npz", **gathered(group))
    np.savez(out / f"mean{group.rank}.npz", **group.mean({"loss": group.rank * 2.0, "one": 1.0}))
    train(data, out / "together")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
