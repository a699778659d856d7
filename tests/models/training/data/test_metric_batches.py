"""Batches for metric learning: which pictures, how often, and the same ones again."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.training.data.metric_batches import MetricBatches, Pictures, of_files
from models.training.data.photos import DatasetError
from models.training.engine.prefetch import prefetch
from models.training.errors import TrainingError
from models.training.recipes.metric import Augment, MetricRecipe, Sampler, TripletAngularMargin
from models.training.recipes.pictures import Stage, ViewSource
from tests.models.training.data.readers.pictures import cut_short
from tests.models.training.metric_tiny import QUICK
from tests.models.training.photo_data import write_photos

# Source 0: classes 0 and 1 with 2 and 6 pictures; source 1: classes 2, 3 and 4 with 4 each.
LABELS = np.repeat(np.arange(5), (2, 6, 4, 4, 4))
SOURCES = (LABELS >= 2).astype(np.int64)


def recipe(sampler: Sampler, batch: int = 4, weights: tuple[float, float] = (1.0, 1.0), **changes: Any) -> MetricRecipe:
    data = tuple(
        ViewSource("rendered", f"source {number}", products=1, sampling_weight=weight)
        for number, weight in enumerate(weights)
    )
    loss = (
        replace(QUICK.loss, triplet_angular_margin=TripletAngularMargin(0.0))
        if sampler.views_per_class < 2
        else QUICK.loss
    )
    settings: dict[str, Any] = {"augment": Augment("flip"), "stages": (Stage(2000, 8, batch),), "eval": (), **changes}
    return replace(QUICK, sampler=sampler, data=data, loss=loss, **settings)


def pictures() -> Pictures:
    """Each picture is filled with its number."""
    return Pictures(LABELS, SOURCES, lambda index: np.full((8, 8, 3), index, np.uint8))


def sampled(make: MetricBatches, steps: int) -> list[list[int]]:
    return [make(step).images[:, 0, 0, 0].tolist() for step in range(steps)]


def test_a_batch_has_some_views_of_each_of_its_classes() -> None:
    make = MetricBatches(recipe(Sampler("class", 3), batch=9), pictures())
    for step in range(20):
        batch = make(step)
        assert sorted(Counter(batch.labels.tolist()).values()) == [3, 3, 3]
        shown = batch.images[:, 0, 0, 0]
        assert (LABELS[shown] == batch.labels).all()
        for label in set(batch.labels.tolist()) - {0}:  # class 0 has two pictures only
            assert len(set(shown[batch.labels == label].tolist())) == 3


@pytest.mark.parametrize(
    ("sampler", "weights", "expected"),
    [
        (Sampler("class", 4), (1.0, 1.0), (0.25, 0.25, 1 / 6, 1 / 6, 1 / 6)),
        (Sampler("class", 4), (2.0, 12.0), (1 / 14, 1 / 14, 4 / 14, 4 / 14, 4 / 14)),
        (Sampler("picture", 4), (1.0, 1.0), (0.125, 0.375, 1 / 6, 1 / 6, 1 / 6)),
        (Sampler("class", 4), (1.0, 0.0), (0.5, 0.5, 0, 0, 0)),
    ],
)
def test_how_often_a_class_is_sampled(
    sampler: Sampler, weights: tuple[float, float], expected: tuple[float, ...]
) -> None:
    make = MetricBatches(recipe(sampler, weights=weights), pictures())
    counts = Counter(int(make(step).labels[0]) for step in range(600))
    np.testing.assert_allclose([counts[label] / 600 for label in range(5)], expected, atol=0.06)


def test_shuffled_every_picture_comes_once_an_epoch_over_batches_and_processes() -> None:
    plan = recipe(Sampler("shuffle", 1), batch=6)
    makers = [MetricBatches(plan, pictures(), rank, 2) for rank in range(2)]
    taken = [index for step in range(10) for make in makers for index in sampled_at(make, step)]
    assert len(taken) == 60
    one = MetricBatches(plan, pictures())
    alone = [index for step in range(10) for index in sampled_at(one, step)]
    assert sorted(alone) == sorted(taken) == sorted(list(range(20)) * 3)
    assert [sorted(alone[start : start + 20]) for start in (0, 20, 40)] == [list(range(20))] * 3
    assert alone[:20] != alone[20:40]


def sampled_at(make: MetricBatches, step: int) -> list[int]:
    return [int(index) for index in make(step).images[:, 0, 0, 0]]


@pytest.mark.parametrize("sampler", [Sampler("class", 2), Sampler("shuffle", 1)])
def test_seed_rank_and_step_decide(sampler: Sampler) -> None:
    plan = recipe(sampler)
    whole, late = MetricBatches(plan, pictures()), MetricBatches(plan, pictures())
    steps = sampled(whole, 12)
    assert [sampled_at(late, step) for step in (11, 3, 7)] == [steps[11], steps[3], steps[7]]
    assert sampled(MetricBatches(plan, pictures(), 1, 2), 12) == [batch[2:] for batch in steps]
    assert sampled(MetricBatches(replace(plan, seed=2), pictures()), 12) != steps


@pytest.mark.parametrize("threads", [1, 3])
def test_batches_made_ahead_are_the_same_in_the_same_order(threads: int) -> None:
    make = MetricBatches(recipe(Sampler("class", 2)), pictures())
    got = [batch.images[:, 0, 0, 0].tolist() for batch in prefetch(make, range(3, 17), threads)]
    assert got == [sampled_at(make, step) for step in range(3, 17)]


def test_a_picture_that_fails_is_reported_where_it_is_used() -> None:
    def fails(index: int) -> np.ndarray:
        raise TrainingError(f"no picture {index}")

    make = MetricBatches(recipe(Sampler("class", 2)), replace(pictures(), read=fails))
    with pytest.raises(TrainingError, match="no picture"):
        next(prefetch(make, range(5), 2))


@pytest.mark.parametrize(
    ("batch", "world", "weights", "message"),
    [
        (12, 1, (1.0, 1.0), "a batch of 12 at 2 views a class needs 6 classes a step; there are 5"),
        (6, 1, (1.0, 0.0), "needs 3 classes a step; there are 2"),
    ],
)
def test_too_few_classes_are_reported(batch: int, world: int, weights: tuple[float, float], message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        MetricBatches(recipe(Sampler("class", 2), batch, weights), pictures(), 0, world)


def test_a_batch_smaller_than_the_group_is_reported() -> None:
    with pytest.raises(TrainingError, match="a batch of 2 gives 3 processes nothing to do"):
        MetricBatches(recipe(Sampler("shuffle", 1), 2), pictures(), 0, 3)


def test_stages_change_size_and_batch() -> None:
    plan = recipe(Sampler("class", 2), stages=(Stage(2, 8, 4), Stage(2, 12, 6)))
    shapes = [batch.images.shape for batch in prefetch(MetricBatches(plan, pictures()), range(4), 1)]
    assert shapes == [(4, 8, 8, 3)] * 2 + [(6, 12, 12, 3)] * 2


def test_photos_in_files_are_numbered_over_all_sources_and_broken_ones_reported_at_once(tmp_path: Path) -> None:
    for data in ("one", "two"):
        write_photos(tmp_path / data)
    shops = tuple(ViewSource("list", name, root=f"{name}/shop", file="labels.tsv") for name in ("one", "two"))
    plan = replace(recipe(Sampler("class", 2)), data=shops, pool_px=0)
    message: list[tuple[str, int, int]] = []
    found = of_files(plan, tmp_path, lambda *line: message.append(line), threads=2)
    assert found.labels.tolist() == np.repeat(np.arange(12), 2).tolist()
    assert found.sources.tolist() == [0] * 12 + [1] * 12
    assert found.read(23).shape == (40, 50, 3)
    assert message[-1] == ("pictures checked", 24, 24)
    cut_short(tmp_path / "one" / "shop" / "c0.png", tmp_path / "two" / "shop" / "a1.png")
    with pytest.raises(DatasetError, match=r"2 bad picture\(s\): .*c0\.png: .*a1\.png: "):
        of_files(plan, tmp_path)
    (tmp_path / "one" / "shop" / "d0.png").unlink()
    with pytest.raises(DatasetError, match=r"no file d0\.png"):
        of_files(plan, tmp_path)
