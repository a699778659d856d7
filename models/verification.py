"""A second look: do the local features of two pictures agree on where one lies in the other?

SIFT (Lowe, IJCV 2004; OpenCV's) at a fixed working size, compact descriptors (`models.descriptors`), matches that are
each other's nearest and clearly nearer than the second, and the similarity transform (turn, scale, shift) that most of
them agree on. A SIFT feature has a scale and an angle, so a single match already says where the whole picture lies: every
match is tried, none is sampled at random, and the same pictures give the same answer in any thread.

Chosen with 252 photos of 53 drinks: 1,058 pairs of one product's pictures, and each picture with its 10 nearest of others
(by the embedder), the item's features as stored. Fraction of pairs with so many agreeing features:

                                                             same >= 8   other >= 4   other >= 8
    ratio 0.72, not mutual (292 points stored)                   0.786       0.0087       0.0012
    mutual, ratio 0.7                                            0.771       0.0008       0
    mutual, ratio 0.8                                            0.802       0.0071       0.0004
    the same, refined as a full affine transform                 0.804       0.0075       0.0004
    similarity, distinct places, not on a line (340 points)      0.802       0.0016       0         <- this

With OpenCV's RANSAC for similarities, affine transforms or homographies instead, recall@1 was the same; 1, 5 and 5 of 755
pairs of different drinks had 5 inliers or more, and 1 as it is here. Working sizes of 256 and 320 px: 0.712 and 0.790 of the
pairs >= 8 instead of 0.810 (whole descriptors), at 12 and 17 instead of 32 ms. Taking points evenly over the picture instead
of the strongest, and requiring the same colour at the agreeing places, lost more than they brought.

recall@1 of photos without and with the bonus of the first 5 or 10 items, by the embedder bundled when this was written
(`python -m benchmarks.verification`): drinks held out 0.810, 0.893, 0.940; drinks that training sees 0.917, 0.966, 0.970;
grocery, val searched in train 0.486, 0.500, 0.503. On a busy machine a drink's description took 27 ms of one thread, that of a
square grocery photo 49 ms, and five agreements 3 to 5 ms.

What it can't separate: two flavours of one design agree, for most of what is on them is the same. The bonus has a top, so
that both reach it and the embedding decides between them. A shelf or a table seen in both pictures agrees too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from models.descriptors import KEPT, comparable, shorten
from models.errors import GalleryError
from models.pictures.inputs import as_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.pictures.inputs import Picture

WORKING_PX = 400  # the longer side that features are looked for at
MOST_ENLARGED = 4.0  # a smaller crop has no more detail
LEAST_SIDE_PX = 16  # of the working picture; below it SIFT has no octave to look at
MOST_POINTS = 400
SAMPLES = 4  # pixels a working pixel is averaged from along a side, at most: bounds the cost of huge pictures
CONTRASTS, ENOUGH_POINTS = (0.04, 0.01), 150  # Lowe's threshold; where it finds too few, a lower one for plain packages
EDGE = 15.0

RATIO = 0.8  # nearest to second nearest distance; with mutual matches Lowe's own is strict enough
TOLERANCE_PX = 8.0  # of the working picture
LEAST_INLIERS = 4  # three places agree by chance in 3 of 100 pairs of different drinks, four in 0.6
SCALES = (0.1, 10.0)  # a transform beyond is one that folded up
LEAST_SPREAD_PX = 2.0  # standard deviation across the line that the inliers lie along
SAME_SCALE, SAME_ANGLE = 1.0, 0.6  # octaves and radians that an inlier's own frame may differ from the transform
REFINED = 2

BONUS, BONUS_FROM, BONUS_UP_TO = (
    0.02,
    5,
    25,
)  # on drinks that training sees, from 5 on found one photo more than from 8 on

MAGIC, VERSION = b"SHVF", 1
HEADER = struct.Struct("<4sBBHII")  # magic, version, bytes a descriptor, points, width, height
MOST_BYTES = 8192
SCALE_STEPS = 16  # steps an octave of a stored scale


@dataclass(frozen=True, eq=False)
class Features:
    """The local features of one picture, strongest first."""

    points: NDArray[np.float32]  # (N, 2) x, y as fractions 0..1 of the picture's width and height
    descriptors: NDArray[np.uint8]  # (N, KEPT)
    width: int  # pixels of the picture
    height: int
    frames: NDArray[np.float32]  # (N, 2) diameter in pixels of the working picture, angle in radians

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True, eq=False)
class Agreement:
    """The places of a query and of an item's picture that agree on one transform; empty where there are none."""

    inliers: int
    query_points: NDArray[np.float32]  # (M, 2) fractions of the query's width and height
    item_points: NDArray[np.float32]  # (M, 2) fractions of the item's


def describe(image: Picture) -> Features:
    """The features of an (H, W, 3) RGB uint8 picture or crop; none where it is flat, tiny or a thin strip.

    What is given may be whatever `models.pictures.inputs.as_image` takes. Raises ImageError.
    """
    image = as_image(image)
    height, width = image.shape[:2]
    picture = working_picture(image)
    places, sift = find_places(picture)
    size = np.array([max(picture.shape[1], 1), max(picture.shape[0], 1)], np.float32)
    points = np.clip((places[:, :2] + np.float32(0.5)) / size, 0, 1)
    return Features(points, shorten(sift), width, height, places[:, 2:4])


def working_picture(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) RGB -> (h, w) grey with a longer side of WORKING_PX, less for crops that would have to be much enlarged."""
    longer = max(image.shape[:2])
    if not min(image.shape[:2]):
        return np.zeros((0, 0), np.uint8)
    scale = min(WORKING_PX / longer, MOST_ENLARGED)
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    stride = max(1, longer // (SAMPLES * WORKING_PX))
    grey = cv2.cvtColor(np.ascontiguousarray(image[::stride, ::stride]), cv2.COLOR_RGB2GRAY)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (width, height), interpolation=interpolation), np.uint8)


def find_places(picture: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The strongest SIFT features of an (h, w) grey picture: (N, 4) x, y, diameter (px), angle (rad); (N, 128)."""
    if min(picture.shape) < LEAST_SIDE_PX:
        return np.zeros((0, 4), np.float32), np.zeros((0, 128), np.float32)
    for contrast in CONTRASTS:
        detector = cv2.SIFT.create(nfeatures=MOST_POINTS, contrastThreshold=contrast, edgeThreshold=EDGE)
        found, sift = detector.detectAndCompute(picture, None)
        if len(found) >= ENOUGH_POINTS:
            break
    if not found or sift is None:
        return np.zeros((0, 4), np.float32), np.zeros((0, 128), np.float32)
    places = np.array([(*one.pt, one.size, np.deg2rad(one.angle)) for one in found], np.float32)
    strength = np.array([one.response for one in found], np.float32)
    order = np.lexsort((places[:, 3], places[:, 1], places[:, 0], -strength))[:MOST_POINTS]
    return places[order], np.asarray(sift, np.float32)[order]


def agree(query: Features, item: Features) -> Agreement:
    """Where the two pictures agree; at least LEAST_INLIERS distinct places, or none. A mirrored picture does not agree."""
    matches = _mutual_matches(comparable(query.descriptors), comparable(item.descriptors))
    if len(matches) >= LEAST_INLIERS:
        ours, theirs = _places(query, matches[:, 0]), _places(item, matches[:, 1])
        kept = _distinct(matches[_consistent(ours, theirs)], query, item)
        if len(kept) >= LEAST_INLIERS:
            return Agreement(len(kept), query.points[kept[:, 0]], item.points[kept[:, 1]])
    nothing = np.zeros((0, 2), np.float32)
    return Agreement(0, nothing, nothing)


def rerank_bonus(inliers: int) -> float:
    """What an item's similarity gains by so many agreeing features before the first items are ordered again."""
    return BONUS * min(inliers, BONUS_UP_TO) if inliers >= BONUS_FROM else 0.0


def pack(features: Features) -> bytes:
    """The strongest features in at most MOST_BYTES bytes: half a byte a coefficient, a byte each for x, y, scale and angle.

    Layout, little-endian: HEADER, then x, y, scale and angle as arrays of N bytes each, then (N, KEPT / 2) codes.
    """
    count = min(len(features), (MOST_BYTES - HEADER.size) // (KEPT // 2 + 4))
    fractions = np.clip(np.floor(features.points[:count] * 256), 0, 255)
    scales = np.clip(np.rint(np.log2(np.maximum(features.frames[:count, 0], 1e-3)) * SCALE_STEPS), 0, 255)
    angles = np.rint(features.frames[:count, 1] * (128 / np.pi)) % 256
    high = features.descriptors[:count] >> 4
    head = HEADER.pack(MAGIC, VERSION, KEPT // 2, count, features.width, features.height)
    columns = np.stack([fractions[:, 0], fractions[:, 1], scales, angles]).astype(np.uint8)
    return head + columns.tobytes() + ((high[:, 0::2] << 4) | high[:, 1::2]).tobytes()


def unpack(data: bytes) -> Features:
    """What `pack` kept. Raises GalleryError on bytes that it did not write, or not all of them."""
    if len(data) < HEADER.size:
        raise GalleryError(f"Stored local features of {len(data)} bytes are too short.")
    magic, version, each, count, width, height = HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION or each != KEPT // 2:
        raise GalleryError("The stored local features are damaged, or of a version that is not read.")
    if len(data) != HEADER.size + count * (each + 4) or len(data) > MOST_BYTES:
        raise GalleryError(f"The stored local features have {len(data)} bytes, not those of {count} points.")
    values = np.frombuffer(data, np.uint8, offset=HEADER.size)
    x, y, scales, angles = values[: 4 * count].reshape(4, count).astype(np.float32)
    pairs = values[4 * count :].reshape(count, each)
    codes = np.empty((count, KEPT), np.uint8)
    codes[:, 0::2], codes[:, 1::2] = (pairs & 0xF0) | 8, (pairs << 4) | 8  # the middle of what half a byte encodes
    frames = np.stack([np.exp2(scales / SCALE_STEPS), angles * np.float32(np.pi / 128)], axis=1)
    points = np.stack([x + 0.5, y + 0.5], axis=1) / 256
    return Features(np.asarray(points, np.float32), codes, width, height, np.asarray(frames, np.float32))


def _mutual_matches(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.intp]:
    """(M, 2) rows of `ours` and `theirs` that are each other's nearest, and clearly nearer than our second nearest."""
    if not len(ours) or len(theirs) < 2:  # without a second nearest nothing shows what is clear
        return np.zeros((0, 2), np.intp)
    squared = ours @ theirs.T
    squared *= -2
    squared += (ours**2).sum(axis=1)[:, None]
    squared += (theirs**2).sum(axis=1)
    rows = np.arange(len(ours))
    nearest = squared.argmin(axis=1)
    mutual = squared.argmin(axis=0)[nearest] == rows
    first = squared[rows, nearest]
    squared[rows, nearest] = np.inf
    clear = first < RATIO**2 * np.maximum(squared.min(axis=1), 0)
    kept = np.flatnonzero(mutual & clear)
    return np.stack([kept, nearest[kept]], axis=1)


def _places(features: Features, rows: NDArray[np.intp]) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Points as x + iy in pixels of the working size, and frames as diameter * exp(i angle); complex, so that a similarity
    transform is z * a + b."""
    scale = min(WORKING_PX / max(features.width, features.height, 1), MOST_ENLARGED)
    points = features.points[rows] * (np.array([features.width, features.height], np.float32) * np.float32(scale))
    diameters, angles = features.frames[rows].T
    return _complex(points[:, 0], points[:, 1]), _complex(diameters * np.cos(angles), diameters * np.sin(angles))


def _complex(real: NDArray[np.float32], imaginary: NDArray[np.float32]) -> NDArray[np.complex64]:
    return (real + np.complex64(1j) * imaginary).astype(np.complex64)


def _consistent(
    ours: tuple[NDArray[np.complex64], NDArray[np.complex64]],
    theirs: tuple[NDArray[np.complex64], NDArray[np.complex64]],
) -> NDArray[np.bool_]:
    """Which of M matches the best of the M transforms that they propose carries over; none if it is degenerate."""
    (start, own), (end, other) = ours, theirs
    turns = other / own  # of each match: scale and turn in one
    logs = np.log2(np.abs(turns))
    angles = np.angle(turns)
    alike = np.abs(logs[:, None] - logs) < SAME_SCALE
    alike &= np.abs((angles[:, None] - angles + np.pi) % (2 * np.pi) - np.pi) < SAME_ANGLE
    shifts = end - turns * start
    errors = np.abs(turns[:, None] * start + shifts[:, None] - end)  # (transform, match)
    agreeing = alike & (errors < 2 * TOLERANCE_PX)  # a single match's scale and angle are coarse: twice the tolerance
    best = int(agreeing.sum(axis=1).argmax())
    inside, frames = agreeing[best], alike[best]
    none = np.zeros(len(start), np.bool_)
    for _ in range(REFINED):
        if inside.sum() < LEAST_INLIERS:
            return none
        turn, shift = _fitted(start[inside], end[inside])
        if not SCALES[0] <= abs(turn) <= SCALES[1]:
            return none
        inside = frames & (np.abs(turn * start + shift - end) < TOLERANCE_PX)
    return inside if _spread(start[inside]) and _spread(end[inside]) else none


def _fitted(start: NDArray[np.complex64], end: NDArray[np.complex64]) -> tuple[complex, complex]:
    """The least squares a, b of end = a * start + b."""
    centred = start - start.mean()
    turn = complex((centred.conj() * (end - end.mean())).sum() / max(float((np.abs(centred) ** 2).sum()), 1e-6))
    return turn, complex(end.mean()) - turn * complex(start.mean())


def _spread(points: NDArray[np.complex64]) -> bool:
    """Whether points spread over an area rather than along a line."""
    if len(points) < LEAST_INLIERS:
        return False
    centred = np.stack([points.real, points.imag], axis=1).astype(np.float64)
    centred -= centred.mean(axis=0)
    least = float(np.linalg.eigvalsh(centred.T @ centred / len(points))[0])
    return least >= LEAST_SPREAD_PX**2


def _distinct(matches: NDArray[np.intp], query: Features, item: Features) -> NDArray[np.intp]:
    """One match a place: where a place has several angles, SIFT gives it as several features."""
    for column, features in enumerate((query, item)):
        cells = np.floor(features.points[matches[:, column]] * 256).astype(np.int64) @ np.array([1000, 1])
        matches = matches[np.sort(np.unique(cells, return_index=True)[1])]
    return matches
