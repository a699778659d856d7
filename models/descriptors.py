"""Local descriptors made small: what is left of a SIFT descriptor's 128 values after a fixed cosine transform, in bytes.

RootSIFT (Arandjelovic and Zisserman, "Three things everyone should know to improve object retrieval", CVPR 2012), then
a cosine transform over the 4 x 4 cells and a Fourier transform over the 8 directions, of which the KEPT coefficients
that vary most are left, each in a byte. The transform needs no training; the table of what is kept, with mean and spread,
comes from photos (`python -m benchmarks.fit_descriptors`), and any table works. Coefficients are weighed by the root of
their spread before they are compared.

Measured with 252 photos of 53 drinks that the table has not seen (`models.verification` has the rest): fraction of pictures
of one product with 8 agreeing features or more, the item's within 8 kB, the query's 400 whole:

    400 points, all 128 values (no limit)          0.810
    120 points, RootSIFT at 4 bits                 0.770
    227 points, 32 principal components in bytes   0.792
    292 points, 48 principal components at 4 bits  0.802
    340 points, 40 coefficients at 4 bits          0.807    <- this
    227 points, the signs of all 128 at 2 bits     0.784
    408 points, the signs alone                    0.699
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS, DIRECTIONS = 4, 8  # a SIFT descriptor: 4 x 4 cells of histograms of 8 directions
SPREADS = 3.0  # a byte covers the mean and so many standard deviations to each side
# row, column and direction frequency, mean and standard deviation times 10,000; of 209,456 descriptors of 530 photos,
# of whose variance it keeps 0.836
TABLE = (
    (0, 1, 1, -155, 1633), (0, 0, 1, 1194, 1608), (0, 0, 3, 1455, 1514), (0, 0, 2, 6, 1436),
    (1, 0, 2, -13, 1400), (0, 3, 1, 36, 1244), (0, 2, 1, -974, 1184), (0, 1, 3, -39, 1036),
    (0, 0, 4, -1, 993), (0, 1, 0, 27, 991), (2, 0, 2, 0, 979), (1, 0, 3, 1, 952),
    (1, 1, 2, 480, 900), (0, 1, 2, -1, 869), (1, 0, 4, -61, 849), (1, 1, 1, 6, 787),
    (0, 0, 0, 7441, 778), (0, 1, 4, 4, 778), (2, 1, 2, 0, 748), (1, 0, 0, 0, 715),
    (0, 2, 3, -470, 714), (3, 0, 2, -10, 708), (1, 2, 1, -2, 707), (1, 0, 1, -1, 705),
    (1, 2, 2, -12, 680), (1, 1, 4, 19, 626), (0, 0, 5, 401, 589), (2, 3, 1, -2, 562),
    (1, 1, 3, -1, 559), (0, 2, 2, -4, 549), (3, 2, 2, 9, 535), (2, 1, 1, 13, 532),
    (0, 0, 7, 403, 531), (2, 0, 3, -407, 531), (0, 2, 0, -969, 530), (2, 2, 2, 0, 506),
    (0, 1, 5, -3, 505), (3, 1, 2, -109, 498), (1, 1, 0, 0, 489), (2, 0, 0, -697, 483),
)  # fmt: skip
KEPT = len(TABLE)


def shorten(sift: NDArray[np.float32]) -> NDArray[np.uint8]:
    """SIFT descriptors (N, 128), none negative -> codes (N, KEPT)."""
    sums = np.maximum(sift.sum(axis=1, keepdims=True), np.float32(1e-9))
    steps = (np.sqrt(sift / sums) @ _TRANSFORM - _MEANS) * (128 / (SPREADS * _DEVIATIONS))
    return np.asarray(np.clip(np.floor(steps) + 128, 0, 255), np.uint8)


def comparable(codes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Codes (N, KEPT) -> vectors (N, KEPT) whose Euclidean distance measures how unlike two places look; no fixed unit."""
    return np.asarray((codes.astype(np.float32) - np.float32(127.5)) * _WEIGHTS, np.float32)


def coefficients() -> NDArray[np.float64]:
    """The whole orthogonal transform (128, 4, 4, 8): rows are SIFT's values, then row, column and direction frequency."""
    cells, directions = _cosines(CELLS), _fourier(DIRECTIONS)
    waves = np.einsum("ai,bj,ck->ijkabc", cells, cells, directions)
    return np.asarray(waves.reshape(-1, CELLS, CELLS, DIRECTIONS), np.float64)


def _cosines(count: int) -> NDArray[np.float64]:
    """DCT-II, orthonormal: (frequency, place)."""
    waves = np.cos(np.pi * np.arange(count)[:, None] * (2 * np.arange(count) + 1) / (2 * count))
    return np.asarray(waves / np.linalg.norm(waves, axis=1, keepdims=True), np.float64)


def _fourier(count: int) -> NDArray[np.float64]:
    """The real Fourier basis of a circle, orthonormal: constant, cosine and sine of 1, 2, ..., then the alternating one."""
    turn = 2 * np.pi * np.arange(count) / count
    waves = [np.ones(count)]
    for frequency in range(1, count // 2):
        waves += [np.cos(frequency * turn), np.sin(frequency * turn)]
    basis = np.array([*waves, np.cos(count // 2 * turn)])
    return np.asarray(basis / np.linalg.norm(basis, axis=1, keepdims=True), np.float64)


_ROWS, _COLUMNS, _WAVES, _MEAN, _DEVIATION = zip(*TABLE, strict=True)
_TRANSFORM = np.ascontiguousarray(coefficients()[:, _ROWS, _COLUMNS, _WAVES], np.float32)  # (128, KEPT)
_MEANS, _DEVIATIONS = np.array(_MEAN, np.float32) / 1e4, np.array(_DEVIATION, np.float32) / 1e4
_WEIGHTS = np.sqrt(_DEVIATIONS)
