"""Photos that benchmarks send: rendered scenes, each of its own bytes, so that no cache answers for the networks."""

import io
import struct
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.synth.designs import design_product
from models.synth.scenes import render_scene
from models.training.data.pool import on_grey, product_views

PRODUCTS = 12


@cache
def scene(number: int, count: int = 5) -> bytes:
    """A JPEG of 800x600 pixels with `count` products."""
    rng = np.random.default_rng([number, 9])
    designs = [(str(seed), design_product(int(seed))) for seed in rng.integers(0, PRODUCTS, count)]
    rendered = render_scene(designs, (600, 800), rng, count=count, scale=(0.25, 0.5))
    return encoded(rendered.image)


@cache
def item(product: int, view: int) -> bytes:
    """A gallery's picture of a product, as JPEG."""
    return encoded(on_grey(product_views(product, view + 1, 224)[view]))


def encoded(image: NDArray[np.uint8]) -> bytes:
    """JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def distinct(photo: bytes, number: int) -> bytes:
    """The same picture in other bytes: a JPEG comment after its first marker."""
    comment = f"{number:016d}".encode()
    return photo[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment + photo[2:]
