"""Renders bottles, cans, jars and tubs: each pixel finds the height and the angle of the body that it shows.

The camera looks from far, a little from above: a level circle of the body is a flat ellipse in the picture, so the front
of the label hangs lower than its sides, and the lid shows.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from models.synth.designs import ProductDesign
from models.synth.icons import Canvas
from models.synth.label_art import wrap_texture
from models.synth.silhouettes import RoundBody, round_body
from models.synth.views import ViewParams

_Field = NDArray[np.float32]  # (H, W)
_STEPS = 1024  # heights at which a body is tabulated
_METAL = (203, 206, 211)


def draw_round(design: ProductDesign, tall: int, view: ViewParams) -> Canvas:
    """RGBA (h, w, 4) of a round package whose body is `tall` pixels high."""
    body = round_body(design)
    radius = tall * design.aspect / 2
    drop = view.pitch * radius * 0.55  # how far the front of the widest level circle hangs below its sides
    height, width = int(tall + 2 * drop) + 3, int(2 * radius) + 4
    xs = (np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2))[None, :]
    ys = (np.arange(height, dtype=np.float32) - np.float32(drop * body.radii[0] + 1))[:, None]
    table = body.sampled(_STEPS)
    # The front's sag depends on the radius there, which depends on the height: two rounds are enough.
    level = np.broadcast_to(ys / np.float32(tall), (height, width))
    for _ in range(2):
        fraction = table[_row_of(level)]
        across = np.clip(xs / (fraction * np.float32(radius)), -1, 1)
        facing = np.sqrt(1 - across * across)
        level = (ys - np.float32(drop) * facing * fraction) / np.float32(tall)
    cover = np.clip(fraction * np.float32(radius) - np.abs(xs) + 0.5, 0, 1)
    cover *= np.clip((1 - level) * tall + 0.5, 0, 1) * np.clip(level * tall + 0.5, 0, 1)
    rows = _row_of(level)
    picture = _skin(design, body, level, rows, np.arcsin(across) + np.float32(view.yaw), tall)
    diffuse, shine = _light(table, radius / tall, rows, across, facing, view, design.gloss, metal=body.metal)
    picture *= diffuse[..., None]
    picture += shine[..., None]
    np.clip(picture, 0, 255, out=picture)
    rgba = np.dstack([picture, cover * 255]).astype(np.uint8)
    if drop > 1:
        _lid(rgba, design, body, (width - 1) / 2, drop * body.radii[0] + 1, radius * body.radii[0], view)
    return rgba


def _row_of(level: _Field) -> NDArray[np.int32]:
    return np.clip(level * (_STEPS - 1), 0, _STEPS - 1).astype(np.int32)


def _skin(
    design: ProductDesign, body: RoundBody, level: _Field, rows: NDArray[np.int32], angle: _Field, tall: int
) -> NDArray[np.float32]:
    """Unlit colours (H, W, 3): the wrapped label, and around it cap, glass or metal."""
    top, bottom = body.label
    columns = max(32, int(np.pi * tall * design.aspect))
    texture = wrap_texture(design, max(16, int((bottom - top) * tall)), columns)
    column = ((angle * np.float32(1 / (2 * np.pi)) + np.float32(0.25)) % 1) * columns
    row = (level - np.float32(top)) * np.float32(texture.shape[0] / (bottom - top))
    wrapped = cv2.remap(texture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP).astype(np.float32)
    at = np.linspace(0, 1, _STEPS)
    edge = np.minimum(at - top, bottom - at) * tall  # pixels inside the label, at each height
    bare = _bare_colours(design, body, at)
    bare[(np.abs(edge) < 1.5) & (at > body.cap_end)] *= 0.8  # the paper's rim
    paper = np.clip(edge, 0, 1).astype(np.float32)[rows][..., None]
    skin = bare[rows]
    if not body.metal and body.cap_end * tall > 6:
        ribs = np.where(at[rows] < body.cap_end, 0.07 * np.cos(angle * 34), 0).astype(np.float32)
        skin *= 1 + ribs[..., None]
    return np.asarray(skin + (wrapped - skin) * paper, np.float32)


def _bare_colours(design: ProductDesign, body: RoundBody, at: NDArray[np.float64]) -> NDArray[np.float32]:
    """What each height shows where there is no label (steps, 3)."""
    colours = np.empty((len(at), 3), np.float32)
    if body.metal:
        colours[:] = _METAL
        colours[(at > 0.012) & (at < 0.026)] *= 0.7
        return colours
    colours[:] = design.content
    if design.kind == "bottle":  # air above the liquid
        surface = body.cap_end + 0.05 + 0.12 * design.shape[1]
        colours[at < surface] += (np.array([238, 242, 240]) - design.content) * 0.45
    colours[at > 0.975] *= 0.8
    colours[at < body.cap_end] = design.cap
    colours[(at > body.cap_end - 0.012) & (at < body.cap_end)] *= 0.72
    return colours


def _light(
    table: _Field,
    slimness: float,
    rows: NDArray[np.int32],
    across: _Field,
    facing: _Field,
    view: ViewParams,
    gloss: float,
    *,
    metal: bool,
) -> tuple[_Field, _Field]:
    """Diffuse factor and added highlight (H, W) of the body, lit from the side and a little from above."""
    sideways = float(np.clip(view.light, -0.95, 0.95))
    towards = (1.0 - sideways**2) ** 0.5
    slope = np.gradient(table) * slimness * _STEPS  # how the surface leans, at each height: > 0 looks up
    leaning = np.clip(slope, -1.5, 1.5) / np.sqrt(1 + np.clip(slope, -1.5, 1.5) ** 2)
    lambert = np.clip(across * np.float32(sideways) + facing * np.float32(towards), 0, 1)
    diffuse = np.float32(view.ambient) + np.float32(1.08 - view.ambient) * lambert
    diffuse *= 0.7 + 0.3 * np.sqrt(facing)  # less sky is seen near the silhouette
    diffuse *= (1 + 0.28 * leaning).astype(np.float32)[rows]
    halfway = sideways / float(np.hypot(sideways, 1.0 + towards))
    rim = -0.78 * (1.0 if sideways >= 0 else -1.0)
    streak = np.exp(-(((across - np.float32(halfway)) / np.float32(0.1)) ** 2))
    streak += np.float32(0.35) * np.exp(-(((across - np.float32(rim)) / np.float32(0.06)) ** 2))
    strength = 76.0 * view.gloss * (0.4 + 0.6 * gloss if metal else gloss)
    if metal:
        diffuse *= 1 + np.float32(0.08) * np.cos(across * np.float32(9))
    return diffuse, streak * (strength * (1 - 0.5 * np.abs(leaning))).astype(np.float32)[rows]


def _lid(
    rgba: Canvas, design: ProductDesign, body: RoundBody, x: float, y: float, radius: float, view: ViewParams
) -> None:
    """The top that shows when looked down upon; a can's with its sunk plate and ring."""
    squash = view.pitch * 0.55
    bright = 0.9 + 0.2 * view.ambient

    def oval(fraction: float, colour: tuple[int, int, int], factor: float) -> None:
        red, green, blue = (min(255, round(channel * factor)) for channel in colour)
        centre, axes = (
            (round(x * 16), round(y * 16)),
            (round(radius * fraction * 16), round(radius * squash * fraction * 16)),
        )
        cv2.ellipse(rgba, centre, axes, 0, 0, 360, (red, green, blue, 255), -1, cv2.LINE_AA, 4)

    colour = _METAL if body.metal else design.cap
    oval(1.0, colour, bright)
    if body.metal:
        oval(0.88, colour, 0.72 * bright)
        oval(0.8, colour, 0.9 * bright)
        oval(0.25, colour, 0.68 * bright)
    else:
        oval(0.86, colour, 1.08 * bright)
