"""A real recognition of real networks is what contracts.results describes, and so is what PaddleClas' users read."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models import verification
from models.artifacts.folders import resolve
from models.detector import Detector
from models.embedder import Embedder
from models.galleries.gallery import Gallery
from models.options import RecognizeOptions
from models.pictures.image import decode
from models.recognition.paddleclas import to_paddleclas
from models.recognition.pipeline import Recognizer
from tests.openapi_checks import check
from web.routes import description
from worker.runtime import Programs, describe


@dataclass(frozen=True)
class Item:
    id: str
    label: str
    image_key: str


@cache
def programs() -> Programs:
    detector, embedder = Detector(resolve("shitu-detector")), Embedder(resolve("shitu-embedder"))
    return Programs(detector, embedder, Recognizer(detector, embedder, verification))


def product(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(200, 160, 3): coarse noise, as good to recognise again as any product."""
    coarse = np.random.default_rng(seed).integers(0, 255, (10, 8, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((160, 200), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    "options",
    [
        RecognizeOptions(verify="always", whole_image="always", detection_threshold=0.05),
        RecognizeOptions(min_precision=0.999, whole_image="always", verify="never"),
        RecognizeOptions(similarity_threshold=1.0, suppression_iou=0.0),
        RecognizeOptions(compat="paddleclas"),
    ],
    ids=["verified", "unsure", "by-similarity", "paddleclas"],
)
def test_a_real_result_is_as_described(options: RecognizeOptions) -> None:
    networks = programs()
    pictures = [product(seed) for seed in range(3)]
    items = [Item(f"itm_{seed}", f"product {seed}", f"images/{seed}") for seed in range(3)]
    kept = {item.id: verification.describe(picture) for item, picture in zip(items, pictures, strict=True)}
    gallery = Gallery(items, networks.embedder(pictures), features=kept.get)
    photo = np.full((480, 640, 3), 230, np.uint8)
    photo[100:300, 60:220], photo[150:350, 360:520] = pictures[0], pictures[1]
    encoded = io.BytesIO()
    Image.fromarray(photo).save(encoded, "PNG")
    found = networks.recognizer(decode(encoded.getvalue()), gallery, options)
    result: dict[str, Any] = {
        **found.to_dict(),
        "gallery": {"name": "drinks", "version": 1, "items": 3},
        "models": describe(networks),
    }
    if options.compat:
        result["paddleclas"] = to_paddleclas(found)
    assert result["recognitions"] or result["dropped"]
    check(json.loads(json.dumps(result, allow_nan=False)), "RecognitionResult", description())
