"""Their `build_gallery`: a list of pictures becomes, or changes, `vector.index` and `id_map.pkl`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import GalleryError, ModelError
from models.galleries.binary import binarize
from models.pictures.image import decode
from models.recognition.paddleclas import items_of, read_id_map
from models.recognition.paddleclas_index import (
    DISTANCES,
    ID_MAP,
    INDEX,
    METHODS,
    TheirIndex,
    build,
    read_index,
    recover,
    write,
)
from shitu.paddleclas.config import Config, ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from models.embedder import Embedder
    from models.recognition.paddleclas import PaddleClasItem
    from models.recognition.paddleclas_index import Distance

OPERATIONS = ("new", "append", "remove")


@dataclass
class Built:
    """What a change of a gallery did: entries now, and each line that was skipped, with its reason."""

    entries: int = 0
    added: int = 0
    removed: int = 0
    present: int = 0  # lines that the gallery had already
    refused: list[str] = field(default_factory=list)


def distance_of(config: Config) -> Distance:
    """`dist_type`. Raises ConfigError."""
    value = config.text("IndexProcess.dist_type", "IP")
    for known in DISTANCES:
        if value == known:
            return known  # type: ignore[return-value]  # one of the three
    raise ConfigError(f"IndexProcess.dist_type: must be one of {', '.join(DISTANCES)}, not {value!r}.")


def delimiter_of(config: Config) -> str:
    """What parts path and label in `data_file`: `delimiter`, a tab where it is missing. Raises ConfigError."""
    return config.text("IndexProcess.delimiter", "\t") or "\t"


def require_size(config: Config, embedder: Embedder) -> None:
    """Raises ConfigError where `embedding_size` is not the embedder's."""
    size = config.get("IndexProcess.embedding_size")
    if size is not None and size != embedder.dim:
        detail = f"IndexProcess.embedding_size: is {size!r}; {embedder.name} makes {embedder.dim} dimensions."
        raise ConfigError(detail)


def require_distance(config: Config, distance: Distance) -> None:
    """Raises ConfigError where features are to be binary codes and are compared as embeddings."""
    if config.get("RecPostProcess.main_indicator") == "Binarize" and distance != "hamming":
        raise ConfigError(
            f"RecPostProcess.main_indicator: Binarize goes with IndexProcess.dist_type hamming, not {distance}."
        )


def codes_of(config: Config, embeddings: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The binary codes of embeddings, by `RecPostProcess.Binarize.method`. Raises ModelError."""
    return binarize(embeddings, config.text("RecPostProcess.Binarize.method", "sign"))


def open_index(folder: Path, delimiter: str | None = None) -> tuple[TheirIndex, tuple[PaddleClasItem, ...]]:
    """The gallery in `folder`, whose lines are cut at `delimiter` (found out where they have none); a change that was interrupted is ended or taken back. Raises GalleryError."""
    try:
        recover(folder)
        lines, index = read_id_map((folder / ID_MAP).read_bytes()), read_index((folder / INDEX).read_bytes())
    except OSError as error:
        raise GalleryError(f"{folder} is no gallery: {INDEX} and {ID_MAP} are not there.") from error
    return index, items_of(index, lines, delimiter)


def change(config: Config, embedder: Embedder | None) -> Built:
    """Does what `index_operation` says; `remove` needs no embedder. Raises ModelError, OSError.

    Appending a line that the gallery has changes nothing. A picture that can't be read is skipped and reported.
    """
    operation = config.text("IndexProcess.index_operation", "new").lower()
    if operation not in OPERATIONS:
        raise ConfigError(f"IndexProcess.index_operation: must be one of {', '.join(OPERATIONS)}, not {operation!r}.")
    method, distance = config.text("IndexProcess.index_method", "HNSW32"), distance_of(config)
    if method not in METHODS:
        raise ConfigError(f"IndexProcess.index_method: must be one of {', '.join(METHODS)}, not {method!r}.")
    require_distance(config, distance)
    folder, built = Path(_required(config, "index_dir")), Built()
    wanted = list(_lines(config, built))
    lines: dict[int, str] = {}
    rows: NDArray[Any] | None = None
    if operation != "new":
        index, items = open_index(folder, delimiter_of(config))
        if index.distance != distance:
            raise ConfigError(f"IndexProcess.dist_type: is {distance}; the gallery in {folder} has {index.distance}.")
        lines, rows = {int(item.id): item.line for item in items}, index.rows
        if operation == "remove":
            gone = set(wanted)
            kept = [at for at, item in enumerate(items) if item.line not in gone]
            built.removed = len(items) - len(kept)
            built.refused += [f"{line}: is not in the gallery" for line in wanted if line not in set(lines.values())]
            rows, lines = rows[kept], {int(items[at].id): items[at].line for at in kept}
    if operation != "remove":
        if embedder is None:
            raise ConfigError("Global.rec_inference_model_dir: must name the model that makes the features.")
        known = set(lines.values())
        built.present = sum(line in known for line in wanted)
        fresh = list(dict.fromkeys(line for line in wanted if line not in known))
        kept_lines, vectors = _features(config, embedder, fresh, built)
        made: NDArray[Any] = codes_of(config, vectors) if distance == "hamming" else vectors
        if rows is not None and rows.shape[1] != made.shape[1]:
            raise GalleryError(f"The gallery's vectors have another length than those of {embedder.name}.")
        rows = made if rows is None else np.concatenate([rows, made])
        first = max(lines, default=-1) + 1
        lines |= dict(enumerate(kept_lines, first))
        built.added = len(kept_lines)
    if rows is None or not len(rows):
        raise GalleryError("No picture is left for the gallery; nothing was changed.")
    if distance == "hamming":  # ids of codes are their places
        lines = dict(enumerate(lines.values()))
    write(folder, build(rows, list(lines), method, distance), lines)
    built.entries = len(lines)
    return built


def _required(config: Config, name: str) -> str:
    value = config.text(f"IndexProcess.{name}")
    if not value:
        raise ConfigError(f"IndexProcess.{name}: is missing.")
    return value


def _lines(config: Config, built: Built) -> Iterator[str]:
    """The lines of `data_file`, those without a label reported. Raises ConfigError."""
    file = Path(_required(config, "data_file"))
    delimiter = delimiter_of(config)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"IndexProcess.data_file: {file} is not UTF-8 text.") from error
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        path, found, label = line.strip().partition(delimiter)
        if not found or not path or not label.strip():
            built.refused.append(f"line {number}: is not a path and a label, parted by {delimiter!r}")
            continue
        yield line.strip()


def _features(
    config: Config, embedder: Embedder, lines: Sequence[str], built: Built
) -> tuple[list[str], NDArray[np.float32]]:
    """The lines whose pictures can be read, and (N, D) of them."""
    root, delimiter = Path(config.text("IndexProcess.image_root", ".")), delimiter_of(config)
    require_size(config, embedder)
    batch = config.whole("IndexProcess.batch_size", 32)
    kept, rows = [], [np.zeros((0, embedder.dim), np.float32)]
    for start in range(0, len(lines), batch):
        some, images = [], []
        for line in lines[start : start + batch]:
            name = line.partition(delimiter)[0].strip().replace("\\", "/")
            try:
                images.append(decode((root / name).read_bytes(), colour_managed=False))
                some.append(line)
            except ModelError as error:
                built.refused.append(f"{name}: {error.detail}")
            except OSError as error:
                built.refused.append(f"{name}: {error.strerror}")
        if some:
            rows.append(embedder(images))
            kept += some
    return kept, np.concatenate(rows)
