"""A gallery as one flat file, for programs in other languages: a header in text, rows of float32, labels in lines.

docs/cpp.md has the layout. It is written for reading alone: `shitu gallery import` takes a bundle, which has pictures,
boxes and checksums too.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import numpy as np

from contracts.names import readable_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from infra.galleries.files import GalleryManifest, Item

KIND, LAYOUT = "shitu-flat", 1


def write(file: IO[bytes], manifest: GalleryManifest, items: Sequence[Item], embeddings: NDArray[np.float32]) -> None:
    """Writes `items` with their `embeddings` (N, D), unit float32, row by row. Raises OSError, and ValueError for other shapes."""
    if embeddings.ndim != 2 or len(embeddings) != len(items):
        raise ValueError(f"{len(items)} items have embeddings of the shape {embeddings.shape}")
    header = {
        KIND: LAYOUT,
        "gallery": manifest.name,
        "version": manifest.version,
        "embedder": manifest.embedder_digest or "-",
        "dim": embeddings.shape[1],
        "items": len(items),
    }
    file.write("".join(f"{name} {value}\n" for name, value in header.items()).encode() + b"\n")
    file.write(np.ascontiguousarray(embeddings, "<f4").tobytes())
    for item in items:  # a label that is read so has no line break
        file.write(f"{readable_label(item.label)}\n".encode())
