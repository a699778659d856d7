"""PP-ShiTu's augmentations do what their names say, and no more."""

import numpy as np
import pytest

from models.training.data.metric_views import MEAN_COLOUR, augmented, erased, flipped, pad_crop, rotated
from models.training.recipes.metric import AUGMENTATIONS, Augment

RAMP = np.stack([*np.meshgrid(np.arange(0, 224, 7), np.arange(0, 224, 7)), np.full((32, 32), 99)], axis=2).astype(
    np.uint8
)


def rngs(count: int = 40) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


@pytest.mark.parametrize("kind", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [3, 4])
def test_every_kind_gives_rgb_of_the_size_and_the_seed_decides(kind: str, channels: int) -> None:
    view = np.concatenate([RAMP, np.full((32, 32, 1), 255, np.uint8)], axis=2)[..., :channels]
    how = Augment(kind, 0.5, 30.0, 0.5)
    one, two, other = (augmented(view, 24, np.random.default_rng(seed), how) for seed in (1, 1, 2))
    assert one.shape == (24, 24, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()


def test_cut_outs_come_on_grey_or_on_a_background() -> None:
    view = np.zeros((32, 32, 4), np.uint8)
    background = np.full((1, 8, 8, 3), (10, 20, 30), np.uint8)
    plain = [augmented(view, 16, rng, Augment("flip"))[0, 0].tolist() for rng in rngs(4)]
    assert plain == [[235] * 3] * 4
    mixed = {tuple(augmented(view, 16, rng, Augment("flip"), background)[0, 0].tolist()) for rng in rngs()}
    assert mixed == {(235, 235, 235), (10, 20, 30)}


def test_a_flip_is_the_mirror_image_half_of_the_time() -> None:
    mirrored = [np.array_equal(flipped(RAMP, rng), RAMP[:, ::-1]) for rng in rngs()]
    assert 10 < sum(mirrored) < 30
    assert all(np.array_equal(flipped(RAMP, rng), RAMP) != mirror for rng, mirror in zip(rngs(), mirrored, strict=True))


def test_a_padded_crop_is_shifted_by_at_most_the_margin() -> None:
    big = np.zeros((224, 224, 3), np.uint8)
    big[112, 112] = 255
    shifts = []
    for rng in rngs():
        y, x, _ = np.argwhere(pad_crop(big, rng))[0]
        shifts.append((int(y) - 112, int(x) - 112))
    assert {abs(shift) for both in shifts for shift in both} <= set(range(11))
    assert max(max(map(abs, both)) for both in shifts) > 7
    assert len(set(shifts)) > 30


def test_a_resized_crop_is_a_part_of_the_picture() -> None:
    widths = []
    for rng in rngs():
        part = augmented(RAMP, 32, rng, Augment("resized_crop")).astype(int)
        part = part if part[0, 0, 0] <= part[0, -1, 0] else part[:, ::-1]  # half of them are mirrored
        assert part.shape == (32, 32, 3)
        assert (part[..., 2] == 99).all()
        assert (np.diff(part[..., 0], axis=1) >= 0).all()
        widths.append((part[0, -1, 0] - part[0, 0, 0]) / 217)
    assert min(widths) < 0.5
    assert max(widths) > 0.8


def test_a_rotation_keeps_the_middle_and_stays_within_its_angle() -> None:
    arrow = np.zeros((65, 65, 3), np.uint8)
    arrow[32, 52:60] = 255
    angles = []
    for rng in rngs():
        y, x = np.argwhere(rotated(arrow, rng, 90.0)[..., 0] > 60).mean(axis=0) - 32
        assert np.hypot(x, y) == pytest.approx(23.5, abs=1.0)
        angles.append(np.degrees(np.arctan2(-y, x)))
    assert max(np.abs(angles)) < 93
    assert min(angles) < -45
    assert max(angles) > 45


def test_an_erased_patch_is_one_box_of_the_mean_colour() -> None:
    white, areas = np.full((40, 40, 3), 255, np.uint8), []
    for rng in rngs():
        image = erased(white, rng)
        gone = (image == MEAN_COLOUR).all(axis=2)
        rows, columns = np.flatnonzero(gone.any(axis=1)), np.flatnonzero(gone.any(axis=0))
        assert gone.sum() == len(rows) * len(columns)
        areas.append(gone.mean())
    assert 0.01 < min(areas) < max(areas) < 0.45
    assert (white == 255).all()


def test_rotation_and_erasing_come_as_often_as_requested() -> None:
    still = [
        np.array_equal(augmented(RAMP, 32, rng, Augment("flip", 0.3)), flipped(RAMP, again))
        for rng, again in zip(rngs(100), rngs(100), strict=True)
    ]
    assert 55 < sum(still) < 85
