"""The names that recipes choose networks by, and PicoDet's strides: known without PaddlePaddle, which the networks need."""

import difflib

from models.errors import ModelError

SCALES = (0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5)
CLASSIFIERS = (
    *(f"PPLCNet_x{scale}".replace(".", "_") for scale in SCALES),
    "PPLCNetV2_small",
    "PPLCNetV2_base",
    "PPLCNetV2_large",
    "ResNet50_vd",
)
STRIDES = (8, 16, 32, 64)  # pixels, of PicoDet's four levels
DETECTOR_BACKBONES = ("lcnet", "esnet")
DETECTOR_ACTIVATIONS = ("hard_swish", "leaky_relu")


class UnknownNetworkError(ModelError):
    """No network has this name."""

    code = "network_unknown"


def require_known(name: str) -> None:
    """Raises UnknownNetworkError, which suggests the names that come near, or lists all."""
    if name not in CLASSIFIERS:
        by_lower = {known.lower(): known for known in CLASSIFIERS}
        near = [by_lower[match] for match in difflib.get_close_matches(name.lower(), by_lower, n=3)]
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(CLASSIFIERS)}"
        raise UnknownNetworkError(f"there is no network {name!r}; {hint}")
