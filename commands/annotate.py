"""Draws answers over a photo: a box, its label and its similarity."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Readable beside one another and on photos; the text on them is white.
COLOURS = ((31, 98, 186), (190, 60, 20), (22, 122, 62), (132, 56, 170), (176, 30, 92), (12, 116, 128))
WHITE = (255, 255, 255)


def own_name(stem: str, ending: str, taken: set[str]) -> str:
    """A file name that is not yet `taken`, and takes it: photos of different folders may be called alike."""
    name, number = f"{stem}{ending}", 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}{ending}"
    taken.add(name)
    return name


def annotate(image: NDArray[np.uint8], recognitions: Sequence[Mapping[str, Any]]) -> Image.Image:
    """`image` (H, W, 3) RGB with `recognitions` (each with `box`, `label`, `similarity`) drawn over it."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    size = max(12, round(min(picture.size) / 32))
    font = ImageFont.load_default(size)
    line = max(2, size // 6)
    labels = sorted({str(found["label"]) for found in recognitions})
    for found in recognitions:
        colour = COLOURS[labels.index(str(found["label"])) % len(COLOURS)]
        x1, y1, x2, y2 = (float(value) for value in found["box"])
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=line)
        text = f"{found['label']}  {found['similarity']:.2f}"
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        width, height = right - left + 2 * line, bottom - top + 2 * line
        x = min(max(0.0, x1), max(0.0, picture.width - width))
        y = y1 - height if y1 >= height else y1
        draw.rectangle((x, y, x + width, y + height), fill=colour)
        draw.text((x + line - left, y + line - top), text, fill=WHITE, font=font)
    return picture
