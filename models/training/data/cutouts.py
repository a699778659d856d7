"""Cuts a product out of a gallery photo on a plain background, so that it can be put into scenes."""

import cv2
import numpy as np
from numpy.typing import NDArray

PLAIN_SPREAD = 9.0  # Lab distance from the border's colour, within which 85 % of a plain border lies
TOLERANCE = 11.0  # Lab distance from the border's colour that still is background
SHADOW_DEPTH, SHADOW_TINT = 30.0, 5.0  # how much darker, and how differently coloured, a shadow's ground may be
EDGE = 2.2  # change of Lab from pixel to pixel that background doesn't have: a flood ends there
LEAST_SOLID = 0.7  # of its convex hull that a package fills; a bottle fills about four fifths
LEAST_PIECE = 0.003  # of the photo that a piece of a torn product takes
LEAST_FRACTION, MOST_FRACTION = 0.03, 0.92  # of the photo, that a product takes


def cut_out(image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """RGB (H, W, 3) -> RGBA (h, w, 4) tight around what stands before a plain background; None where there is none.

    The background is flooded from the photo's border in CIE Lab: what has the border's colour, or is its shadow, up to the
    first edge. So a white product on white stays whole where its outline can be seen.
    """
    if min(image.shape[:2]) < 16:
        return None
    lab = np.asarray(cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB), np.float32)
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    ground = np.median(border, axis=0)
    if np.percentile(np.linalg.norm(border - ground, axis=1), 85) > PLAIN_SPREAD:
        return None
    difference = lab - ground.astype(np.float32)
    tint = np.hypot(difference[..., 1], difference[..., 2])
    shadow = (tint < SHADOW_TINT) & (difference[..., 0] < 0) & (difference[..., 0] > -SHADOW_DEPTH)
    alike = (np.linalg.norm(difference, axis=2) < TOLERANCE) | shadow
    smooth = np.asarray(cv2.GaussianBlur(lab, (0, 0), 0.8), np.float32)  # a camera's noise is no edge
    steepness = np.maximum(
        *(np.abs(cv2.Sobel(smooth, cv2.CV_32F, *way, ksize=3)).max(2) / 8 for way in ((1, 0), (0, 1)))
    )
    flooded = _touching_border(alike & (steepness < EDGE))
    # The flood stops short of an edge by the width of its filter: let it take up what is alike there.
    background = cv2.dilate(flooded, np.ones((5, 5), np.uint8)).astype(np.bool_) & alike
    solid = cv2.morphologyEx((~background).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, regions, stats, _ = cv2.connectedComponentsWithStats(solid)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    if not LEAST_FRACTION < stats[largest, cv2.CC_STAT_AREA] / solid.size < MOST_FRACTION:
        return None
    product = (regions == largest).astype(np.uint8)
    if product.sum() < LEAST_SOLID * _hull(product).sum():  # only its prints could be distinguished from the wall
        pieces = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] > LEAST_PIECE * solid.size)
        product = _hull(np.isin(regions, pieces[pieces > 0]).astype(np.uint8))
    alpha = cv2.GaussianBlur(product * np.float32(255), (3, 3), 0).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(product)
    return np.ascontiguousarray(np.dstack([image, alpha])[y : y + h, x : x + w])


def _touching_border(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The parts of a mask that reach the picture's border, as 0 and 1."""
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    rim = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    return np.isin(parts, rim[rim > 0]).astype(np.uint8)


def _hull(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The convex hull of what is set, as 0 and 1."""
    points = np.argwhere(mask)[:, ::-1].astype(np.int32)
    filled = np.zeros_like(mask)
    cv2.fillConvexPoly(filled, cv2.convexHull(points), 1)
    return filled
