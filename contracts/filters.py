"""Filters of items by their metadata: `brand:x` is met by an item whose `brand` is `x`; of several all must be met."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contracts.metadata import KEY, MAX_KEY_CHARS, MAX_VALUE_CHARS

MOST_FILTERS = 32
RULE = "a filter is name:value: the name of items' metadata, a colon, and the whole value that it must have"

PATTERN = rf"^[A-Za-z0-9_.\-]{{1,{MAX_KEY_CHARS}}}:[^\u0000]{{0,{MAX_VALUE_CHARS}}}$"  # the same, for schemas

Filter = tuple[str, str]  # name and value


class FilterInvalidError(ValueError):
    """Why a filter is none."""


def filter_of(text: str) -> Filter:
    """`brand:x` as a pair; the value may have colons, too. Raises FilterInvalidError."""
    name, colon, value = text.partition(":")
    if not colon:
        raise FilterInvalidError(f"{RULE}; {text[:60]!r} has no colon")
    if not KEY.fullmatch(name):
        raise FilterInvalidError(
            f"a name has 1 to {MAX_KEY_CHARS} letters, digits, '_', '.' and '-'; {name[:60]!r} is none"
        )
    if len(value) > MAX_VALUE_CHARS or "\x00" in value:
        raise FilterInvalidError(f"a value has at most {MAX_VALUE_CHARS} characters and no U+0000")
    return name, value


def filters_of(texts: Iterable[str]) -> tuple[Filter, ...]:
    """Each once, in the order of their names. Raises FilterInvalidError."""
    return tuple(sorted({filter_of(text) for text in texts}))


def meets(metadata: Mapping[str, str] | None, filters: Iterable[Filter]) -> bool:
    """Whether metadata meets all filters. A name that is not there meets none."""
    return all(metadata is not None and metadata.get(name) == value for name, value in filters)
