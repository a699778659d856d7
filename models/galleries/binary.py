"""Binary codes: embeddings cut to one bit a dimension, packed into bytes as PaddleClas packs them, and their Hamming distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.errors import GalleryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

METHODS = ("sign", "round")


def binarize(embeddings: NDArray[np.float32], method: str = "sign") -> NDArray[np.uint8]:
    """(N, bits) -> (N, bits / 8) uint8, the first dimension in the most significant bit of the first byte.

    "sign" sets the bit of a value above 0: PaddleClas' (sign(x) + 1) / 2, where 0 counts as below. "round" is for values
    from 0 to 1 and sets the bit from 0.5 on: PaddleClas' round(x + 1) - 1; what lies outside counts as 0 or 1, where there
    it would overflow the byte. Raises GalleryError for other methods, for values that are NaN or infinite, and for a number
    of bits that does not fill its bytes.
    """
    rows = np.asarray(embeddings)
    if method not in METHODS:
        raise GalleryError(f"There is no binarisation {method!r}; take one of {', '.join(METHODS)}.")
    if rows.ndim != 2 or rows.shape[1] % 8:
        raise GalleryError(f"The embeddings have the shape {rows.shape}; codes need (N, D) with D a multiple of 8.")
    if not np.isfinite(rows).all():
        raise GalleryError("The embeddings hold NaN or infinite values.")
    return np.packbits(rows > 0 if method == "sign" else rows >= 0.5, axis=1, bitorder="big")


def unpack(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, B) uint8 -> (N, 8 B) of -1 and 1: `binarize(unpack(codes))` is `codes`."""
    return np.unpackbits(checked(codes), axis=1, bitorder="big").astype(np.float32) * 2 - 1


def hamming(queries: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(Q, B) and (N, B) uint8 -> (Q, N), the number of bits that differ. Raises GalleryError."""
    queries, codes = checked(queries), checked(codes)
    if queries.shape[1] != codes.shape[1]:
        raise GalleryError(f"Codes of {queries.shape[1]} and of {codes.shape[1]} bytes cannot be compared.")
    distances = np.empty((len(queries), len(codes)), np.int32)
    for row, query in enumerate(queries):  # one at a time bounds the memory
        distances[row] = np.bitwise_count(codes ^ query).sum(axis=1)
    return distances


def cosine_of(distances: NDArray[np.int32], bits: int) -> NDArray[np.float32]:
    """The cosine that `distances` estimate: cos(pi d / bits), 1 for equal codes, 0 for half of the bits, falling with d.

    Random hyperplanes part two vectors as often as their angle is of pi (Charikar, "Similarity estimation techniques from
    rounding algorithms", STOC 2002), so thresholds for cosines stay of use.
    """
    return np.cos(np.pi * np.asarray(distances, np.float64) / bits).astype(np.float32)


def checked(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`codes` in C order. Raises GalleryError unless they are (N, B) uint8."""
    if codes.dtype != np.uint8 or codes.ndim != 2:
        raise GalleryError(f"Binary codes are (N, bytes) uint8, not {codes.shape} {codes.dtype}.")
    return np.ascontiguousarray(codes)
