"""What benchmarks on photos begin with: the options that name the data folder and the embedder, and the photos' embeddings."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray

from models.embedder import Embedder
from models.evaluation.evaluate import silent
from models.evaluation.retrieval import embed_photos
from models.training.data.photos import Photo

Rows = NDArray[np.float32]


def options(about: str | None) -> argparse.ArgumentParser:
    """A parser with `--data` and `--embedder`."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--embedder", default="shitu-embedder")
    return parser


def has_photos(data: Path | None) -> TypeGuard[Path]:
    """Whether drinks and groceries are below `data`; says so where they are not."""
    found = data is not None and (data / "drinks").is_dir()
    if not found:
        print("skipped: no data folder with drinks/ and grocery/ (--data)")
    return found


def embedded(embed: Embedder, photos: Sequence[Photo]) -> Rows:
    """A row for each photo, without a word about progress."""
    return embed_photos(embed, photos, "photos", silent)
