"""How PaddleClas' pipeline resizes by its configuration: photos by `DetResize`, crops by `ResizeImage`.

Both are cv2.resize; a crop's default is linear, and a photo's is cubic in all of their files.
(PaddleClas deploy/python/det_preprocess.py and preprocess.py)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2

from shitu.paddleclas.config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shitu.paddleclas.config import Config

PHOTOS, CROPS = "DetPreProcess.transform_ops", "RecPreProcess.transform_ops"
NAMES = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


def photo_interpolation(config: Config) -> int:
    """OpenCV's code for the photo that the detector gets. Raises ConfigError."""
    place, values = _operation(config, PHOTOS, "DetResize")
    if values is None:
        return cv2.INTER_CUBIC
    if values.get("keep_ratio", True):
        raise ConfigError(f"{place}: keep_ratio: True is not done here; their files have False.")
    return _code(values.get("interp", cv2.INTER_LINEAR), {}, f"{place}: interp")


def crop_interpolation(config: Config) -> int:
    """OpenCV's code for the crops that the embedder gets. Raises ConfigError."""
    place, values = _operation(config, CROPS, "ResizeImage")
    if values is None:
        return cv2.INTER_LINEAR
    if values.get("resize_short") is not None:
        raise ConfigError(f"{place}: resize_short is not done in a comparison; size is.")
    if (backend := values.get("backend") or "cv2") != "cv2":
        raise ConfigError(f"{place}: backend: {backend!r} is not done here; cv2 is.")
    given = values.get("interpolation")
    return cv2.INTER_LINEAR if given is None else _code(given, NAMES, f"{place}: interpolation")


def _operation(config: Config, key: str, name: str) -> tuple[str, Mapping[str, Any] | None]:
    """Where the operation stands, and its values; None: it stands nowhere."""
    operations = config.get(key)
    for place, operation in enumerate(operations if isinstance(operations, list) else []):
        if isinstance(operation, dict) and name in operation:
            values = operation[name] or {}
            if not isinstance(values, dict):
                raise ConfigError(f"{key}.{place}.{name}: must have values.")
            return f"{key}.{place}.{name}", values
    return key, None


def _code(given: object, names: Mapping[str, int], place: str) -> int:
    """Theirs take a code of OpenCV's, and for crops a name."""
    code = names.get(given.lower()) if isinstance(given, str) else given
    if isinstance(code, bool) or not isinstance(code, int) or code not in NAMES.values():
        known = ", ".join([*names, *map(str, sorted(NAMES.values()))])
        raise ConfigError(f"{place}: {given!r} is none of {known}.")
    return code
