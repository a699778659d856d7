"""The learning rate by its formula, and the moving average by its definition."""

import math
from itertools import pairwise

import numpy as np
import paddle
import pytest
from paddle import nn

from models.training.engine.schedule import AverageRule, MovingAverage, cosine_learning_rate, images_before
from models.training.recipes.pictures import Stage


def test_the_rate_warms_up_in_equal_steps_and_then_follows_half_a_cosine() -> None:
    rates = [cosine_learning_rate(step, 100, 0.5, 10, final=0.01) for step in range(100)]
    np.testing.assert_allclose(rates[:10], [0.05 * (step + 1) for step in range(10)])
    for step in range(10, 100):
        assert rates[step] == pytest.approx(0.5 * (0.01 + 0.99 * (1 + math.cos(math.pi * (step - 10) / 90)) / 2))
    assert rates[10] == max(rates) == 0.5
    assert all(later < earlier for earlier, later in pairwise(rates[10:]))
    assert cosine_learning_rate(100, 100, 0.5, 10, final=0.01) == pytest.approx(0.005)
    assert cosine_learning_rate(500, 100, 0.5, 10, final=0.01) == pytest.approx(0.005)
    assert cosine_learning_rate(100, 100, 0.5, 10) == pytest.approx(0.0)


def test_a_run_may_be_without_warm_up_or_all_warm_up() -> None:
    assert cosine_learning_rate(0, 10, 0.5, 0) == 0.5
    assert cosine_learning_rate(9, 10, 0.5, 10) == 0.5
    assert 0 < cosine_learning_rate(3, 4, 0.5, 100) < 0.5


def test_the_average_follows_the_weights_and_the_batch_statistics() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1D(4))
    average = MovingAverage(network, AverageRule(0.5))
    expected = {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}
    rng = np.random.default_rng(0)
    for step in range(6):
        network.train()
        network(paddle.to_tensor(rng.normal(size=(8, 3)).astype(np.float32)))  # moves the batch statistics
        fresh = rng.normal(size=(3, 4)).astype(np.float32)
        network[0].weight.set_value(fresh)
        average.update(network, step)
        decay = min(0.5, (1 + step) / (10 + step))
        for name, tensor in network.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * tensor.numpy()
            np.testing.assert_allclose(average.values[name].numpy(), expected[name], rtol=1e-5, atol=1e-6)
    assert set(average.values) == set(network.state_dict())


def test_the_average_is_no_alias_of_the_weights() -> None:
    network = nn.Linear(2, 2)
    average = MovingAverage(network, AverageRule(0.9))
    before = average.values["weight"].numpy().copy()
    network.weight.set_value(np.full((2, 2), 7, np.float32))
    np.testing.assert_array_equal(average.values["weight"].numpy(), before)


def test_a_warm_up_may_start_above_zero() -> None:
    rates = [cosine_learning_rate(step, 100, 0.5, 10, start=0.2) for step in range(11)]
    np.testing.assert_allclose(np.diff(rates[:10]), 0.5 * 0.8 / 10)
    assert rates[0] == pytest.approx(0.5 * (0.2 + 0.08))
    assert rates[9] == rates[10] == pytest.approx(0.5)


def test_after_each_cycle_the_average_forgets_and_may_be_adopted() -> None:
    network = nn.Linear(1, 1)
    averages = {adopt: MovingAverage(network, AverageRule(0.9, 2, adopt)) for adopt in (False, True)}
    for value, average in ((1.0, averages[False]), (1.0, averages[True])):
        network.weight.set_value(paddle.full([1, 1], value))
        average.update(network, 0)  # the first of a cycle: a tenth of what was before
        network.weight.set_value(paddle.full([1, 1], 5.0))
        average.update(network, 1)
        last = average.values["weight"].item()
        assert network.weight.item() == (last if average.rule.adopt else 5.0)
        network.weight.set_value(paddle.full([1, 1], 9.0))
        average.update(network, 2)
        assert average.values["weight"].item() == pytest.approx(0.1 * last + 0.9 * 9.0)


def test_images_are_counted_over_the_stages() -> None:
    stages = (Stage(3, 32, 4), Stage(2, 32, 10))
    assert [images_before(stages, step) for step in range(7)] == [0, 4, 8, 12, 22, 32, 32]
