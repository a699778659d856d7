"""One view of a drawn product: its body in space, lit from somewhere, as an RGBA cut-out.

Round packages map each pixel of the silhouette back to the label's angle and height (a cylinder seen from the front, a
little from above); flat ones project the faces of a box; pouches bend their front.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.training.designs import ProductDesign
from models.training.label_art import face_texture, wrap_texture
from models.training.patterns import noise_field
from models.training.silhouettes import ROUND_KINDS, round_body

SUPERSAMPLING = 2
Picture = NDArray[np.float32]


@dataclass(frozen=True)
class ViewParams:
    """How a product is seen. Neutral values are a packshot's.

    `yaw` turns it around its vertical axis and `roll` tilts the picture (radians); `pitch` is how far the camera looks
    down (share of the radius); `light` is where the light stands, -1 (left) to 1 (right); `warmth` the light's colour.
    """

    yaw: float = 0.0
    pitch: float = 0.1
    roll: float = 0.0
    light: float = -0.4
    ambient: float = 0.62
    gloss: float = 1.0
    gain: float = 1.0
    warmth: float = 0.0
    blur_px: float = 0.0
    noise: float = 0.0
    squeeze: float = 1.0


def random_view(rng: np.random.Generator) -> ViewParams:
    """A view as a phone or shelf gives it."""
    return ViewParams(
        yaw=float(np.clip(rng.normal(0.0, 0.28), -0.8, 0.8)),
        pitch=float(rng.uniform(0.0, 0.28)),
        roll=float(rng.normal(0.0, 0.06)),
        light=float(rng.uniform(-1.0, 1.0)),
        ambient=float(rng.uniform(0.45, 0.8)),
        gloss=float(rng.uniform(0.2, 1.2)),
        gain=float(rng.uniform(0.8, 1.15)),
        warmth=float(rng.normal(0.0, 0.03)),
        blur_px=float(rng.uniform(0.3, 1.2)) if rng.random() < 0.25 else 0.0,
        noise=float(rng.uniform(1.0, 5.0)) if rng.random() < 0.3 else 0.0,
        squeeze=float(rng.uniform(0.92, 1.08)),
    )


def render_product(
    design: ProductDesign, size_px: int, rng: np.random.Generator, *, view: ViewParams | None = None
) -> NDArray[np.uint8]:
    """One view, RGBA (h, w, 4), tight around the product; its longer side is about `size_px`. Random unless `view` is given."""
    seen = view if view is not None else random_view(rng)
    tall = size_px * SUPERSAMPLING if design.aspect <= 1.0 else round(size_px * SUPERSAMPLING / design.aspect)
    if design.kind in ROUND_KINDS:
        rgba = _round(design, tall, seen)
    elif design.kind == "pouch":
        rgba = _pouch(design, tall, seen)
    else:
        rgba = _boxed(design, tall, seen)
    rgba = _tilted(rgba, seen.roll, seen.squeeze)
    small = cv2.resize(_tight(rgba), None, fx=1 / SUPERSAMPLING, fy=1 / SUPERSAMPLING, interpolation=cv2.INTER_AREA)
    return _finished(np.asarray(small, np.float32), seen, rng)


def packshot(design: ProductDesign, size_px: int) -> NDArray[np.uint8]:
    """A neutral view on white with a soft shadow, as shops photograph for their gallery. RGB (h, w, 3)."""
    cut = render_product(design, size_px, np.random.default_rng(design.seed), view=ViewParams())
    margin = max(4, size_px // 14)
    padded = np.pad(cut, ((margin, margin), (margin, margin), (0, 0))).astype(np.float32)
    alpha = padded[..., 3:] / 255.0
    shadow = cv2.GaussianBlur(np.roll(alpha[..., 0], margin // 3, axis=0), (0, 0), margin / 2.5)[..., None]
    behind = 255.0 - 46.0 * shadow
    return (padded[..., :3] * alpha + behind * (1.0 - alpha)).astype(np.uint8)


def _round(design: ProductDesign, tall: int, view: ViewParams) -> Picture:
    """A body of revolution. Each pixel finds its height and angle; a lid shows when looked down upon."""
    body = round_body(design)
    radius = tall * design.aspect / 2
    drop = view.pitch * radius * 0.55  # how far the front of a level circle hangs below its sides
    height, width = int(tall + drop) + 2, int(2 * radius) + 4
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float64)
    xs -= (width - 1) / 2
    # The front's sag depends on the radius there, which depends on the height: two rounds settle it.
    level = ys / tall
    for _ in range(2):
        radii = body.radius_at(np.clip(level, 0, 1)) * radius
        across = np.clip(xs / np.maximum(radii, 1e-6), -1.0, 1.0)
        facing = np.sqrt(1.0 - across**2)
        level = (ys - drop * facing * (radii / radius)) / tall
    inside = (np.abs(xs) <= radii) & (level <= 1.0) & (level >= 0.0)
    angle = np.arcsin(across) + view.yaw
    colours = _skin(design, body.label, body.cap_end, body.metal, level, angle, tall, radius)
    shine = _cylinder_light(across, facing, view, design.gloss if not body.metal else 0.5 + 0.5 * design.gloss)
    picture = colours * shine[0][..., None] + 255.0 * shine[1][..., None]
    top_radius = float(body.radii[0]) * radius
    lid = (xs / max(top_radius, 1.0)) ** 2 + ((ys - 0.5) / max(drop * body.radii[0], 1e-3)) ** 2 <= 1.0
    lid_colour = np.array((198, 200, 204) if body.metal else design.cap, np.float64) * (0.92 * view.ambient + 0.34)
    picture[lid] = np.clip(lid_colour, 0, 255)
    return _rgba(picture, inside | lid)


def _skin(
    design: ProductDesign,
    label: tuple[float, float],
    cap_end: float,
    metal: bool,
    level: NDArray[np.float64],
    angle: NDArray[np.float64],
    tall: int,
    radius: float,
) -> NDArray[np.float64]:
    """Unlit colour of each pixel: cap, bare body (metal, or the content behind glass) and the wrapped label."""
    rows, columns = max(16, int((label[1] - label[0]) * tall)), max(32, int(2 * np.pi * radius))
    texture = wrap_texture(design, rows, columns)
    column = ((angle / (2 * np.pi) + 0.25) % 1.0) * columns
    row = (level - label[0]) / (label[1] - label[0]) * rows
    wrapped = cv2.remap(
        texture, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    ).astype(np.float64)
    bare = np.array((202, 204, 208) if metal else design.content, np.float64)
    skin = np.broadcast_to(bare, wrapped.shape).copy()
    on_label = (level >= label[0]) & (level <= label[1])
    skin[on_label] = wrapped[on_label]
    if not metal:
        cap = level < cap_end
        ribs = 0.94 + 0.06 * np.cos(angle * 34)
        skin[cap] = (np.array(design.cap, np.float64) * ribs[..., None])[cap]
    edge = np.minimum(np.abs(level - label[0]), np.abs(level - label[1])) * tall
    skin[(edge < 1.2) & (level > cap_end)] *= 0.86  # the paper's rim
    return skin


def _cylinder_light(
    across: NDArray[np.float64], facing: NDArray[np.float64], view: ViewParams, gloss: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Diffuse factor and added highlight of a surface whose normal is (across, facing)."""
    sideways = np.clip(view.light, -0.95, 0.95)
    towards = np.sqrt(1.0 - sideways**2)
    lambert = np.clip(across * sideways + facing * towards, 0.0, 1.0)
    diffuse = view.ambient + (1.06 - view.ambient) * lambert
    diffuse *= 0.72 + 0.28 * np.sqrt(facing)  # less sky is seen near the silhouette
    halfway = sideways / np.hypot(sideways, 1.0 + towards)
    streak = np.exp(-(((across - halfway) / 0.09) ** 2)) + 0.35 * np.exp(-(((across + 0.78 * np.sign(sideways or 1.0)) / 0.06) ** 2))
    return diffuse, 0.3 * gloss * view.gloss * streak


def _boxed(design: ProductDesign, tall: int, view: ViewParams) -> Picture:
    """A cuboid in weak perspective: front, one side, top; a carton's top is folded to a gable."""
    width = tall * design.aspect
    depth = width * design.depth
    yaw = view.yaw * 1.3 + (0.12 if view.yaw >= 0 else -0.12)
    rise = view.pitch * 0.7
    distance = 3.2 * max(tall, width)

    def project(x: float, y: float, z: float) -> tuple[float, float]:
        turned = x * np.cos(yaw) + z * np.sin(yaw)
        away = -x * np.sin(yaw) + z * np.cos(yaw)
        up = y * np.cos(rise) - away * np.sin(rise)
        near = distance / (distance + away * np.cos(rise) + y * np.sin(rise))
        return turned * near, up * near

    w, h, d = width / 2, tall / 2, depth / 2
    side_x = -w if yaw > 0 else w
    gable = 0.16 * tall if design.kind == "carton" else 0.0
    faces = {
        "front": [(-w, -h + gable, -d), (w, -h + gable, -d), (w, h, -d), (-w, h, -d)],
        "side": _ordered_side(side_x, h, d, gable),
        "top": [(-w, -h, d), (w, -h, d), (w, -h, -d), (-w, -h, -d)],
    }
    if gable:
        fold = 0.25 * d
        faces["top"] = [(-w, -h, -fold), (w, -h, -fold), (w, -h + gable, -d), (-w, -h + gable, -d)]
    corners = {name: np.array([project(*corner) for corner in face], np.float32) for name, face in faces.items()}
    every = np.concatenate(list(corners.values()))
    if gable:
        tip = np.array([project(side_x, -h, 0.0)], np.float32)
        every = np.concatenate([every, tip])
    low, high = every.min(0) - 2, every.max(0) + 2
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    canvas, cover = np.zeros((size[1], size[0], 3), np.float32), np.zeros((size[1], size[0]), np.float32)
    sideways = float(np.clip(view.light * (1 if side_x > 0 else -1), -1, 1))
    lights = {"top": 1.08, "side": view.ambient + (1.02 - view.ambient) * (0.45 + 0.45 * sideways), "front": 1.0 - 0.1 * sideways}
    if gable:
        triangle = np.stack([tip[0], corners["side"][0], corners["side"][1]]) - low
        shade = np.array(design.base, np.float32) * lights["side"] * 0.9
        _fill(canvas, cover, triangle, shade)
    for name in ("top", "side", "front"):
        _paste_face(canvas, cover, design, name, corners[name] - low, lights[name], (width, tall - gable, depth))
    return _rgba(canvas.astype(np.float64), cover > 0.5)


def _ordered_side(x: float, h: float, d: float, gable: float) -> list[tuple[float, float, float]]:
    """The visible side's corners, as its texture reads: from its left to its right."""
    near, far = (-d, d) if x > 0 else (d, -d)
    return [(x, -h + gable, near), (x, -h + gable, far), (x, h, far), (x, h, near)]


def _paste_face(
    canvas: Picture,
    cover: Picture,
    design: ProductDesign,
    name: str,
    corners: Picture,
    light: float,
    sizes: tuple[float, float, float],
) -> None:
    width, tall, depth = sizes
    columns, rows = {"front": (width, tall), "side": (depth, tall), "top": (width, depth)}[name]
    texture = face_texture(design, max(16, int(rows)), max(16, int(columns)), name)
    height, across = texture.shape[:2]
    source = np.array([[0, 0], [across, 0], [across, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
    size = (canvas.shape[1], canvas.shape[0])
    warped = cv2.warpPerspective(texture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 255)
    shown = mask > 0
    canvas[shown] = warped[shown].astype(np.float32) * light
    cover[shown] = 1.0


def _fill(canvas: Picture, cover: Picture, points: Picture, colour: Picture) -> None:
    mask = np.zeros(canvas.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.round(points).astype(np.int32), 255)
    canvas[mask > 0] = colour
    cover[mask > 0] = 1.0


def _pouch(design: ProductDesign, tall: int, view: ViewParams) -> Picture:
    """A filled bag: its front bulges, its edges wave, its seams are pressed flat."""
    width = int(tall * design.aspect)
    texture = face_texture(design, tall, width, "front")
    ys, xs = np.mgrid[0:tall, 0:width].astype(np.float64)
    across, along = xs / width * 2 - 1, ys / tall * 2 - 1
    waist = 1.0 - 0.05 * (1 - along**2) - 0.04 * design.shape[0] * np.cos(along * 2.2)
    bulge = np.clip(1 - across**2, 0, 1) * np.clip(1 - along**4, 0, 1)
    shift = view.yaw * 0.35 * bulge
    column = ((across / waist) * (1 - 0.06 * bulge) - shift + 1) / 2 * width
    row = (along * (1 - 0.04 * bulge) + 1) / 2 * tall
    colours = cv2.remap(
        texture, column.astype(np.float32), row.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float64)
    creases = noise_field(tall, width, max(6.0, width / 5), np.random.default_rng(design.seed)).astype(np.float64)
    slope = cv2.Sobel(creases, cv2.CV_64F, 1, 0, ksize=5)
    slope /= np.abs(slope).max() + 1e-6
    light = view.ambient + (1.05 - view.ambient) * (0.55 + 0.45 * np.clip(view.light * across + np.sqrt(bulge), -1, 1))
    light += 0.1 * slope * np.sign(view.light or 1.0)
    highlight = np.clip(slope, 0, 1) ** 3 * 46.0 * design.gloss * view.gloss
    seam = np.minimum(ys, tall - 1 - ys) < 0.045 * tall
    ridges = np.where(seam, 0.9 + 0.1 * np.cos(ys * np.pi / max(2.0, tall * 0.008)), 1.0)
    picture = colours * (light * ridges)[..., None] + highlight[..., None]
    return _rgba(picture, np.abs(across) <= waist)


def _rgba(picture: NDArray[np.float64], inside: NDArray[np.bool_]) -> Picture:
    alpha = inside.astype(np.float32)[..., None] * 255.0
    return np.concatenate([np.clip(picture, 0, 255).astype(np.float32), alpha], axis=2)


def _tilted(rgba: Picture, roll: float, squeeze: float) -> Picture:
    """Turned in the picture plane and stretched a little; colours carried under the alpha so that edges stay clean."""
    if roll == 0.0 and squeeze == 1.0:
        return rgba
    height, width = rgba.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), np.degrees(roll), 1.0)
    matrix[0] *= squeeze
    corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]]) @ matrix.T
    low, high = corners.min(0), corners.max(0)
    matrix[:, 2] -= low
    size = (int(np.ceil(high[0] - low[0])), int(np.ceil(high[1] - low[1])))
    colours = cv2.warpAffine(
        np.ascontiguousarray(rgba[..., :3]), matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    alpha = cv2.warpAffine(np.ascontiguousarray(rgba[..., 3]), matrix, size, flags=cv2.INTER_LINEAR)
    return np.concatenate([colours, alpha[..., None]], axis=2)


def _tight(rgba: Picture) -> Picture:
    ys, xs = np.nonzero(rgba[..., 3] > 127)
    return np.ascontiguousarray(rgba[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1])


def _finished(rgba: Picture, view: ViewParams, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The camera's part: exposure, colour of the light, focus and noise."""
    colours, alpha = rgba[..., :3], rgba[..., 3:]
    colours = colours * np.array([1 + view.warmth, 1.0, 1 - view.warmth], np.float32) * view.gain
    if view.blur_px:
        colours = cv2.GaussianBlur(colours, (0, 0), view.blur_px)
    if view.noise:
        colours = colours + rng.normal(0.0, view.noise, colours.shape).astype(np.float32)
    return np.concatenate([np.clip(colours, 0, 255), alpha], axis=2).astype(np.uint8)
