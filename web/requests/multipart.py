"""Lets a form's part have any name: werkzeug drops the whole form at the first one that is not UTF-8, silently.

Old browsers and scripts on Chinese Windows send `filename` in GBK, some with a whole path, mail libraries as RFC 2047 has
it, others with an RFC 5987 charset that werkzeug does not read. The bytes of the file are as good as any, and its name
is only shown: it is read as it was meant, and handed on in the one form that werkzeug reads.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from werkzeug import formparser
from werkzeug.datastructures import Headers
from werkzeug.sansio.multipart import MultipartDecoder

from contracts.names import decode_name, without_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterator

# One parameter of a header; a backslash escapes only a quote and itself, for `C:\photos\a.jpg` is not escaped by anyone.
_PARAMETER = re.compile(r';\s*([^\s;="]+)\s*=\s*("(?:\\[\\"]|\\(?![\\"])|[^"\\])*+"|[^;]*)')
_ENCODED_WORD = re.compile(r"=\?([\w-]+)(?:\*[\w-]+)?\?([bq])\?([^?]*)\?=", re.IGNORECASE)
_CHARSETS = frozenset(
    ("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "iso-8859-15", "windows-1250", "windows-1251", "windows-1252",
     "gbk", "gb2312", "gb18030", "cp936", "big5", "shift_jis", "cp932", "euc-jp", "euc-kr", "cp949", "koi8-r")
)  # fmt: skip


class LenientDecoder(MultipartDecoder):
    """Reads the headers of a part as UTF-8, and those that are not by `decode_name`; `filename` in any form."""

    def _parse_headers(self, data: bytes | bytearray) -> Headers:  # type: ignore[override, unused-ignore]
        try:
            headers = super()._parse_headers(data)
        except UnicodeDecodeError:
            headers = super()._parse_headers(decode_name(bytes(data)).encode())
        return Headers(
            [
                (name, plainly_named(value) if name.lower() == "content-disposition" else value)
                for name, value in headers
            ]
        )


def install() -> None:
    """Makes werkzeug's form parser use it; it has no place of its own for another decoder."""
    formparser.MultipartDecoder = LenientDecoder  # type: ignore[attr-defined]


def plainly_named(disposition: str) -> str:
    """A Content-Disposition with its file's name, if it has one, as RFC 5987 has it in UTF-8."""
    kept, plain, extended = [disposition.partition(";")[0]], None, None
    for found in _PARAMETER.finditer(disposition):
        name = found[1].lower()
        if name == "filename":
            plain = _unquoted(found[2])
        elif name == "filename*":
            extended = _extended(found[2].strip().strip('"'))
        else:
            kept.append(found[0].lstrip("; \t"))
    name_of_file = extended or plain
    if name_of_file is None:
        return disposition
    safe = quote(without_surrogates(name_of_file), safe="")
    return "; ".join([*kept, f"filename*=UTF-8''{safe}" if safe else 'filename=""'])


def _unquoted(value: str) -> str:
    text = value.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = re.sub(r'\\([\\"])', r"\1", text[1:-1]).replace("%22", '"')  # browsers write a quote as %22
    return "".join(_words(text)) if "=?" in text else text


def _extended(value: str) -> str:
    """RFC 5987: charset'language'percent-encoded."""
    charset, mark, rest = value.partition("'")
    return _decoded(unquote_to_bytes(rest.partition("'")[2]), charset) if mark else value


def _words(text: str) -> Iterator[str]:
    """RFC 2047: the encoded words of a text, decoded, and what stands around them; blanks between two words are none."""
    end = 0
    for found in _ENCODED_WORD.finditer(text):
        between = text[end : found.start()]
        if not end or between.strip():
            yield between
        charset, kind, body = found[1], found[2].lower(), found[3]
        try:
            data = base64.b64decode(body, validate=True) if kind == "b" else binascii.a2b_qp(body.encode(), header=True)
        except ValueError:
            yield found[0]
        else:
            yield _decoded(data, charset)
        end = found.end()
    yield text[end:]


def _decoded(data: bytes, charset: str) -> str:
    if charset.lower() in _CHARSETS:
        try:
            return data.decode(charset)
        except UnicodeDecodeError:
            pass
    return decode_name(data)
