"""Renders boxes, cartons and pouches: printed faces in space, or one bulging front."""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.synth.designs import ProductDesign
from models.synth.icons import Canvas
from models.synth.label_art import face_texture
from models.synth.patterns import noise_field
from models.synth.views import ViewParams

_Corners = NDArray[np.float64]  # (4, 3): x to the right, y down, z away; clockwise from the picture's upper left


def draw_boxed(design: ProductDesign, tall: int, view: ViewParams) -> Canvas:
    """RGBA (h, w, 4) of a box or carton `tall` pixels high, in perspective: front, one side and the top."""
    yaw = view.yaw + (0.14 if view.yaw >= 0 else -0.14)  # so much that a side always shows
    side = 1.0 if yaw > 0 else -1.0  # the side that is turned to the camera
    w, h = tall * design.aspect / 2, tall / 2
    d = w * design.depth * (1.0 if design.kind == "box" else 0.5 + 0.5 / max(design.depth, 0.5))
    gabled = design.kind == "carton" and design.shape[1] > 0.35
    roof = 0.13 * tall if gabled else 0.0
    brow = -h + roof
    near, far = (-d, d) if side > 0 else (d, -d)
    faces: dict[str, _Corners] = {
        "side": np.array([(side * w, brow, near), (side * w, brow, far), (side * w, h, far), (side * w, h, near)]),
        "front": np.array([(-w, brow, -d), (w, brow, -d), (w, h, -d), (-w, h, -d)]),
    }
    back = np.array([(-w, -h, d), (w, -h, d)])
    if gabled:
        faces["gable"] = np.array([(side * w, -h, 0), (side * w, brow, far), (side * w, brow, near), (side * w, -h, 0)])
        back = np.array([(-w, -h, 0), (w, -h, 0)])
    faces["top"] = np.concatenate([back, [(w, brow, -d), (-w, brow, -d)]])
    if gabled:
        fin = 0.05 * tall
        faces["fin"] = np.array([(-w, -h - fin, 0), (w, -h - fin, 0), (w, -h, 0), (-w, -h, 0)])
    seen = {name: _projected(corners, yaw, view.pitch * 0.8, 3.2 * max(tall, 2 * w)) for name, corners in faces.items()}
    every = np.concatenate(list(seen.values()))
    low = every.min(0) - 2
    width, height = (int(extent) + 3 for extent in every.max(0) - low)
    picture, cover = np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.uint8)
    sideways = float(np.clip(view.light, -0.95, 0.95))
    towards = (1.0 - sideways**2) ** 0.5
    lit = {
        "front": -np.sin(yaw) * sideways + np.cos(yaw) * towards,
        "side": side * (np.cos(yaw) * sideways + np.sin(yaw) * towards),
        "top": 0.85,
    }
    lit |= {"gable": lit["side"] * 0.85, "fin": lit["front"]}
    for name in ("gable", "side", "top", "fin", "front"):
        if name in seen:
            light = view.ambient + (1.08 - view.ambient) * float(np.clip(lit[name], 0.0, 1.0))
            _paste(picture, cover, _face(design, name, faces[name], light, view), seen[name] - low)
    edges = np.zeros((height, width), np.uint8)
    corners = np.round((seen["front"] - low) * 16).astype(np.int32)
    cv2.polylines(edges, [corners], isClosed=True, color=255, thickness=1, lineType=cv2.LINE_AA, shift=4)
    picture += (edges * np.float32(0.09))[..., None]  # worn, lighter edges
    return np.dstack([np.clip(picture, 0, 255), cover]).astype(np.uint8)


def _projected(corners: _Corners, yaw: float, pitch: float, distance: float) -> NDArray[np.float64]:
    """Corners (4, 3) turned and seen from `distance`: (4, 2) in pixels."""
    x, y, z = corners.T
    turned, away = x * np.cos(yaw) + z * np.sin(yaw), -x * np.sin(yaw) + z * np.cos(yaw)
    down, away = y * np.cos(pitch) - away * np.sin(pitch), away * np.cos(pitch) + y * np.sin(pitch)
    near = distance / (distance + away)
    return np.stack([turned * near, down * near], 1)


def _face(design: ProductDesign, name: str, corners: _Corners, light: float, view: ViewParams) -> NDArray[np.float32]:
    """One lit face (rows, columns, 3), flat."""
    columns = max(8, int(np.linalg.norm(corners[1] - corners[0])))
    rows = max(8, int(np.linalg.norm(corners[3] - corners[0])))
    if name in {"gable", "fin"}:
        plain = np.empty((8, 8, 3), np.float32)
        plain[:] = face_texture(design, 16, 16, "top").mean((0, 1)) * light
        return plain
    texture = face_texture(design, max(16, rows), max(16, columns), name).astype(np.float32)
    slant = 0.09 * view.light
    across = np.linspace(1 - slant, 1 + slant, texture.shape[1], dtype=np.float32)
    down = np.linspace(1.04, 0.93, texture.shape[0], dtype=np.float32)[:, None]
    texture *= (across * down * np.float32(light))[..., None]
    if name == "front" and design.gloss > 0.4:  # a window's light across the front
        diagonal = np.linspace(0, 1, texture.shape[1])[None, :] + 0.5 * np.linspace(0, 1, texture.shape[0])[:, None]
        band = np.exp(-(((diagonal - 0.75 - 0.4 * view.light) / 0.2) ** 2)).astype(np.float32)
        texture += (band * np.float32(34 * view.gloss * (design.gloss - 0.3)))[..., None]
    return texture


def _paste(
    picture: NDArray[np.float32], cover: NDArray[np.uint8], face: NDArray[np.float32], corners: NDArray[np.float64]
) -> None:
    rows, columns = face.shape[:2]
    fixed = np.round(corners * 16).astype(np.int32)
    mask = np.zeros(cover.shape, np.uint8)
    cv2.fillConvexPoly(mask, fixed, 255, cv2.LINE_AA, 4)
    if len(np.unique(fixed, axis=0)) == 4:
        source = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
        matrix = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
        size = (cover.shape[1], cover.shape[0])
        warped = cv2.warpPerspective(face, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    else:  # a triangle is of one colour
        warped = np.broadcast_to(face[:1, :1], picture.shape)
    # Only before an empty background may a face's own soft edge show the colour beneath it: the alpha cuts that edge.
    fraction = np.where(cover > 0, mask.astype(np.float32) / 255, (mask > 0).astype(np.float32))[..., None]
    # Far outside the face the warp may hold NaN, and zero times NaN is NaN.
    picture += np.where(fraction > 0, (warped - picture) * fraction, np.float32(0))
    np.maximum(cover, mask, out=cover)


def draw_pouch(design: ProductDesign, tall: int, view: ViewParams) -> Canvas:
    """RGBA (h, w, 4) of a filled bag `tall` pixels high: its front bulges, its sides wave, its seams are pressed flat."""
    width = max(16, int(tall * design.aspect))
    texture = face_texture(design, tall, width, "front")
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    along = np.linspace(-1, 1, tall, dtype=np.float32)[:, None]
    waist = 0.99 - 0.05 * (1 - along**2) - np.float32(0.04 * design.shape[0]) * np.cos(along * 2.2)
    bulge = np.clip(1 - across**2, 0, 1) * np.clip(1 - along**4, 0, 1)
    column = (across / waist * (1 - 0.06 * bulge) - np.float32(view.yaw * 0.35) * bulge + 1) * np.float32(width / 2)
    row = (along * (1 - 0.04 * bulge) + 1) * np.float32(tall / 2)
    picture = cv2.remap(texture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    creases = noise_field(tall, width, max(6.0, width / 5), np.random.default_rng((7008, design.seed)))
    slope = np.asarray(cv2.Sobel(creases, cv2.CV_32F, 1, 0, ksize=5), np.float32)
    slope /= np.abs(slope).max() + np.float32(1e-6)
    side = np.float32(1.0 if view.light >= 0 else -1.0)
    light = 0.55 + 0.45 * np.clip(np.float32(view.light) * across + np.sqrt(bulge), -1, 1)
    light = np.float32(view.ambient) + np.float32(1.05 - view.ambient) * light + np.float32(0.1) * slope * side
    ys = np.arange(tall, dtype=np.float32)
    seam = np.minimum(ys, tall - 1 - ys) < 0.045 * tall
    light *= np.where(seam, 0.9 + 0.1 * np.cos(ys * np.pi / max(2.0, tall * 0.008)), 1.0).astype(np.float32)[:, None]
    picture *= light[..., None]
    picture += (np.clip(slope * side, 0, 1) ** 2 * np.float32(60.0 * design.gloss * view.gloss))[..., None]
    cover = np.clip((waist - np.abs(across)) * np.float32(width / 2) + 0.5, 0, 1) * np.float32(255)
    return np.dstack([np.clip(picture, 0, 255), cover]).astype(np.uint8)
