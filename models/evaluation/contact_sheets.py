"""Pictures of what an embedder answers: a row for each query, its nearest gallery pictures, framed green or red.

Also how labels are written into pictures: cut to their width, or by number where no font has their characters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

RIGHT, WRONG, QUERY = (30, 140, 60), (200, 40, 40), (110, 110, 110)
INK, PAPER = (30, 30, 30), (255, 255, 255)
SHOWN, ROWS = 6, 12  # neighbours of a query, and queries, in a sheet
CELL_PX, FRAME_PX, GAP_PX, TEXT_PX = 112, 4, 10, 13
# Fonts with Chinese, Japanese and Korean characters, as Linux, macOS and Windows have them.
WIDE_FONTS = ("NotoSansCJK-Regular.ttc", "wqy-zenhei.ttc", "wqy-microhei.ttc", "PingFang.ttc", "msyh.ttc", "simhei.ttf")
NO_CHARACTER = "\U0010ffff"  # rendered as whatever a font draws for what it has not

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Near:
    """A gallery picture as an answer."""

    path: Path
    label: str
    similarity: float
    right: bool


@dataclass(frozen=True)
class Query:
    """A query and its nearest, most similar first."""

    path: Path
    label: str
    near: tuple[Near, ...]


def draw_neighbours(
    queries: Sequence[Query],
    title: str,
    file: Path,
    read: Callable[[Path], NDArray[np.uint8]],
    names: Mapping[str, str],
) -> None:
    """Write the sheet as a PNG. `read` gives a picture's RGB pixels, `names` how each label is written."""
    columns = 1 + max((len(one.near) for one in queries), default=0)
    wide, high = CELL_PX + 2 * FRAME_PX + GAP_PX, CELL_PX + 2 * FRAME_PX + GAP_PX + 2 * (TEXT_PX + 3)
    font, heading = font_of(TEXT_PX), font_of(TEXT_PX + 3)
    top = GAP_PX + TEXT_PX + 12
    width = max(GAP_PX + columns * wide, 2 * GAP_PX + round(heading.getlength(title)))
    sheet = Image.new("RGB", (width, top + GAP_PX + len(queries) * high), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP_PX, GAP_PX), title, fill=INK, font=heading)
    for row, one in enumerate(queries):
        cells = [(one.path, QUERY, one.label, "query")]
        cells += [(n.path, RIGHT if n.right else WRONG, n.label, f"{n.similarity:.2f}") for n in one.near]
        for column, (path, colour, label, below) in enumerate(cells):
            x, y = GAP_PX + column * wide, top + row * high
            side = CELL_PX + 2 * FRAME_PX
            draw.rectangle((x, y, x + side - 1, y + side - 1), fill=PAPER, outline=colour, width=FRAME_PX)
            picture = thumbnail(read(path), CELL_PX)
            at = ((side - picture.width) // 2, (side - picture.height) // 2)
            sheet.paste(picture, (x + at[0], y + at[1]))
            draw.text((x, y + side + 2), shortened(names[label], font, side), fill=colour, font=font)
            draw.text((x, y + side + TEXT_PX + 4), below, fill=colour, font=font)
    sheet.save(file)


def rows_shown(right: NDArray[np.bool_]) -> list[int]:
    """Which of the queries (Q,) a sheet shows: half of them answered wrongly where so many are, spread over all."""
    wrong_ones, right_ones = np.flatnonzero(~right), np.flatnonzero(right)
    wrong = min(len(wrong_ones), max(ROWS // 2, ROWS - len(right_ones)))
    return [*_spread(wrong_ones, wrong), *_spread(right_ones, ROWS - wrong)]


def thumbnail(image: NDArray[np.uint8], side_px: int) -> Image.Image:
    """The picture with its longer side `side_px`."""
    scale = side_px / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return Image.fromarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR))


def written(labels: Sequence[str]) -> dict[str, str]:
    """How each label is written: itself, or `label N`, its place among `labels` from 1, where no font has its characters."""
    font = font_of(TEXT_PX)
    missing = bytes(font.getmask(NO_CHARACTER))
    drawable = {
        character: character == " " or bytes(font.getmask(character)) != missing
        for label in labels
        for character in label
        if character.isprintable()
    }
    return {
        label: label if all(drawable.get(character, False) for character in label) else f"label {place}"
        for place, label in enumerate(labels, 1)
    }


def shortened(text: str, font: Font, width_px: float) -> str:
    """The text, its middle left out where it is too wide."""
    if font.getlength(text) <= width_px:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(short) <= width_px:
            return short
    return text[:1]


@cache
def font_of(size_px: int) -> Font:
    """A font with as many characters as this machine has; at least those of Europe, which come with matplotlib."""
    from matplotlib import get_data_path

    for name in (*WIDE_FONTS, str(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))):
        try:
            return ImageFont.truetype(name, size_px)
        except OSError:
            continue
    return ImageFont.load_default(size_px)


def _spread(rows: NDArray[np.int64], most: int) -> list[int]:
    if len(rows) <= most:
        return [int(number) for number in rows]
    return [int(rows[len(rows) * place // most]) for place in range(most)]
