"""Lets a form's part have a name that is not UTF-8: werkzeug drops the whole form at the first such header, silently.

Old browsers and scripts on Chinese Windows send `filename` in GBK. The bytes of the file are as good as any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug import formparser
from werkzeug.sansio.multipart import MultipartDecoder

from contracts.names import decode_name

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers


class LenientDecoder(MultipartDecoder):
    """Reads the headers of a part as UTF-8, and those that are not by `decode_name`."""

    def _parse_headers(self, data: bytes | bytearray) -> Headers:  # type: ignore[override, unused-ignore]
        try:
            return super()._parse_headers(data)
        except UnicodeDecodeError:
            return super()._parse_headers(decode_name(bytes(data)).encode())


def install() -> None:
    """Makes werkzeug's form parser use it; it has no place of its own for another decoder."""
    formparser.MultipartDecoder = LenientDecoder  # type: ignore[attr-defined]
