"""Fonts that write labels in any script: those of the packages manimgx-fonts and manimgx-fonts-cjk (Noto, OFL-1.1).

Noto Sans has Latin, Greek and Cyrillic, Noto Sans CJK Chinese, Japanese and Korean, and one font each a dozen other
scripts. What none of them has is looked for in the system's fonts, by their usual file names.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

WEIGHT = 500  # of the variable fonts, whose default may be hairlines; a little bolder than text on paper
FIRST = ("NotoSans[wght].ttf", "NotoSansCJK-VF.otf.ttc")
SIMPLIFIED_CHINESE = 2  # the face of the collection: characters that look different elsewhere look so
SYSTEM = (
    "DejaVuSans.ttf", "arial.ttf", "Arial.ttf", "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf", "msyh.ttc", "malgun.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "Arial Unicode.ttf",
)  # fmt: skip
NO_CHARACTER = "\U0010fffe"  # that no font has: it is drawn as all that is missing
PROBE_PX = 12

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@cache
def faces() -> tuple[str, ...]:
    """The files of all fonts that may be there, best first; the last, "", is Pillow's own of little more than ASCII."""
    found: list[Path] = []
    for package in ("manimgx_fonts", "manimgx_fonts_cjk"):
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations if spec else None) or ():
            found += sorted(path for path in Path(folder).iterdir() if path.suffix in {".ttf", ".ttc", ".otf"})
    upright = [path for path in found if "Italic" not in path.name]
    order = sorted(upright, key=lambda path: FIRST.index(path.name) if path.name in FIRST else len(FIRST))
    return (*map(str, order), *SYSTEM, "")


def font_for(text: str, size_px: int) -> Font | None:
    """The first font that can write all of `text`, or None."""
    for face in faces():
        font = font_of(face, size_px)
        if font is not None and all(has(face, character) for character in text):
            return font
    return None


def runs(text: str, size_px: int) -> list[tuple[str, Font]] | None:
    """`text` in pieces, each with a font that can write it; None if none has one of its characters."""
    whole = font_for(text, size_px)
    if whole is not None:
        return [(text, whole)]
    found: list[tuple[str, Font]] = []
    for character in text:
        joins = unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Mc", "Cf"}
        font = font_for((found[-1][0] if found and joins else "") + character, size_px)
        if font is None:
            return None
        if found and (joins or found[-1][1] is font or character == " "):
            found[-1] = (found[-1][0] + character, font if joins else found[-1][1])
        else:
            found.append((character, font))
    return found


@cache
def font_of(face: str, size_px: int) -> Font | None:
    """The font of a file, or None if there is no such file here."""
    if not face:
        return ImageFont.load_default(size_px)
    index = SIMPLIFIED_CHINESE if face.endswith(FIRST[1]) else 0
    try:
        font = ImageFont.truetype(face, size_px, index=index)
        if "[wght]" in face or "-VF" in face:
            font.set_variation_by_axes([WEIGHT])
    except OSError:
        return None
    return font


@cache
def has(face: str, character: str) -> bool:
    """Whether a font has this character."""
    font = font_of(face, PROBE_PX)
    if font is None:
        return False
    return character == " " or _drawn(font, character) != _drawn(font, NO_CHARACTER)


def _drawn(font: Font, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)
