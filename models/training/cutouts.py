"""Cuts a product out of a gallery photo on a plain background, so that it can be put into scenes."""

import cv2
import numpy as np
from numpy.typing import NDArray

PLAIN_SPREAD = 9.0  # standard deviation of the border in Lab, above which a background isn't plain
TOLERANCE = 11.0  # Lab distance from the border's colour that still is background


def cut_out(image: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """RGB (H, W, 3) -> RGBA (h, w, 4) tight around what stands before a plain background; None where there is none.

    The background is what is connected to the border and close to the border's median colour in CIE Lab.
    """
    lab = cv2.cvtColor(image.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    border = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    ground = np.median(border, axis=0)
    distance = np.linalg.norm(lab - ground, axis=2)
    rim = np.linalg.norm(border - ground, axis=1)
    if np.percentile(rim, 85) > PLAIN_SPREAD:
        return None
    alike = (distance < TOLERANCE).astype(np.uint8)
    _, parts = cv2.connectedComponents(alike, connectivity=4)
    touching = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    background = np.isin(parts, touching[touching > 0])
    solid = cv2.morphologyEx((~background).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    count, regions, stats, _ = cv2.connectedComponentsWithStats(solid)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    share = stats[largest, cv2.CC_STAT_AREA] / solid.size
    if not 0.03 < share < 0.9:
        return None
    alpha = cv2.GaussianBlur((regions == largest).astype(np.float32) * 255.0, (3, 3), 0).astype(np.uint8)
    x, y, w, h = (int(stats[largest, column]) for column in range(4))
    return np.ascontiguousarray(np.dstack([image, alpha])[y : y + h, x : x + w])
