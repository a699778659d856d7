"""Draws answers over a photo: boxes, each with a tag of its label and how sure it is. Labels may be in any script.

A tag covers neither its neighbours nor their tags where there is any other place: it moves around its box, gets smaller,
and is cut short before it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from infra.pictures import fonts
from infra.pictures.tags import Rectangle, placed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from infra.pictures.fonts import Font

MOST_CERTAIN = 0.99  # as it is written: no answer is certain
# Readable next to one another and on photos; the text on them is white.
COLOURS = ((31, 98, 186), (190, 60, 20), (22, 122, 62), (132, 56, 170), (176, 30, 92), (12, 116, 128))
WHITE = (255, 255, 255)
SMALLEST_PX = 12
MORE = "…"


@dataclass(frozen=True)
class Mark:
    """One box of a photo, its label, and how sure that is; None: nothing is said of it."""

    box: Rectangle
    label: str
    certainty: float | None


@dataclass(frozen=True)
class Tag:
    """A line of text laid out: its pieces with their fonts, and the pixels that it takes from its left upper corner."""

    pieces: tuple[tuple[str, Font], ...]
    size_px: int
    width: int
    ascent: int
    height: int


def drawn(picture: Image.Image, marks: Sequence[Mark], numbers: Mapping[str, int] | None = None) -> Image.Image:
    """`picture` (RGB) with `marks` drawn over it, in place. A label in `numbers` is its number there, `#2`."""
    numbers = numbers or {}
    draw = ImageDraw.Draw(picture)
    size = max(SMALLEST_PX, round(min(picture.size) / 32))
    line = max(2, size // 6)
    labels = sorted({mark.label for mark in marks})
    colours = {label: COLOURS[number % len(COLOURS)] for number, label in enumerate(labels)}
    boxes = [mark.box for mark in marks]
    for mark in marks:
        x1, y1, x2, y2 = mark.box
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colours[mark.label], width=line)
    tags: list[Rectangle] = []
    for at, mark in enumerate(marks):
        written = f"#{numbers[mark.label]}" if mark.label in numbers else mark.label
        tag, place = _best(at, written, mark, boxes, tags, size, picture.size)
        tags.append(place)
        draw.rectangle(place, fill=colours[mark.label])
        pad = _pad(tag.size_px)
        x = place[0] + pad
        for text, font in tag.pieces:
            draw.text((x, place[1] + pad + tag.ascent), text, fill=WHITE, font=font, anchor=_anchor(font))
            x += font.getlength(text)
    return picture


def _best(
    at: int, written: str, mark: Mark, boxes: Sequence[Rectangle], tags: Sequence[Rectangle], size: int,
    whole: tuple[int, int],
) -> tuple[Tag, Rectangle]:  # fmt: skip
    """The largest and longest tag that hides nothing, and its place; else the one that hides least."""
    best: tuple[float, Tag, Rectangle] | None = None
    for tag in _variants(written, mark, size, whole[0]):
        pad = 2 * _pad(tag.size_px)
        hides, place = placed(at, boxes, tags, tag.width + pad, tag.height + pad, whole)
        if best is None or hides < best[0]:
            best = (hides, tag, place)
        if hides == 0:
            break
    if best is None:
        raise ValueError("a mark has no tag")
    return best[1], best[2]


def _variants(written: str, mark: Mark, size: int, widest: int) -> Iterator[Tag]:
    """The tag in full, then smaller, then with its label cut short, at last the certainty alone."""
    sure = "" if mark.certainty is None else f"{min(mark.certainty, MOST_CERTAIN):.0%}"
    sizes = sorted({size, max(SMALLEST_PX, round(0.75 * size)), SMALLEST_PX}, reverse=True)
    tags = [laid_out(written, sure, px) for px in sizes]
    fitting = [tag for tag in tags if tag.width + 2 * _pad(tag.size_px) <= widest]
    yield from fitting
    within = min(widest, max(1.0, mark.box[2] - mark.box[0])) - 2 * _pad(SMALLEST_PX)
    for room in sorted({within, float(widest - 2 * _pad(SMALLEST_PX))}):
        for end in range(len(written) - 1, 0, -1):
            short = laid_out(written[:end].rstrip() + MORE, sure, SMALLEST_PX)
            if short.width <= room:
                yield short
                break
    yield laid_out("", sure or MORE, SMALLEST_PX)


def laid_out(label: str, sure: str, size_px: int) -> Tag:
    """One line of text, the label and after it how sure it is, also where the label is written from right to left.

    What no font has is drawn as the box that fonts draw then.
    """
    pieces = []
    for text in (label, f"  {sure}" if label and sure else sure):
        if text:
            pieces += fonts.runs(text, size_px) or [(text, ImageFont.load_default(size_px))]
    if not pieces:
        pieces = [(MORE, ImageFont.load_default(size_px))]
    width = sum(font.getlength(piece) for piece, font in pieces)
    bounds = [font.getbbox(piece, anchor=_anchor(font)) for piece, font in pieces]
    top, bottom = min(bound[1] for bound in bounds), max(bound[3] for bound in bounds)
    return Tag(tuple(pieces), size_px, round(width) + 1, round(-top), round(bottom - top))


def _anchor(font: Font) -> str | None:
    return "ls" if isinstance(font, ImageFont.FreeTypeFont) else None  # all pieces stand on one line


def _pad(size_px: int) -> int:
    return max(2, size_px // 5)
