"""Which classes and pictures are sampled: the same as by loops over all pictures, and in the same order."""

from dataclasses import replace

import numpy as np
import pytest

from models.training.data.class_sampling import PKSampler, nearest_classes, pk_sampler
from models.training.errors import TrainingError

# Source 0: classes 0, 1 and 3; source 1: class 2; source 2: class 4. Their pictures lie scattered.
LABELS = np.random.default_rng(4).permutation(np.repeat(np.arange(5), (2, 6, 4, 1, 3)))
SOURCES = np.array([0, 0, 1, 0, 2])[LABELS]
WEIGHTS = (1.0, 0.4, 0.25)


def slow_probabilities(*, by_pictures: bool) -> list[float]:
    """A class has of its source's weight what it has of the source's classes or pictures."""
    probabilities = []
    for label in range(5):
        (source,) = {int(s) for s, other in zip(SOURCES, LABELS, strict=True) if other == label}
        if by_pictures:
            part = list(LABELS).count(label) / list(SOURCES).count(source)
        else:
            part = 1 / len({int(other) for s, other in zip(SOURCES, LABELS, strict=True) if s == source})
        probabilities.append(WEIGHTS[source] / sum(WEIGHTS) * part)
    return probabilities


@pytest.mark.parametrize("by_pictures", [False, True])
def test_members_and_probabilities_are_those_of_a_loop(by_pictures: bool) -> None:
    sampler = pk_sampler(LABELS, SOURCES, WEIGHTS, by_pictures=by_pictures)
    assert [some.tolist() for some in sampler.members] == [
        [place for place, other in enumerate(LABELS) if other == label] for label in range(5)
    ]
    np.testing.assert_allclose(sampler.probabilities, slow_probabilities(by_pictures=by_pictures), rtol=1e-14)


def test_classes_come_first_and_then_the_pictures_of_each() -> None:
    sampler = pk_sampler(LABELS, SOURCES, WEIGHTS)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        classes = rng.choice(5, 3, replace=False, p=slow_probabilities(by_pictures=False))
        expected = []
        for label in classes:
            own = [place for place, other in enumerate(LABELS) if other == label]
            expected += rng.choice(own, 2, replace=len(own) < 2).tolist()
        assert sampler(np.random.default_rng(seed), 3, 2).tolist() == expected


def test_a_source_without_a_fraction_and_a_source_without_classes_are_never_sampled() -> None:
    sampler = pk_sampler(LABELS, SOURCES, (1.0, 0.0, 1.0, 5.0))
    assert sampler.probabilities[2] == 0
    assert sampler.probabilities.sum() == pytest.approx(1)
    assert not (SOURCES[sampler(np.random.default_rng(0), 4, 3)] == 1).any()


def test_what_cannot_be_sampled_is_reported() -> None:
    sampler: PKSampler = pk_sampler(LABELS, SOURCES, (1.0, 0.0, 1.0))
    sampler.require(8, 2)
    sampler.require(8, 2, processes=4)
    with pytest.raises(TrainingError, match=r"a batch of 10 at 2 views a class needs 5 classes a step; there are 4$"):
        sampler.require(10, 2)
    with pytest.raises(TrainingError, match="needs 0 classes a step"):
        sampler.require(1, 2)
    with pytest.raises(TrainingError, match="needs 4 classes a step; there are 4, for 5 processes"):
        sampler.require(8, 2, processes=5)


def test_neighbours_take_the_places_of_a_batch_and_no_class_comes_twice() -> None:
    labels, sources = np.arange(12), np.repeat([0, 1], 6)
    centres = np.eye(12, dtype=np.float32)
    centres[1] = centres[0] + 0.1 * centres[1]  # two flavours of one design
    centres[7] = centres[0] + 0.05 * centres[7]  # alike as well, but of another source
    near = nearest_classes(centres, labels, sources, count=1)
    assert near[0, 0] == 1
    assert near[1, 0] == 0
    sampler = replace(pk_sampler(labels, sources, (1.0, 1.0)), neighbours=near, hard=0.5)
    together = 0
    for seed in range(60):
        classes = sampler(np.random.default_rng(seed), 4, 1).tolist()
        assert len(set(classes)) == 4
        together += {0, 1} <= set(classes)
    plain = pk_sampler(labels, sources, (1.0, 1.0))
    at_random = sum({0, 1} <= set(plain(np.random.default_rng(seed), 4, 1).tolist()) for seed in range(60))
    assert together > 2 * at_random


def test_a_class_alone_in_its_source_is_its_own_neighbour() -> None:
    near = nearest_classes(np.eye(3, dtype=np.float32), np.arange(3), np.array([0, 1, 1]), count=2)
    assert near.tolist() == [[0, 0], [2, 1], [1, 2]]
    sampler = replace(pk_sampler(np.arange(3), np.array([0, 1, 1]), (1.0, 1.0)), neighbours=near, hard=0.6)
    assert sorted(sampler(np.random.default_rng(0), 3, 1).tolist()) == [0, 1, 2]
