"""All pictures on the card, and which of them come into a batch."""

import tempfile
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.training.cuda.packed import VALIDATION, Pictures, planes

RENDERED = "rendered products"


class Bank:
    """N pictures with their classes (C) and sources. Those for validation, and products not yet rendered, are never sampled."""

    def __init__(self, pictures: Pictures, products: int, views: int, device: torch.device) -> None:
        count, side = len(pictures.labels), pictures.pixels.shape[-1]
        self.pixels = torch.empty((count + products * views, 4, side, side), dtype=torch.uint8, device=device)
        self.pixels[:count] = torch.from_numpy(pictures.pixels).to(device)
        labels = [*pictures.labels, *(f"{RENDERED}/{seed}" for seed in range(products) for _ in range(views))]
        self.names, numbers = np.unique(labels, return_inverse=True)
        self.sources = np.array([*pictures.sources, *[RENDERED] * (products * views)])
        self.validation = np.array([*(part == VALIDATION for part in pictures.parts), *[False] * (products * views)])
        self.labels = torch.from_numpy(numbers).to(device)
        self.photos = torch.from_numpy(np.flatnonzero(_opaque(pictures) & ~self.validation[:count])).to(device)
        self.rendered = self.sources != RENDERED
        order = np.flatnonzero(~self.validation)
        order = order[np.argsort(numbers[order], kind="stable")]
        counts = np.bincount(numbers[order], minlength=len(self.names))
        self._order, self.counts = torch.from_numpy(order).to(device), torch.from_numpy(counts).to(device)
        self._starts = self.counts.cumsum(0) - self.counts
        self._renderer = Renderer(products, views, side) if products else None

    def poll(self) -> None:
        """Take the rendered pictures over as soon as they are all there."""
        if self._renderer is not None and self._renderer.done():
            made = self._renderer.take()
            self.pixels[len(self.pixels) - len(made) :] = torch.from_numpy(made).to(self.pixels.device)
            self.rendered[:] = True
            self._renderer = None

    def probabilities(self, weights: dict[str, float], evenness: float) -> Tensor:
        """How often each picture is sampled: by the sources' `weights`, their classes alike; with `evenness` 0 all pictures alike."""
        there = self.rendered & ~self.validation
        every = there / there.sum()
        by_class = there / np.maximum(self.counts.cpu().numpy(), 1)[self.labels.cpu().numpy()]
        wanted = np.zeros(len(every))
        for source, weight in weights.items():
            own = by_class * (self.sources == source)
            wanted += weight * own / max(own.sum(), 1e-9)
        mixed = (1.0 - evenness) * every + evenness * wanted / wanted.sum()
        return torch.from_numpy(mixed).float().to(self.pixels.device)

    def mates(self, classes: Tensor) -> Tensor:
        """A random picture of each of `classes`."""
        place = (torch.rand(len(classes), device=classes.device) * self.counts[classes]).long()
        return self._order[self._starts[classes] + place.clamp(max=self.counts[classes] - 1)]

    def where(self, source: str, *, validation: bool) -> Tensor:
        """The indices of one source's pictures."""
        found = np.flatnonzero((self.sources == source) & (self.validation == validation))
        return torch.from_numpy(found).to(self.pixels.device)


class Renderer:
    """Renders products in processes of their own, straight into a file, while training continues."""

    def __init__(self, products: int, views: int, side_px: int, processes: int = 12) -> None:
        self._file = Path(tempfile.mkdtemp()) / "rendered.npy"
        shape = (products * views, 4, side_px, side_px)
        np.lib.format.open_memmap(self._file, "w+", np.uint8, shape).flush()
        self._executor = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
        made = [self._executor.submit(draw, self._file, seed, views, side_px) for seed in range(products)]
        self._thread = threading.Thread(target=lambda: [one.result() for one in made], daemon=True)
        self._thread.start()

    def done(self) -> bool:
        """Whether all are rendered."""
        return not self._thread.is_alive()

    def take(self) -> np.ndarray:
        """(N, 4, side, side)."""
        self._executor.shutdown()
        return np.load(self._file)


def draw(file: Path, seed: int, views: int, side_px: int) -> None:
    """The views of one product, into its rows: models.training.data.pool.product_views."""
    from models.synth.designs import design_product
    from models.synth.products import render_product

    kept = np.load(file, mmap_mode="r+")
    design, rng = design_product(seed), np.random.default_rng([seed, 77])
    for number in range(views):
        kept[seed * views + number] = planes(render_product(design, side_px, rng), side_px)


def _opaque(pictures: Pictures) -> np.ndarray:
    return pictures.pixels[:, 3, ::8, ::8].min((1, 2)) == 255


def recall_at_1(gallery: Tensor, gallery_labels: Tensor, queries: Tensor, labels: Tensor) -> float:
    """Of unit rows: the fraction of queries whose nearest one has their label."""
    nearest = (queries @ gallery.T).argmax(1)
    return float((gallery_labels[nearest] == labels).float().mean())


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1, in 32 bits."""
    return torch.nn.functional.normalize(rows.float(), dim=1)
