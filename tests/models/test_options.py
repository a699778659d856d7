"""The options of a recognition: their limits, and what is said of a wrong one."""

from __future__ import annotations

from typing import Any

import pytest

from models.options import OptionsError, RecognizeOptions

BAD_OPTIONS: list[tuple[str, Any]] = [
    ("detection_threshold", -0.1), ("detection_threshold", 1.1), ("detection_threshold", "0.5"),
    ("detection_threshold", float("nan")), ("detection_threshold", True),
    ("max_detections", 0), ("max_detections", 101), ("max_detections", 1.0), ("max_detections", True),
    ("similarity_threshold", -1.1), ("similarity_threshold", 2), ("similarity_threshold", []),
    ("min_precision", 0.49), ("min_precision", 1), ("min_precision", None), ("min_precision", "0.9"),
    ("verify", "sometimes"), ("verify", None), ("verify_top", 0), ("verify_top", 21), ("verify_top", 2.5),
    ("top_k", 0), ("top_k", 101), ("top_k", None), ("top_k", 2.5),
    ("whole_image", "sometimes"), ("whole_image", None), ("whole_image", True), ("whole_image", []),
    ("suppression_iou", -0.01), ("suppression_iou", 1.01), ("suppression_iou", float("inf")),
    ("compat", "paddlex"), ("compat", ""), ("compat", False),
    ("topk", 5), ("", 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_OPTIONS)
def test_a_wrong_option_is_named(name: str, value: Any) -> None:
    with pytest.raises(OptionsError) as refused:
        RecognizeOptions.from_dict({name: value})
    assert refused.value.option == name
    assert refused.value.detail.startswith(name)
    assert refused.value.code == "options_invalid"


def test_the_limits_are_allowed() -> None:
    RecognizeOptions.from_dict({})
    RecognizeOptions.from_dict({"detection_threshold": 0, "max_detections": 1, "similarity_threshold": -1, "top_k": 1})
    RecognizeOptions.from_dict(
        {"detection_threshold": 1, "max_detections": 100, "similarity_threshold": 1, "top_k": 100}
    )
    RecognizeOptions.from_dict(
        {"suppression_iou": 0, "detection_threshold": None, "similarity_threshold": None, "compat": None}
    )
    RecognizeOptions.from_dict({"min_precision": 0.5, "verify": "always", "verify_top": 1})
    RecognizeOptions.from_dict({"min_precision": 0.999, "verify": "never", "verify_top": 20})
    with pytest.raises(OptionsError, match="did you mean max_detections"):
        RecognizeOptions.from_dict({"max_detection": 3})
