"""A small data folder of photos: two pictures of each of six labels, each label its own colour, and a list of them."""

from pathlib import Path

import numpy as np
from PIL import Image

LABELS = tuple("abcdef")
COLOURS = dict(zip(LABELS, np.random.default_rng(3).integers(30, 220, (6, 3)), strict=True))


def write_photos(data: Path) -> None:
    """`shop/labels.tsv`, the photos it names, and `shop/known.npz`: vectors of the photos of `a`."""
    folder = data / "shop"
    folder.mkdir(parents=True)
    lines = []
    for label in LABELS:
        for number in range(2):
            picture = np.broadcast_to(COLOURS[label], (40, 50, 3)).astype(np.uint8).copy()
            picture[:3, :3] = 255 * number
            Image.fromarray(picture).save(folder / f"{label}{number}.png")
            lines.append(f"{label}{number}.png\t{label}")
    (folder / "labels.tsv").write_text("\n".join(lines), encoding="utf-8")
    np.savez(folder / "known.npz", path=np.array(["a0.png", "a1.png"]), embedding=np.array([[3.0, 4.0], [0.0, 2.0]]))
