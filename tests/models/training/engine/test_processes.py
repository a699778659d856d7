"""Two real processes train as one with the whole batch does: the same weights, within rounding."""

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from numpy.typing import NDArray
from paddle import nn

from models.training.engine.processes import ALONE, Group
from models.training.engine.synchronised_norm import synchronise_norms
from tests.models.training import several
from tests.models.training.two_processes import run_in_two

Arrays = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one process has trained in `alone`, and two have left what tests/models/training/several.py describes."""
    folder = tmp_path_factory.mktemp("several")
    several.write_textured(folder / "data")
    several.train(folder / "data", folder / "alone")
    run_in_two(several.__file__, folder / "logs", folder, folder / "data")
    return folder


def parts(folder: Path, name: str) -> list[Arrays]:
    found = []
    for rank in (0, 1):
        with np.load(folder / f"{name}{rank}.npz") as stored:
            found.append(dict(stored))
    return found


def weights(folder: Path) -> Arrays:
    with np.load(folder / "last.npz") as stored:
        return {key: stored[key] for key in stored.files if key.startswith("module/")}


def apart(one: Arrays, other: Arrays) -> float:
    """The largest difference of a parameter or statistic, as a fraction of how far it is from zero at most.

    Biases begin at zero, so that for them it is a fraction of all that was learnt.
    """
    assert one.keys() == other.keys()
    assert len(one) > 50
    return max(float(np.abs(one[key] - other[key]).max() / max(1e-3, np.abs(one[key]).max())) for key in one)


def test_two_processes_reach_the_weights_of_one_with_the_whole_batch(folder: Path) -> None:
    # With batch statistics of their own the processes end 1.5 apart by this measure.
    assert apart(weights(folder / "alone"), weights(folder / "together")) < 1e-5


def test_they_log_the_losses_of_the_whole_batch(folder: Path) -> None:
    lines = [
        json.loads((folder / name / "curve.jsonl").read_text(encoding="utf-8").splitlines()[-1])
        for name in ("alone", "together")
    ]
    assert set(lines[0]["losses"]) == {"class", "vector", "triplet"}
    assert lines[1]["losses"] == pytest.approx(lines[0]["losses"], rel=1e-6)


def test_batch_norms_are_those_of_the_whole_batch_forward_and_back(folder: Path) -> None:
    whole, (first, second) = several.norms(ALONE), parts(folder, "norms")
    assert whole.keys() == first.keys() == second.keys()
    for key, expected in whole.items():
        if key.split()[1] in ("y", "dx", "served"):
            np.testing.assert_allclose(np.concatenate([first[key], second[key]]), expected, rtol=2e-4, atol=2e-6)
        else:
            np.testing.assert_allclose(first[key], expected, rtol=2e-4, atol=2e-6, err_msg=key)
            np.testing.assert_array_equal(first[key], second[key])


def test_a_loss_over_gathered_rows_is_that_of_the_whole_batch_forward_and_back(folder: Path) -> None:
    whole, (first, second) = several.gathered(ALONE), parts(folder, "gathered")
    np.testing.assert_array_equal(first["every"], whole["every"])
    np.testing.assert_array_equal(second["every"], whole["every"])
    np.testing.assert_allclose(np.concatenate([first["dx"], second["dx"]]), whole["dx"], rtol=1e-5)


def test_every_process_knows_the_mean(folder: Path) -> None:
    for found in parts(folder, "mean"):
        assert {key: float(value) for key, value in found.items()} == {"loss": 1.0, "one": 1.0}


def test_alone_nothing_changes() -> None:
    norm = nn.BatchNorm2D(3)
    before = norm.forward
    assert synchronise_norms(norm, ALONE) == 0
    assert norm.forward == before
    rows = paddle.ones([2, 3])
    assert ALONE.gather(rows) is rows
    assert ALONE.mean({"a": 2.0}) == {"a": 2.0}


def test_parts_cover_what_divides() -> None:
    things = list(range(11))
    assert [things[Group(rank, 3).slice_of(11)] for rank in range(3)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
