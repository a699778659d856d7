"""Draws the page's icons for home screens, as icon.svg has it: `python -m web.pages.icons` writes them to web/static."""

from __future__ import annotations

from math import cos, pi, sin
from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).parents[1] / "static"
GROUND, LINE, BOTTLE = "#0f5f66", "#ffffff", "#ffd166"
SIDE = 36.0  # of icon.svg's view box
SMOOTH = 4  # pixels drawn for each one kept, a side
CORNER, PEN = 1.5, 2.4
STEPS = 8  # of a corner's arc
BOTTLE_OUTLINE = ((15.5, 11.5), (20.5, 11.5), (20.5, 13.7), (22, 16), (22, 24.5), (14, 24.5), (14, 16), (15.5, 13.7))
# name -> side in pixels, whether systems cut it to their shape: then the ground fills it, and the drawing keeps to the middle
ICONS = {
    "icon-180.png": (180, True),
    "icon-192.png": (192, False),
    "icon-512.png": (512, False),
    "icon-maskable-512.png": (512, True),
}
MIDDLE = 0.88  # of the drawing, within the circle that every shape leaves


def draw(side: int, *, maskable: bool) -> Image.Image:
    """The icon, `side` pixels square, RGBA."""
    large = side * SMOOTH
    scale = large / SIDE * (MIDDLE if maskable else 1.0)
    offset = (large - SIDE * scale) / 2
    picture = Image.new("RGBA", (large, large), GROUND if maskable else "#00000000")
    pen = ImageDraw.Draw(picture)
    if not maskable:
        pen.rounded_rectangle((0, 0, large - 1, large - 1), 8 * scale, fill=GROUND)

    def at(x: float, y: float) -> tuple[float, float]:
        return offset + x * scale, offset + y * scale

    for flip_x in (False, True):
        for flip_y in (False, True):
            points = [at(SIDE - x if flip_x else x, SIDE - y if flip_y else y) for x, y in _bracket()]
            pen.line(points, fill=LINE, width=round(PEN * scale), joint="curve")
            for x, y in points:  # round ends and joints
                reach = PEN * scale / 2
                pen.ellipse((x - reach, y - reach, x + reach, y + reach), fill=LINE)
    pen.polygon([at(x, y) for x, y in BOTTLE_OUTLINE], fill=BOTTLE)
    return picture.resize((side, side), Image.Resampling.BOX)


def _bracket() -> list[tuple[float, float]]:
    """The bracket at the upper left, from its lower end to its right one."""
    centre = 8 + CORNER
    angles = [pi + pi / 2 * step / STEPS for step in range(STEPS + 1)]
    arc = [(centre + CORNER * cos(angle), centre + CORNER * sin(angle)) for angle in angles]
    return [(8.0, 14.0), *arc, (14.0, 8.0)]


def main() -> None:
    """Writes all of them."""
    for name, (side, maskable) in ICONS.items():
        draw(side, maskable=maskable).save(FOLDER / name, optimize=True)


if __name__ == "__main__":
    main()
