"""What may be given as a picture to the Python API, and how it becomes the one kind that the networks take.

Recognizer, Detector, Embedder, Classifier and whatever else takes pixels come here first. What has one meaning is
converted as `models.pictures.image.decode` converts the same picture in a file; what could mean several things is refused with
what to do about it: a float array is not guessed to reach from 0 to 1, nor a uint16 array to 65535.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from PIL import Image

from models.errors import ImageError
from models.pictures.image import decode, of_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    # Any: an object with `__array__`, as a tensor of torch or paddle
    Picture: TypeAlias = NDArray[Any] | Image.Image | str | os.PathLike[str] | bytes | Any

EXPECTED = "Expected is an array (H, W, 3) of uint8 in RGB, a path, the bytes of a picture file, or a Pillow picture"
URL = re.compile(r"[a-zA-Z][\w+.-]*://|data:")
FULL_RANGE = 2**64  # pixels: an array is in memory already
REMEDIES = {
    "f": "Scale it yourself: (image * 255).round().astype(np.uint8) if its values go from 0 to 1",
    "u": "Scale it yourself: (image // 257).astype(np.uint8) if its values go up to 65535",
    "i": "If its values go from 0 to 255, send image.astype(np.uint8)",
    "O": "An array of objects is what differing lengths make; build it again with dtype=np.uint8",
}


def as_image(given: Picture, name: str = "The picture") -> NDArray[np.uint8]:
    """`given` as (H, W, 3) uint8 RGB that OpenCV can take; the array itself where it is that already.

    Arrays, and objects that numpy makes arrays of: uint8 as (H, W, 3) RGB, (H, W, 4) RGBA over white, (H, W) or
    (H, W, 1) grey; bool as black and white. Paths, bytes and Pillow pictures: as `decode` has them, upright, of any mode.
    `name` begins the sentences of errors. Raises ImageError: image_type_unsupported, image_dtype_unsupported,
    image_shape_unsupported, image_empty, image_not_found, and what `decode` raises.
    """
    if isinstance(given, np.ndarray):
        return _rgb(given, name)
    if isinstance(given, Image.Image):
        return of_picture(given)
    if isinstance(given, bytes | bytearray) or (isinstance(given, memoryview) and given.ndim == 1):
        return decode(bytes(given))
    if isinstance(given, str | os.PathLike):
        return decode(_read(given, name))
    return _rgb(_array(given, name), name)


def as_images(given: Iterable[Picture], name: str = "The pictures") -> Sequence[Picture]:
    """Several pictures as a sequence, each still to be passed through `as_image`: a list, or an array (N, H, W, C).

    A single picture is refused: its rows, or the letters of its path, are no pictures. Raises ImageError:
    image_type_unsupported, image_shape_unsupported.
    """
    if isinstance(given, list | tuple):
        return given
    if isinstance(given, str | bytes | bytearray | memoryview | os.PathLike | Image.Image):
        raise ImageError(f"{name} are one {_kind(given)}. Expected is a list: [picture].", "image_type_unsupported")
    if isinstance(given, Mapping | Set):
        detail = f"{name} come as {_kind(given)}, which has no order. Expected is a list of pictures."
        raise ImageError(detail, "image_type_unsupported")
    if isinstance(given, np.ndarray) or hasattr(given, "__array__"):
        array = _array(given, name)
        if array.ndim == 4 or array.shape == (0,) or (array.ndim == 1 and array.dtype == object):
            return list(array)
        detail = f"{name} are an array of the shape {array.shape}. Expected is (N, H, W, 3), or a list: [image]."
        raise ImageError(detail, "image_shape_unsupported")
    if isinstance(given, Iterable):
        return list(given)
    raise ImageError(f"{name} are {_kind(given)}. Expected is a list of pictures.", "image_type_unsupported")


def _rgb(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if np.ma.isMaskedArray(array) and np.ma.getmaskarray(array).any():
        detail = f"{name} has masked pixels. Say what they show: image.filled(255) makes them white."
        raise ImageError(detail, "image_type_unsupported")
    array = np.asarray(array)
    if array.dtype == np.bool_ and array.ndim == 2:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.dtype != np.uint8:
        remedy = REMEDIES.get(array.dtype.kind, "Make it an array of uint8 from 0 to 255")
        raise ImageError(
            f"{name} is an array of {array.dtype}. {EXPECTED}. {remedy}.",
            "image_dtype_unsupported",
        )
    _check_shape(array.shape, name)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    if array.shape[2] == 4:
        return of_picture(Image.fromarray(np.ascontiguousarray(array)), max_pixels=FULL_RANGE, min_side_px=1)
    # Parts of a picture are taken as they are; mirrored, turned or broadcast ones OpenCV would read wrongly or copy each time.
    rows, *inner = array.strides
    if inner == [3, 1] and rows >= 3 * array.shape[1]:
        return array
    return np.ascontiguousarray(array)


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if 0 in shape:
        raise ImageError(f"{name} is an array of the shape {shape}: it has no pixel.", "image_empty")
    if len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4)):
        return
    remedy = "Grey is (H, W), with transparency (H, W, 4)"
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        remedy = "The channels come last: image.transpose(1, 2, 0), or tensor.permute(1, 2, 0)"
    elif len(shape) == 4:
        remedy = "It is a batch; give its pictures one by one: batch[0]"
    raise ImageError(f"{name} is an array of the shape {shape}. {EXPECTED}. {remedy}.", "image_shape_unsupported")


def _array(given: object, name: str) -> NDArray[Any]:
    """Of a tensor or another object that is an array to numpy; lists are none, for their type would be numpy's guess."""
    if given is None:
        detail = f"{name} is None. {EXPECTED}. cv2.imread gives None where it can't read a file."
        raise ImageError(detail, "image_type_unsupported")
    if not isinstance(given, memoryview) and not any(
        hasattr(given, protocol) for protocol in ("__array__", "__array_interface__", "__dlpack__")
    ):
        remedy = (
            "Make an array of it: np.asarray(picture, np.uint8)" if isinstance(given, Sequence) else "Convert it first"
        )
        if hasattr(given, "read"):
            remedy = "Read it first: file.read()"
        raise ImageError(f"{name} is {_kind(given)}. {EXPECTED}. {remedy}.", "image_type_unsupported")
    try:
        if hasattr(given, "__array__") or not hasattr(given, "__dlpack__"):
            return np.asarray(given)
        return np.from_dlpack(given)  # of a library without __array__
    except Exception as error:  # a tensor on another device or under gradients raises what its library likes
        detail = f"{name} is {_kind(given)} that numpy can't read. {EXPECTED}. Of a tensor take tensor.detach().cpu().numpy()."
        raise ImageError(detail, "image_type_unsupported") from error


def _read(path: str | os.PathLike[str], name: str) -> bytes:
    if isinstance(path, str) and URL.match(path):
        detail = f"{name} is a URL. Expected is a path; fetch the picture and give its bytes."
        raise ImageError(detail, "image_not_found")
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero in it
        why = getattr(error, "strerror", None) or str(error)
        detail = f"{name} can't be read from {str(path)[:200]!r}: {why}. Expected is the path of a picture file."
        raise ImageError(detail, "image_not_found") from error


def _kind(given: object) -> str:
    """The name of its type, as a sentence needs it."""
    return f"{type(given).__module__}.{type(given).__qualname__}".removeprefix("builtins.")
