"""Looks at an uploaded picture's header only: what never can be recognised is refused before a job exists.

What a header says is contracts.pictures' to read, for this check and for the worker's decoding. What only decoding can
find (a file cut short, broken data) is the worker's to find: the job then fails with the picture's own error. The reasons
are the image errors' codes of the worker, so that a client reads one vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts.pictures import MEDIA_TYPES, PictureRefusedError, Seen, format_of, look
from infra.errors.requests import RejectedImage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from infra.runtime.settings import ImageSettings


@dataclass(frozen=True)
class Refusal:
    """Why a picture is refused: the image error's code and a sentence for the user."""

    code: str
    detail: str


@dataclass(frozen=True)
class Upload:
    """A picture as it was sent: its bytes and the name the client gave it."""

    data: bytes
    name: str
    upload_id: str = ""  # if it was sent by a link


def check_image(upload: Upload, limits: ImageSettings, pointer: str = "/image") -> Seen:
    """The header of one picture. Raises RejectedImage."""
    (checked,) = check_images([upload], limits, [pointer])
    if isinstance(checked, Refusal):  # check_images raised
        raise RejectedImage(checked.detail, reason=checked.code)
    return checked


def check_images(uploads: Sequence[Upload], limits: ImageSettings, pointers: Sequence[str]) -> list[Seen | Refusal]:
    """The header of each picture, or why it is refused; raises RejectedImage, naming all, only if none can be used."""
    headers: list[Seen | Refusal] = []
    errors = []
    for upload, pointer in zip(uploads, pointers, strict=True):
        checked = read_header(upload.data, limits)
        if isinstance(checked, Refusal):
            errors.append({"pointer": pointer, "name": upload.name, "code": checked.code, "detail": checked.detail})
        headers.append(checked)
    if len(errors) == len(uploads):
        raise none_usable(errors)
    return headers


def none_usable(errors: Sequence[dict[str, str]]) -> RejectedImage:
    """The refusal of a request of whose pictures each has an error: `pointer`, `name`, `code`, `detail`."""
    first = errors[0]
    detail = first["detail"]
    if len(errors) > 1:
        detail = f"None of the {len(errors)} pictures can be used. The first is {first['name']!r}: {detail}"
    return RejectedImage(detail, reason=first["code"], errors=list(errors))


def read_header(data: bytes, limits: ImageSettings) -> Seen | Refusal:
    """What the first bytes of `data` say, or why the picture is refused."""
    try:
        seen = look(data)
        seen.require_size(limits.max_pixels, limits.min_side_px)
    except PictureRefusedError as error:
        return Refusal(error.code, error.detail)
    return seen


def media_type(data: bytes) -> str:
    """The media type of a stored picture, by its first bytes; a neutral one for anything else."""
    return MEDIA_TYPES.get(format_of(data) or "", "application/octet-stream")
