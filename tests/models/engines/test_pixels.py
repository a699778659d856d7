"""A program that cannot be fixed to one picture's bytes still takes pictures, as it was made."""

from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from models.artifacts.manifest import ImageInput
from models.engines.pixels import load_pixel_program
from models.pictures.image import normalize

SPEC = ImageInput("x", 8, 8, "linear", (0.5, 0.5, 0.5), (0.2, 0.3, 0.4))


def made_for_two(folder: Path) -> Path:
    """A program whose batch of two is written into it."""
    pixels = ops.parameter([2, 3, 8, 8], np.float32, name="x")
    flat = ops.reshape(pixels, ops.constant(np.array([2, 192])), False)
    pixels.output(0).get_tensor().set_names({"x"})
    flat.output(0).get_tensor().set_names({"y"})
    ov.save_model(ov.Model([flat], [pixels], "two"), folder / "inference.xml", compress_to_fp16=False)
    return folder


def test_a_batch_that_is_written_into_a_program_is_kept(tmp_path: Path) -> None:
    pictures = list(np.random.default_rng(1).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8))
    expected = np.stack([normalize(one, SPEC.mean, SPEC.std).ravel() for one in pictures])
    for _ in range(2):  # compiled, and as it was kept
        program = load_pixel_program(made_for_two(tmp_path), SPEC, engine="openvino")
        np.testing.assert_allclose(program.run(pictures)["y"], expected, atol=1e-6)
