"""How a photo is recognised: the options of one request, checked."""

from __future__ import annotations

import difflib
import math
import numbers
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from models.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

WholeImage = Literal["always", "fallback", "never"]
Verify = Literal["auto", "always", "never"]

# name -> (lowest, highest, whole numbers only)
RANGES: dict[str, tuple[float, float, bool]] = {
    "detection_threshold": (0, 1, False),
    "max_detections": (1, 100, True),
    "min_precision": (0.5, 0.999, False),
    "similarity_threshold": (-1, 1, False),
    "top_k": (1, 100, True),
    "suppression_iou": (0, 1, False),
    "verify_top": (1, 20, True),
}
CHOICES: dict[str, tuple[str | None, ...]] = {
    "whole_image": ("always", "fallback", "never"),
    "verify": ("auto", "always", "never"),
    "compat": (None, "paddleclas"),
}


class OptionsError(ModelError):
    """An option does not exist, or its value is of the wrong kind or out of range; `option` is its name."""

    code = "options_invalid"

    def __init__(self, option: str, detail: str) -> None:
        super().__init__(f"{option}: {detail}")
        self.option = option


@dataclass(frozen=True)
class RecognizeOptions:
    """The options of one photo. Raises OptionsError.

    `detection_threshold` None takes the detector's own. Of the answers given, `min_precision` are expected to be right; a
    `similarity_threshold` decides instead, by the similarity alone. `verify`: whether the `verify_top` nearest items are
    compared again by local features: "auto" where the answer is in doubt, "always", or "never". `whole_image`: whether
    the whole photo is a candidate beside the detected bodies: "always", only if none of them is recognised ("fallback"), or
    "never". `compat` "paddleclas" reproduces PaddleClas' PP-ShiTu: whole image always and suppressing too, only the nearest
    item, whose similarity alone decides: by the threshold given, or the embedder's own. Nothing is verified.
    """

    detection_threshold: float | None = None
    max_detections: int = 5
    min_precision: float = 0.9
    similarity_threshold: float | None = None
    top_k: int = 5
    whole_image: WholeImage = "fallback"
    suppression_iou: float = 0.05
    verify: Verify = "auto"
    verify_top: int = 5
    compat: Literal["paddleclas"] | None = None

    def __post_init__(self) -> None:
        for name, range_ in RANGES.items():
            value = getattr(self, name)
            if name not in ("detection_threshold", "similarity_threshold") or value is not None:
                require_number(name, value, *range_)
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                known = ", ".join("null" if choice is None else choice for choice in choices)
                raise OptionsError(name, f"must be one of {known}, not {getattr(self, name)!r}")

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> RecognizeOptions:
        """The options in a JSON object; what is left out takes its default. Raises OptionsError, for unknown names too."""
        names = [member.name for member in fields(cls)]
        for name in options:
            if name not in names:
                close = difflib.get_close_matches(str(name), names, n=1)
                raise OptionsError(str(name), "no such option" + (f"; did you mean {close[0]}?" if close else ""))
        return cls(**options)


def require_number(name: str, value: object, lowest: float, highest: float, whole: bool) -> None:
    """Raises OptionsError unless `value` is a number from `lowest` to `highest`; numpy's are numbers too."""
    is_number = isinstance(value, numbers.Integral if whole else numbers.Real) and not isinstance(value, bool)
    if not is_number or not lowest <= float(value) <= highest:  # type: ignore[arg-type]  # a Real has a float
        kind = "a whole number" if whole else "a number"
        end = f"to {highest:g}" if math.isfinite(highest) else "on"
        raise OptionsError(name, f"must be {kind} from {lowest:g} {end}, not {value!r}")
