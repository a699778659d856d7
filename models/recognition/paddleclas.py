"""PaddleClas' PP-ShiTu at the border: its configuration keys in, its result format out, its galleries read safely.

Names are theirs, misspelt ones included. The processing itself is `RecognizeOptions(compat="paddleclas")`.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from contracts.pictures import ENDINGS
from models.errors import GalleryError
from models.options import OptionsError, RecognizeOptions
from models.recognition.paddleclas_index import ID_MAP, INDEX, TheirIndex, read_index, recover

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from contracts.results import PaddleClasObject
    from models.recognition.results import Recognitions

# (group, key) of their YAML -> our option, and what their code takes where the key is missing
KEYS: dict[tuple[str, str], tuple[str, Any]] = {
    ("Global", "threshold"): ("detection_threshold", 0.2),
    ("Global", "max_det_results"): ("max_detections", 5),
    ("Global", "rec_nms_thresold"): ("suppression_iou", 0.05),
    ("IndexProcess", "score_thres"): ("similarity_threshold", None),
    ("IndexProcess", "return_k"): ("top_k", 5),
}


def options_from_config(config: Mapping[str, Any]) -> RecognizeOptions:
    """The options of a PP-ShiTu configuration (its YAML, read). What it says of models and paths is not ours to take.

    Raises OptionsError: a value that is none, or a gallery that is not compared by inner product.
    """
    groups: dict[str, Mapping[str, Any]] = {}
    for group in ("Global", "IndexProcess"):
        found = config.get(group) or {}
        if not isinstance(found, Mapping):
            raise OptionsError(group, "must be a group of keys")
        groups[group] = found
    if groups["IndexProcess"].get("dist_type", "IP") != "IP":
        raise OptionsError("dist_type", "only IP, the inner product, is supported")
    options: dict[str, Any] = {"compat": "paddleclas", "whole_image": "always"}
    for (group, key), (option, default) in KEYS.items():
        value = groups[group].get(key, default)
        try:
            RecognizeOptions.from_dict({option: value})
        except OptionsError as error:
            raise OptionsError(f"{group}.{key}", error.detail.removeprefix(f"{option}: ")) from None
        options[option] = value
    return RecognizeOptions.from_dict(options)


def to_paddleclas(found: Recognitions) -> list[PaddleClasObject]:
    """`[{"bbox": [x1, y1, x2, y2], "rec_docs": label, "rec_scores": similarity}]`, in the order of the recognitions."""
    return [
        {"bbox": list(one.box), "rec_docs": one.label, "rec_scores": float(one.similarity)}
        for one in found.recognitions
    ]


# a picture's name and what parts it from its label, where that is no tab
_AFTER_PICTURE = re.compile(rf"^.+?(?:{'|'.join(re.escape(one) for one in ENDINGS)})([,;| ])", re.IGNORECASE)


@dataclass(frozen=True)
class PaddleClasItem:
    """An entry of their gallery: the line of the list file it was built from, cut into path and label."""

    id: str
    label: str
    path: str
    line: str

    def stand_in(self, row: NDArray[np.float32]) -> str:
        """The digest that an item of this line and this vector (D,) has where its picture did not come."""
        return hashlib.sha256(self.line.encode("utf-8", "surrogatepass") + row.tobytes()).hexdigest()


def read_gallery(folder: Path) -> tuple[tuple[PaddleClasItem, ...], NDArray[np.float32]]:
    """The items and embeddings (N, D) float32 of a PaddleClas `index_dir`: `vector.index` and `id_map.pkl`.

    As `read_their_gallery`, but for binary codes, whose embeddings can't be had back. Raises GalleryError.
    """
    items, index = read_their_gallery(folder)
    if index.distance == "hamming":
        raise GalleryError("vector.index holds binary codes (dist_type hamming); their embeddings can't be had back.")
    return items, index.rows


def read_their_gallery(folder: Path, delimiter: str | None = None) -> tuple[tuple[PaddleClasItem, ...], TheirIndex]:
    """The items of a PaddleClas `index_dir`, `vector.index` and `id_map.pkl`, and the index, a row for each.

    `delimiter`: between path and label in the list that it was built from; None: it is found out, line by line.
    Flat, HNSW and IVF indexes, by inner product, by L2 over unit vectors, which order alike, or of binary codes. Nothing of
    the pickle is run: it may hold whole numbers and text, all else is refused. Raises GalleryError.
    """
    try:
        recover(folder)
        lines = read_id_map((folder / ID_MAP).read_bytes())
        index = read_index((folder / INDEX).read_bytes())
    except OSError as error:
        detail = "A PaddleClas gallery is a folder with vector.index and id_map.pkl."
        if any((folder / name).is_file() for name in ("id_map.yaml", "index_info.yaml")):
            detail += " This is an index of PaddleX, which `shitu gallery import` takes."
        raise GalleryError(detail) from error
    return items_of(index, lines, delimiter), index


def items_of(index: TheirIndex, lines: Mapping[int, str], delimiter: str | None = None) -> tuple[PaddleClasItem, ...]:
    """The item of each row. Raises GalleryError where the two files do not belong together."""
    if sorted(index.ids) != sorted(lines):
        raise GalleryError(
            f"vector.index has {len(index.ids)} entries and id_map.pkl {len(lines)}; they do not belong together."
        )
    return tuple(_item(number, lines[number], delimiter) for number in index.ids)


def read_paddlex(folder: Path) -> tuple[tuple[PaddleClasItem, ...], NDArray[np.float32]]:
    """The same of PaddleX: `vector.index` and `id_map.yaml`, whose `id_map` has a label, and no path, for each id.

    Raises GalleryError.
    """
    try:
        found = yaml.load((folder / "id_map.yaml").read_bytes(), Loader=yaml.CSafeLoader)
        index = read_index((folder / INDEX).read_bytes())
    except OSError as error:
        raise GalleryError("A PaddleX index is a folder with vector.index and id_map.yaml.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise GalleryError("id_map.yaml is no YAML.") from error
    known = found.get("id_map") if isinstance(found, dict) else None
    if not isinstance(known, dict) or not all(isinstance(number, int) for number in known):
        raise GalleryError("id_map.yaml has no id_map of whole numbers to labels.")
    if index.distance == "hamming":
        raise GalleryError(
            "vector.index holds binary codes (hamming), of which no embedding can be had back, and id_map.yaml names no"
            " pictures that could be embedded again: import the list that it was built from (gallery.txt), with its pictures."
        )
    if sorted(index.ids) != sorted(known):
        raise GalleryError(
            f"vector.index has {len(index.ids)} entries and id_map.yaml {len(known)}; they do not belong together."
        )
    return tuple(PaddleClasItem(str(one), str(known[one]), "", f"{one}\t{known[one]}") for one in index.ids), index.rows


def read_id_map(data: bytes) -> dict[int, str]:
    """The pickled mapping of ids to lines. Raises GalleryError for anything else."""
    try:
        found = _OnlyNumbersAndText(io.BytesIO(data)).load()
        if not isinstance(found, dict):
            raise TypeError("no mapping")
        lines = {}
        for number, line in found.items():
            if not isinstance(number, int) or isinstance(number, bool) or not isinstance(line, str):
                raise TypeError("not whole numbers and text")
            lines[number] = line
    except Exception as error:  # a broken pickle raises whatever its parser stumbled over
        raise GalleryError("id_map.pkl is not a mapping of whole numbers to text.") from error
    return lines


class _OnlyNumbersAndText(pickle.Unpickler):
    """Knows no class and no function but two stand-ins for NumPy's whole numbers, which call nothing of NumPy."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")}:
            return _whole_number
        if (module, name) == ("numpy", "dtype"):
            return _Kind
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


class _Kind:
    """What a pickled NumPy dtype says: "i8" and, by its state, the byte order."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in {"i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"}:
            raise pickle.UnpicklingError("only whole numbers are allowed")
        self.signed, self.size, self.big = code[0] == "i", int(code[1]), False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.big = state[1] == ">"


def _whole_number(kind: _Kind, data: bytes) -> int:
    if not isinstance(kind, _Kind) or not isinstance(data, bytes) or len(data) != kind.size:
        raise pickle.UnpicklingError("no whole number")
    return int.from_bytes(data, "big" if kind.big else "little", signed=kind.signed)


def _item(number: int, line: str, delimiter: str | None) -> PaddleClasItem:
    # Theirs takes the second word. So is ours the second column, a third is none of it; after a blank it is the whole
    # rest, blanks and all.
    whole = line.strip().removeprefix("\ufeff")
    found = None
    if delimiter is None or delimiter not in whole:
        delimiter = "\t" if "\t" in whole else " "
        found = None if delimiter == "\t" else _AFTER_PICTURE.match(whole)
    if found is not None:
        path, delimiter, label = whole[: found.start(1)], found[1], whole[found.end(1) :]
    else:
        path, _, label = whole.partition(delimiter)
    label = label.strip() if delimiter == " " else label.partition(delimiter)[0]
    return PaddleClasItem(str(number), label.partition("\t")[0].strip(), path.strip(), line)
