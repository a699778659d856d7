"""`shitu gallery export --format paddleclas`: a gallery as PaddleClas has it, an index, its lines, its pictures and their list."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from contracts.pictures import look
from infra.errors.photos import ObjectNotFound
from models.recognition.paddleclas_index import build, write
from shitu.cli.progress import tracked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from infra.galleries.store import Item
    from infra.objects.store import ObjectStore

INDEX_DIR, GALLERY_DIR, LIST = "index", "gallery", "gallery_label.txt"
ENDINGS = {"jpeg": "jpg"}


def export(
    folder: Path, items: Sequence[Item], embeddings: NDArray[np.float32], objects: ObjectStore, method: str
) -> tuple[int, int]:
    """Writes the gallery; how many items have no picture in the store, and how many labels have blanks.

    `index/` is an `index_dir`, `gallery/` an `image_root` with its `data_file`. An item without a picture stands in the
    index alone. Raises GalleryError, OSError.
    """
    pictures = folder / GALLERY_DIR / "images"
    pictures.mkdir(parents=True, exist_ok=True)
    lines, listed, missing = {}, [], 0
    for number, item in enumerate(tracked(items, "Writing the pictures")):
        data = None
        with suppress(ObjectNotFound):  # an index taken over without its pictures
            data = objects.get(item.image_key)
        ending = "jpg" if data is None else ENDINGS.get(look(data).format.lower(), look(data).format.lower())
        name = f"images/{item.sha256[:32]}.{ending}"
        lines[number] = f"{name}\t{item.label}"
        if data is None:
            missing += 1
            continue
        (folder / GALLERY_DIR / name).write_bytes(data)
        listed.append(lines[number])
    (folder / GALLERY_DIR / LIST).write_text("".join(f"{line}\n" for line in dict.fromkeys(listed)), encoding="utf-8")
    write(folder / INDEX_DIR, build(embeddings, list(lines), method, "IP"), lines)
    return missing, len({item.label for item in items if " " in item.label})
