"""Protobuf's wire format, read and written by hand: enough for small edits of files whose schema is known.

A message is a run of fields: a key (number << 3 | kind), then a varint, 8 bytes, a counted run of bytes, or 4 bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

VARINT, EIGHT_BYTES, COUNTED, FOUR_BYTES = 0, 1, 2, 5
WIDTHS = {EIGHT_BYTES: 8, FOUR_BYTES: 4}
Field = tuple[int, int | bytes]  # number; a varint's value, or the raw bytes of anything else


class WireError(ValueError):
    """The bytes are no protobuf message."""


class Message:
    """The fields of one message, in the file's order. A missing one reads as empty, as everywhere in protobuf."""

    def __init__(self, raw: bytes) -> None:
        """Raises WireError."""
        self.raw = raw
        self.fields: list[Field] = []
        position = 0
        while position < len(raw):
            key, position = _varint(raw, position)
            number, kind = key >> 3, key & 7
            if kind == VARINT:
                value, position = _varint(raw, position)
                self.fields.append((number, value))
                continue
            if kind == COUNTED:
                size, position = _varint(raw, position)
            elif kind in WIDTHS:
                size = WIDTHS[kind]
            else:
                raise WireError(f"no field has kind {kind}")
            if position + size > len(raw):
                raise WireError("a field ends after its message")
            self.fields.append((number, raw[position : position + size]))
            position += size

    def messages(self, number: int) -> list[Message]:
        """All fields `number` as messages."""
        return [Message(raw) for raw in self._counted(number)]

    def texts(self, number: int) -> list[str]:
        """All fields `number` as text."""
        return [raw.decode() for raw in self._counted(number)]

    def text(self, number: int) -> str:
        """The last field `number` as text, "" if there is none."""
        return next(iter(reversed(self.texts(number))), "")

    def integers(self, number: int) -> list[int]:
        """All signed numbers of a repeated field, packed into one run or not."""
        values: list[int] = []
        for found, value in self.fields:
            if found != number:
                continue
            if isinstance(value, int):
                values.append(_signed(value))
                continue
            position = 0
            while position < len(value):
                item, position = _varint(value, position)
                values.append(_signed(item))
        return values

    def integer(self, number: int) -> int:
        """The last field `number` as a signed number, 0 if there is none."""
        return next(iter(reversed(self.integers(number))), 0)

    def _counted(self, number: int) -> list[bytes]:
        found = [value for given, value in self.fields if given == number]
        runs = [value for value in found if isinstance(value, bytes)]
        if len(runs) != len(found):
            raise WireError(f"field {number} is a number, not a run of bytes")
        return runs


def encode(fields: Iterable[Field]) -> bytes:
    """A message of numbers (as varints) and runs of bytes (counted)."""
    parts = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            parts += _encoded(number << 3 | VARINT) + _encoded(value)
        else:
            parts += _encoded(number << 3 | COUNTED) + _encoded(len(value)) + value
    return bytes(parts)


def _varint(raw: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(raw) or shift > 63:
            raise WireError("a number doesn't end")
        byte = raw[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _encoded(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF  # negative numbers are written as their 64-bit complement
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
