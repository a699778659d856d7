"""Draws answers over a photo: a box, its label and its probability. A label that no font can write is a number there."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

# Readable beside one another and on photos; the text on them is white.
MOST_CERTAIN = 0.99  # as it is written: no answer is certain
COLOURS = ((31, 98, 186), (190, 60, 20), (22, 122, 62), (132, 56, 170), (176, 30, 92), (12, 116, 128))
WHITE = (255, 255, 255)
SMALLEST_PX = 12
# Pillow's own font has little more than ASCII. These are asked after it, where the system has them: first those of most
# alphabets, then Chinese, Japanese and Korean ones of Linux, Windows and macOS.
FONTS = (
    "DejaVuSans.ttf", "arial.ttf", "Arial.ttf",
    "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf",
    "msyh.ttc", "malgun.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "Arial Unicode.ttf",
)  # fmt: skip
NO_CHARACTER = "\U0010fffe"  # that no font has: it is drawn as all that is missing

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def own_name(stem: str, ending: str, taken: set[str]) -> str:
    """A file name that is not yet `taken`, and takes it: photos of different folders may be called alike."""
    name, number = f"{stem}{ending}", 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}{ending}"
    taken.add(name)
    return name


def legend(recognitions: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The labels that no font here can write, and the numbers that `annotate` draws in place of them."""
    unwritten = [label for label in _labels(recognitions) if font_for(label, SMALLEST_PX) is None]
    return {label: number for number, label in enumerate(unwritten, start=1)}


def annotate(image: NDArray[np.uint8], recognitions: Sequence[Mapping[str, Any]]) -> Image.Image:
    """`image` (H, W, 3) RGB with `recognitions` drawn over it (each with `box`, `label`, and `probability` or a `confidence`); see `legend`."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    size = max(SMALLEST_PX, round(min(picture.size) / 32))
    line = max(2, size // 6)
    labels, numbers = _labels(recognitions), legend(recognitions)
    for found in recognitions:
        label = str(found["label"])
        colour = COLOURS[labels.index(label) % len(COLOURS)]
        x1, y1, x2, y2 = (float(value) for value in found["box"])
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=line)
        written = f"#{numbers[label]}" if label in numbers else label
        certainty = found["probability"] if "probability" in found else found["confidence"]
        text = f"{written}  {min(certainty, MOST_CERTAIN):.0%}"
        font = font_for(written, size) or ImageFont.load_default(size)
        left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
        width, height = right - left + 2 * line, bottom - top + 2 * line
        x = min(max(0.0, x1), max(0.0, picture.width - width))
        y = y1 - height if y1 >= height else y1
        draw.rectangle((x, y, x + width, y + height), fill=colour)
        draw.text((x + line - left, y + line - top), text, fill=WHITE, font=font)
    return picture


def font_for(text: str, size_px: int) -> Font | None:
    """The first font that can write all of `text`, or None."""
    for name in ("", *FONTS):
        font = _font(name, size_px)
        if font is not None and _covers(font, text):
            return font
    return None


def _labels(recognitions: Sequence[Mapping[str, Any]]) -> list[str]:
    return sorted({str(found["label"]) for found in recognitions})


@cache
def _font(name: str, size_px: int) -> Font | None:
    """A font of the system by its file's name, Pillow's own by none; None if there is none of that name."""
    try:
        return ImageFont.truetype(name, size_px) if name else ImageFont.load_default(size_px)
    except OSError:
        return None


def _covers(font: Font, text: str) -> bool:
    missing = _drawn(font, NO_CHARACTER)
    return all(character == " " or _drawn(font, character) != missing for character in text)


def _drawn(font: Font, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)
