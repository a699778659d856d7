"""Random views: decided by the generator, of the size requested, and true to what they are views of."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from models.training.data.augment import DEFAULT, Strength, augment

STILL = Strength(
    turn_deg=0.0, quarter_turn=0.0, scale=(1.0, 1.0), shift=0.0, flip=0.0, gain=0.0, temperature=0.0, blur=0.0,
    noise=0.0, erase=0.0, clutter=0.0,
)  # fmt: skip


def opaque(height: int = 40, width: int = 40) -> NDArray[np.uint8]:
    rng = np.random.default_rng(7)
    colours = rng.integers(60, 200, (height // 8, width // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    return np.concatenate([colours, np.full((height, width, 1), 255, np.uint8)], axis=2)


def cut_out() -> NDArray[np.uint8]:
    view = opaque()
    view[:, :12, 3] = 0
    view[:, :12, :3] = 0
    return view


@pytest.mark.parametrize("make", [opaque, cut_out])
@pytest.mark.parametrize("size_px", [24, 40, 64])
def test_the_same_generator_gives_the_same_view(make: "type[object]", size_px: int) -> None:
    view = make()
    before = view.copy()
    grounds = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    views = [augment(view, size_px, np.random.default_rng([3, seed]), grounds) for seed in (0, 0, 1)]
    assert all(one.shape == (size_px, size_px, 3) and one.dtype == np.uint8 for one in views)
    np.testing.assert_array_equal(views[0], views[1])
    assert (views[0] != views[2]).mean() > 0.5
    np.testing.assert_array_equal(view, before)


def test_without_any_strength_and_gamma_a_view_stays_what_it_is() -> None:
    class Middle(np.random.Generator):
        """Samples the middle of every range, so that gamma is 1 too."""

        def uniform(self, low: float = 0.0, high: float = 1.0, size: object = None) -> object:
            middle = (low + high) / 2
            return middle if size is None else np.full(size, middle)

    view = opaque()
    seen = augment(view, 40, Middle(np.random.PCG64(0)), strength=STILL)
    assert np.abs(seen.astype(int) - view[..., :3]).max() <= 1


def test_photos_are_mirrored_over_their_edges_and_never_show_a_ground() -> None:
    view = opaque()
    away = replace(STILL, turn_deg=30.0, scale=(0.6, 0.7), shift=0.2)
    for seed in range(20):
        seen = augment(view, 48, np.random.default_rng(seed), np.zeros((1, 16, 16, 3), np.uint8), away)
        assert seen.min() > 20  # nothing of the black ground, no black corners


def test_a_cut_out_shows_the_ground_behind_it_in_a_fraction_of_the_views() -> None:
    ground = np.zeros((1, 16, 16, 3), np.uint8)
    ground[..., 1] = 255
    half = replace(STILL, clutter=0.5)
    green = []
    for seed in range(60):
        left = augment(cut_out(), 40, np.random.default_rng(seed), ground, half)[:, :8].reshape(-1, 3)
        green.append(bool((left[:, 1] > 200).all() and (left[:, 0] < 40).all()))
    assert 15 <= sum(green) <= 45
    never = augment(cut_out(), 40, np.random.default_rng(0), None, replace(STILL, clutter=1.0))
    assert never[:, :8].min() > 60  # without grounds: a plain light one


def test_a_flip_mirrors() -> None:
    view = opaque()
    plain = augment(view, 40, np.random.default_rng(4), strength=STILL)
    flipped = augment(view, 40, np.random.default_rng(4), strength=replace(STILL, flip=1.0))
    np.testing.assert_array_equal(flipped, plain[:, ::-1])


def test_a_patch_is_covered_in_one_colour() -> None:
    view = opaque()
    plain = augment(view, 40, np.random.default_rng(4), strength=STILL)
    covered = augment(view, 40, np.random.default_rng(4), strength=replace(STILL, erase=1.0))
    covered_pixels = (covered != plain).any(axis=2)
    rows, columns = np.flatnonzero(covered_pixels.any(axis=1)), np.flatnonzero(covered_pixels.any(axis=0))
    patch = covered[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].reshape(-1, 3)
    assert 0.005 < covered_pixels.mean() < 0.13
    assert len(np.unique(patch, axis=0)) == 1


def test_a_picture_of_another_shape_is_kept_whole() -> None:
    seen = augment(opaque(80, 40), 40, np.random.default_rng(0), strength=STILL)
    assert seen.shape == (40, 40, 3)


def test_the_usual_strengths_leave_the_picture_recognisable() -> None:
    view = opaque()
    means = [augment(view, 40, np.random.default_rng(seed), strength=DEFAULT).mean() for seed in range(40)]
    assert abs(np.mean(means) - view[..., :3].mean()) < 25
    assert np.std(means) > 3
