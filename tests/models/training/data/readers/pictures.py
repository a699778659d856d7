"""Small pictures in files, for data sets of every format."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_picture(path: Path, seed: int = 0, size: tuple[int, int] = (12, 9)) -> Path:
    """A picture of noise, `size` (width, height); other seeds, other bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def cut_short(*paths: Path) -> None:
    """Leaves the first half of each file."""
    for path in paths:
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
