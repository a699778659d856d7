"""Fingers, glare, low light and shake: each does what it says, leaves its input alone, and leaves most of the picture to see."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from models.training.data.augment import HANDHELD, augment
from models.training.data.handheld import add_glare, blur_motion, darken, put_fingers

Image = NDArray[np.uint8]
Effect = Callable[[Image, np.random.Generator], Image]


def picture() -> Image:
    rng = np.random.default_rng(0)
    return rng.integers(60, 190, (48, 64, 3)).astype(np.uint8)


@pytest.mark.parametrize("effect", [put_fingers, add_glare, darken, blur_motion])
def test_each_augments_a_copy_and_is_decided_by_its_generator(effect: Effect) -> None:
    before = picture()
    for seed in range(8):
        after = effect(before, np.random.default_rng(seed))
        assert after.shape == before.shape
        assert after.dtype == np.uint8
        assert (after != before).any()
        np.testing.assert_array_equal(after, effect(before, np.random.default_rng(seed)))
    np.testing.assert_array_equal(before, picture())


def test_fingers_reach_in_from_an_edge_and_leave_half_of_the_picture() -> None:
    for seed in range(30):
        differs = (put_fingers(picture(), np.random.default_rng(seed)) != picture()).any(axis=2)
        assert 0.0 < differs.mean() < 0.6
        assert differs[0].any() or differs[-1].any() or differs[:, 0].any() or differs[:, -1].any()


def test_glare_only_brightens_and_low_light_darkens() -> None:
    for seed in range(10):
        assert (add_glare(picture(), np.random.default_rng(seed)).astype(int) >= picture().astype(int) - 1).all()
        assert darken(picture(), np.random.default_rng(seed)).mean() < 0.7 * picture().mean()


def test_shake_blurs_along_one_direction_and_keeps_the_brightness() -> None:
    for seed in range(10):
        after = blur_motion(picture(), np.random.default_rng(seed))
        assert after.std() < picture().std()
        assert abs(float(after.mean()) - float(picture().mean())) < 3.0


def test_a_recipe_turns_them_on_for_its_views() -> None:
    view = np.dstack([picture(), np.full((48, 64), 255, np.uint8)])
    plain = [augment(view, 40, np.random.default_rng(seed)) for seed in range(30)]
    held = [augment(view, 40, np.random.default_rng(seed), strength=HANDHELD) for seed in range(30)]
    assert sum((a.shape == b.shape and (a != b).any()) for a, b in zip(plain, held, strict=True)) > 10
