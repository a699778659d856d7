"""Real photographs, which no network here was trained on: enrolled once each, then asked for as people take them.

They ship inside installed packages (scikit-image and scikit-learn); nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import skimage
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from models.synth.scenes import render_scene
from tests.e2e.service import Service, encode

SKIMAGE = Path(skimage.__file__).parent / "data"
SKLEARN = SKIMAGE.parents[1] / "sklearn" / "datasets" / "images"
PHOTOS = {
    "astronaut": SKIMAGE / "astronaut.png",
    "cat": SKIMAGE / "chelsea.png",
    "coffee": SKIMAGE / "coffee.png",
    "rocket": SKIMAGE / "rocket.jpg",
    "galaxies": SKIMAGE / "hubble_deep_field.jpg",
    "motorcycle": SKIMAGE / "motorcycle_left.png",
    "temple": SKLEARN / "china.jpg",
    "flower": SKLEARN / "flower.jpg",
}
LONG_SIDE_PX = 480
GALLERY = "photographs"


def photo(name: str) -> Image.Image:
    """One of PHOTOS in RGB, at most LONG_SIDE_PX long."""
    image = Image.open(PHOTOS[name]).convert("RGB")
    image.thumbnail((LONG_SIDE_PX, LONG_SIDE_PX))
    return image


@pytest.fixture(scope="module")
def gallery(service: Service) -> str:
    """All photographs, as they are."""
    service.create_gallery(GALLERY)
    service.enroll(GALLERY, {name: encode(np.asarray(photo(name)), quality=92) for name in PHOTOS})
    return GALLERY


def turned(image: Image.Image) -> Image.Image:
    """By 8 degrees, the corners cut off."""
    side = image.rotate(8, Image.Resampling.BICUBIC)
    width, height = side.size
    return side.crop((width // 12, height // 10, width - width // 12, height - height // 10))


def cropped(image: Image.Image) -> Image.Image:
    """To three quarters of each side, off the centre."""
    width, height = image.size
    return image.crop((width // 6, height // 12, width // 6 + 3 * width // 4, height // 12 + 3 * height // 4))


def relit(image: Image.Image) -> Image.Image:
    """Darker, flatter and warmer."""
    dark = ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(0.7)).enhance(0.85)
    warm = np.asarray(dark, dtype=np.float32) * np.array([1.12, 1.0, 0.85], dtype=np.float32)
    return Image.fromarray(np.clip(warm, 0, 255).astype(np.uint8))


def recompressed(image: Image.Image) -> Image.Image:
    """Small, and of bad quality."""
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BILINEAR)


CHANGES: list[Callable[[Image.Image], Image.Image]] = [turned, cropped, relit, recompressed]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_photographs_are_recognised(
    service: Service, gallery: str, change: Callable[[Image.Image], Image.Image]
) -> None:
    options = '{"detection_threshold": 1, "similarity_threshold": -1}'
    found: dict[str, str] = {}
    for name in PHOTOS:
        asked = encode(np.asarray(change(photo(name))), quality=35)
        result = service.recognized(asked, gallery, options=options)
        found[name] = result["recognitions"][0]["label"]
    assert found == {name: name for name in PHOTOS}


def test_photographs_in_scenes_are_found_where_they_are(service: Service, gallery: str) -> None:
    right, shown, wrong = 0, 0, []
    names = list(PHOTOS)
    for seed in range(8):
        random = np.random.default_rng(seed)
        chosen = [names[seed], names[(seed + 3) % len(names)]]
        sources = [(name, opaque(photo(name))) for name in chosen]
        scene = render_scene(sources, (640, 800), random, count=2, scale=(0.4, 0.6), clutter=0.3, occlusion=0.0)
        result = service.recognized(encode(scene.image, quality=80), gallery)
        for box, name in zip(scene.boxes, scene.labels, strict=True):
            shown += 1
            there = [entry["label"] for entry in result["recognitions"] if overlap(entry["box"], box) > 0.5]
            right += name in there
            wrong += [(name, other) for other in there if other != name]
    assert not wrong
    assert right >= 0.8 * shown, f"{right} of {shown} photographs were recognised in their place"


def opaque(image: Image.Image) -> NDArray[np.uint8]:
    """The photo as a cut-out (h, w, 4) without holes."""
    return np.asarray(image.convert("RGBA"))


def overlap(first: Sequence[float], second: Sequence[float]) -> float:
    """Intersection over union of two boxes (x1, y1, x2, y2)."""
    ax1, ay1, ax2, ay2 = first
    bx1, by1, bx2, by2 = second
    common = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    return float(common / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - common))
