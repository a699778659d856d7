"""Every picture comes once an epoch, in batches of about equal pixels, the same ones after a resumption and over processes."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from models.training.data.class_batches import ClassBatches, EpochSampler
from models.training.data.class_data import ClassPictures
from models.training.errors import TrainingError
from models.training.recipes.classifier import ClassAugment, ClassifierRecipe, ClassSampler, ClassSource

RECIPE = ClassifierRecipe(
    "r", "PPLCNet_x0_25", (ClassSource("rendered", "s", products=1),), epochs=3, sampler=ClassSampler(6, (32,))
)
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 40, 40, 3), dtype=np.uint8)
PICTURES = ClassPictures(np.arange(20) % 7, lambda index: PIXELS[index])


def test_an_epoch_takes_every_picture_once() -> None:
    sampler = EpochSampler(ClassSampler(6, (32,)), seed=3, count=20)
    assert sampler.steps == 4
    epochs = [np.concatenate([sampler(epoch * 4 + step) for step in range(4)]) for epoch in range(2)]
    for order in epochs:
        assert sorted(order[:20]) == list(range(20))
        np.testing.assert_array_equal(order[20:], order[:4])  # the last batch is filled from the first
    assert (epochs[0] != epochs[1]).any()
    assert [sampler.pictures_before(step) for step in (0, 1, 4, 6)] == [0, 6, 24, 36]


def test_scales_have_batches_of_equal_pixels() -> None:
    sampler = EpochSampler(ClassSampler(500, (160, 192, 224, 288, 320), 32), seed=1, count=50_000)
    batches = {shape.size_px: shape.batch for shape in sampler.shapes}
    assert batches == {160: 500, 192: 347, 224: 255, 288: 154, 320: 125}  # as PaddleClas computes them
    counted = Counter(shape.size_px for shape in sampler.shapes)
    assert min(counted.values()) > 0.6 * len(sampler.shapes) / 5
    assert {len(sampler(step)) for step in range(sampler.steps)} == set(batches.values())
    every = np.concatenate([sampler(step) for step in range(sampler.steps)])
    assert sorted(every[:50_000]) == list(range(50_000))
    rounded = EpochSampler(ClassSampler(10, (65, 50), 32), seed=1, count=100)
    assert {shape.size_px for shape in rounded.shapes} == {64, 32}


def test_processes_share_the_batch_of_one() -> None:
    alone = ClassBatches(RECIPE, PICTURES)
    parts = [ClassBatches(RECIPE, PICTURES, rank, 2) for rank in range(2)]
    for step in (0, 5, 11):
        whole = alone(step)
        assert whole.pixels.shape == (6, 3, 32, 32)
        assert (whole.own, whole.others is whole.labels) == (1.0, True)
        for rank, part in enumerate(parts):
            np.testing.assert_array_equal(part(step).labels, whole.labels[rank::2])
            np.testing.assert_array_equal(part(step).pixels, whole.pixels[rank::2])
    with pytest.raises(TrainingError, match="leaves 6 pictures of 32 pixels to 7"):
        ClassBatches(RECIPE, PICTURES, 0, 7)


def test_a_step_s_batch_is_always_the_same_and_epochs_differ() -> None:
    recipe = replace(RECIPE, augment=ClassAugment(mixup_alpha=0.4))
    one, two = ClassBatches(recipe, PICTURES), ClassBatches(recipe, PICTURES)
    first, again = one(7), two(7)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.others, again.others)
    assert first.own == again.own < 1
    plain = ClassBatches(RECIPE, PICTURES)
    picture = int(plain.sampler(0)[0])
    later = next(step for step in range(4, 8) if picture in plain.sampler(step))
    place = list(plain.sampler(later)).index(picture)
    assert (plain(0).pixels[0] != plain(later).pixels[place]).any()
