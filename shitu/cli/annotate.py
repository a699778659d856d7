"""Answers drawn over a photo and saved: what the command line says of infra.pictures.drawing."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from infra.pictures import fonts
from infra.pictures.drawing import SMALLEST_PX, Mark, drawn


def own_name(stem: str, ending: str, taken: set[str]) -> str:
    """A file name that is not yet `taken`, and takes it: photos of different folders may be called alike."""
    name, number = f"{stem}{ending}", 1
    while name in taken:
        number += 1
        name = f"{stem}-{number}{ending}"
    taken.add(name)
    return name


def legend(recognitions: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The labels that no font here can write, and the numbers that `annotate` draws in place of them."""
    labels = sorted({str(found["label"]) for found in recognitions})
    unwritten = [label for label in labels if fonts.runs(label, SMALLEST_PX) is None]
    return {label: number for number, label in enumerate(unwritten, start=1)}


def annotate(image: NDArray[np.uint8], recognitions: Sequence[Mapping[str, Any]]) -> Image.Image:
    """`image` (H, W, 3) RGB with `recognitions` drawn over it (each with `box`, `label`, and `probability` or a `confidence`); see `legend`."""
    marks = []
    for found in recognitions:
        x1, y1, x2, y2 = (float(value) for value in found["box"])
        certainty = found["probability"] if "probability" in found else found["confidence"]
        marks.append(Mark((x1, y1, x2, y2), str(found["label"]), certainty))
    return drawn(Image.fromarray(image), marks, legend(recognitions))
