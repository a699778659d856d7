"""The pictures of a calibration: what the network sees, seeded, and none compared on that was calibrated with."""

import numpy as np
import pytest

from models.image import normalize
from models.training.calibration import drawn_pictures, prepared, split
from models.training.export_program import square_input


@pytest.mark.parametrize("task", ["detect", "embed", "classify"])
def test_drawn_pictures_are_seeded_and_differ(task: str) -> None:
    first, again = drawn_pictures(task, 48, 3), drawn_pictures(task, 48, 3)
    assert len(first) == 3
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a.dtype, a.ndim, a.shape[2]) == (np.uint8, 3, 3)
        assert a.std() > 5
    assert first[0].shape != first[1].shape or (first[0] != first[1]).any()


def test_pictures_are_prepared_as_for_serving() -> None:
    given = square_input("x", 8, "cubic")
    pictures = [np.full((5, 9, 3), value, np.uint8) for value in (0, 100)]
    pixels = prepared(pictures, given)
    assert pixels.shape == (2, 3, 8, 8)
    np.testing.assert_allclose(
        pixels[1], normalize(np.full((8, 8, 3), 100, np.uint8), given.mean, given.std), atol=1e-6
    )


def test_a_picture_is_calibrated_with_or_compared_on() -> None:
    pixels = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1)
    calibrating, compared = split(pixels)
    assert compared.reshape(-1).tolist() == [3, 7]
    assert calibrating.reshape(-1).tolist() == [0, 1, 2, 4, 5, 6, 8, 9]
    few = pixels[:3]
    assert all(part is few for part in split(few))
