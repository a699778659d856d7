"""Photos on their way to the machine with the GPU: encoded small in one file, decoded there onto the card."""

import io
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.uint8]
VALIDATION = "validation"  # the part of a picture that is never trained on


@dataclass(frozen=True)
class Picture:
    """One encoded picture: RGBA where something stands free, RGB else."""

    data: bytes
    label: str  # unique over all sources
    source: str
    part: str  # "training", or VALIDATION


@dataclass(frozen=True)
class Pictures:
    """N decoded ones, each stretched to a square as every crop is before it is embedded."""

    pixels: Array  # (N, 4, S, S)
    labels: tuple[str, ...]
    sources: tuple[str, ...]
    parts: tuple[str, ...]


def encode(image: Array, side_px: int, quality: int) -> bytes:
    """WebP of an (H, W, 3 or 4) picture, stretched to a square of at most `side_px`; not enlarged."""
    side = min(side_px, max(image.shape[:2]))
    small = np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    kept = io.BytesIO()
    Image.fromarray(small).save(kept, "WEBP", quality=quality, method=4)
    return kept.getvalue()


def write(path: Path, pictures: Sequence[Picture]) -> None:
    """All in one `.npz` without pickles."""
    ends = np.cumsum([len(picture.data) for picture in pictures])
    table = [[picture.label, picture.source, picture.part] for picture in pictures]
    data = np.frombuffer(b"".join(picture.data for picture in pictures), np.uint8)
    names = np.frombuffer(json.dumps(table).encode(), np.uint8)
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, data=data, ends=ends, names=names)


def read(paths: Sequence[Path], side_px: int, processes: int) -> Pictures:
    """Decode what `write` wrote, side by side."""
    encoded: list[bytes] = []
    table: list[list[str]] = []
    for path in paths:
        with np.load(path, allow_pickle=False) as stored:
            data, ends = stored["data"].tobytes(), stored["ends"].tolist()
            encoded += [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
            table += json.loads(stored["names"].tobytes())
    pixels = np.empty((len(encoded), 4, side_px, side_px), np.uint8)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
        for number, picture in enumerate(executor.map(decode, encoded, [side_px] * len(encoded), chunksize=64)):
            pixels[number] = picture
    labels, sources, parts = zip(*table, strict=True)
    return Pictures(pixels, labels, sources, parts)


def decode(data: bytes, side_px: int) -> Array:
    """(4, side_px, side_px); opaque where the picture has no transparency."""
    image = Image.open(io.BytesIO(data))
    return planes(np.asarray(image.convert("RGBA"), np.uint8), side_px)


def planes(image: Array, side_px: int) -> Array:
    """(H, W, 4) -> (4, side_px, side_px)."""
    shrinks = image.shape[0] > side_px
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    square = np.asarray(cv2.resize(image, (side_px, side_px), interpolation=way), np.uint8)
    return np.ascontiguousarray(square.transpose(2, 0, 1))
