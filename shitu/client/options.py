"""The options of a recognition as a typed dictionary; docs/api.md says what each does. A test holds it to contracts.options."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict


class RecognitionOptions(TypedDict, total=False):
    """What is left out takes the service's default."""

    detection_threshold: float | None
    max_detections: int
    min_precision: float
    similarity_threshold: float | None
    verify: Literal["auto", "always", "never"]
    verify_top: int
    top_k: int
    whole_image: Literal["always", "fallback", "never"]
    suppression_iou: float
    compat: Literal["paddleclas"] | None
    boxes: list[list[int]] | None
    trace: bool
