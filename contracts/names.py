"""The one rule for labels, and how names from outside are read, compared and shown. Pure functions of text.

A label is NFC (Unicode Standard Annex 15), trimmed, of 1 to 200 visible characters, without control characters and
without invisible ones that would make two labels look alike. What comes in is held to it by `clean_label`; what was
stored before there was a rule is read by `readable_label`, which never refuses.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

MAX_LABEL_CHARS = 200
MAX_NAME_CHARS = 200
LOST = "\ufffd"  # what a decoder leaves where bytes were no text
# Default_Ignorable_Code_Point of the Unicode Character Database, and two blanks that pass for letters and symbols.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
# Of those, what scripts and emoji are written with: joiners, variation selectors, flags' tags, old Hangul's fillers.
_JOINING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c\u200d\ufe00-\ufe0f\U000e0020-\U000e007f\U000e0100-\U000e01ef]"
)
_AT_ENDS = re.compile(
    r"^[\s\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff]+|[\s\u00ad\u061c\u200b\u200e\u200f\u2060\ufeff]+$"
)
# What moves a terminal's cursor, ends a line, or makes a name look like another by turning its direction.
_UNSHOWN = re.compile("[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_CLUTTER = frozenset(
    ("__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information", "lost+found",
     "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r")
)  # fmt: skip
# Endings of what people keep next to pictures and nobody takes for one.
SIDECARS = frozenset(
    (".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".html", ".log", ".ini")
)


class LabelRefused(ValueError):  # noqa: N818 (named as what happened)
    """A label breaks the rule; the text says how, and what to do."""


def clean_label(text: str) -> str:
    """`text` as a label: NFC and trimmed. Raises LabelRefused."""
    if _surrogates(text) or LOST in text:
        raise LabelRefused("a label must be valid UTF-8; save the list, name the folder, or send it in UTF-8")
    label = _AT_ENDS.sub("", unicodedata.normalize("NFC", text))
    if not _INVISIBLE.sub("", label).strip():
        raise LabelRefused("a label must not be blank")
    for character in label:
        if unicodedata.category(character) in {"Cc", "Zl", "Zp"} or (ord(character) & 0xFFFE) == 0xFFFE:
            raise LabelRefused(f"a label must have no control characters; this has U+{ord(character):04X}")
        if _INVISIBLE.match(character) and not _JOINING.match(character):
            raise LabelRefused(f"a label must have no invisible characters; this has U+{ord(character):04X}")
    if len(label) > MAX_LABEL_CHARS:
        raise LabelRefused(f"a label has at most {MAX_LABEL_CHARS} characters; this has {len(label)}")
    return label


def folded(text: str) -> str:
    """`text` as a search compares it: without regard to case, accents, width and the way it is composed.

    Only to be compared with its like: `"Café"`, `"CAFE"` and `"ｃａｆé"` are one. (Unicode Standard, 3.13 and Annex 15)
    """
    if text.isascii():
        return text.casefold().lstrip()
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", decoded(text)).casefold())
    return "".join(one for one in parts if unicodedata.category(one) != "Mn" and not _INVISIBLE.match(one)).lstrip()


def readable_label(text: str) -> str:
    """A label that is stored or queried, as it is shown and compared; what can't be shown is replaced. Applied twice it changes nothing more."""
    if text.isascii() and text.isprintable() and text == text.strip():
        return text
    label = _AT_ENDS.sub("", unicodedata.normalize("NFC", decoded(text)))
    shown_label = "".join(LOST if unicodedata.category(one) in {"Cc", "Zl", "Zp"} else one for one in label)
    return shown_label or LOST


def clean_name(text: str | None) -> str:
    """A file's name from outside as something harmless to show: no folders, nothing invisible, at most 200 characters."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", decoded(text or "")))[-1]
    return "".join(character for character in last if character.isprintable()).strip()[:MAX_NAME_CHARS]


def decoded(text: str) -> str:
    """`text` without lone surrogates: bytes that Python escaped as such are decoded as `decode_name` does."""
    if not _surrogates(text):
        return text
    try:
        return decode_name(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # no bytes, but half of a character, as JSON may have
        return without_surrogates(text)


def decode_name(data: bytes) -> str:
    """The text of a name's bytes: UTF-8, else GB18030 (of which GBK is a part), else what can be read of UTF-8."""
    for encoding in ("utf-8", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8", "replace")


def without_surrogates(text: str) -> str:
    """`text` that can be encoded: halves of a character that belong together are joined, others replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if _surrogates(text) else text


def spellings(path: str) -> tuple[str, ...]:
    """The ways in which a list's path may stand on the disk, as it is written first.

    A list and its folder often went through different systems: macOS spells `é` with two characters where Linux keeps
    what it was given, and Windows writes `tea\\1.jpg`.
    """
    ways = (path, path.replace("\\", "/"))
    return tuple(
        dict.fromkeys(way for one in ways for way in (one, *(unicodedata.normalize(f, one) for f in ("NFC", "NFD"))))
    )


def shown(path: object) -> str:
    """A path, or a word of a file, for people and JSON, in one line that does nothing to a terminal.

    Bytes that are not UTF-8, control characters, those that turn the direction and blanks without a width are shown as \\xNN or \\uNNNN, so that
    two names stay two.
    """
    text = str(path)
    if _surrogates(text):
        try:
            text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:
            text = without_surrogates(text)
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def is_clutter(parts: Iterable[str]) -> bool:
    """Whether a path's parts have a hidden one, or what systems leave next to pictures (`__MACOSX`, `@eaDir`, `Thumbs.db`)."""
    return any(part.startswith(".") or part.lower() in _CLUTTER for part in parts)


def _surrogates(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
