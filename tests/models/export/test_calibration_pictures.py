"""The pictures of a calibration: what the network sees, seeded, and none compared on that was calibrated with."""

import numpy as np
import pytest

from models.export.calibration_pictures import prepared, split, synthetic_pictures
from models.pictures.image import normalize
from models.training.engine.inputs import square_input


@pytest.mark.parametrize("task", ["detect", "embed", "classify"])
def test_synthetic_pictures_are_seeded_and_differ(task: str) -> None:
    first, again = synthetic_pictures(task, 48, 3), synthetic_pictures(task, 48, 3)
    assert len(first) == 3
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a.dtype, a.ndim, a.shape[2]) == (np.uint8, 3, 3)
        assert a.std() > 5
    assert first[0].shape != first[1].shape or (first[0] != first[1]).any()


def test_a_picture_is_prepared_as_for_serving() -> None:
    given = square_input("x", 8, "cubic")
    pixels = prepared(np.full((5, 9, 3), 100, np.uint8), given)
    assert pixels.shape == (1, 3, 8, 8)
    np.testing.assert_allclose(
        pixels[0], normalize(np.full((8, 8, 3), 100, np.uint8), given.mean, given.std), atol=1e-6
    )


def test_a_picture_is_calibrated_with_or_compared_on() -> None:
    pictures = [np.full((1, 1, 3), number, np.uint8) for number in range(10)]
    calibrating, compared = split(pictures)
    assert [int(picture[0, 0, 0]) for picture in compared] == [3, 7]
    assert [int(picture[0, 0, 0]) for picture in calibrating] == [0, 1, 2, 4, 5, 6, 8, 9]
    few = pictures[:3]
    assert all(part == few for part in split(few))
