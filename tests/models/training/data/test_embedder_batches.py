"""Batches: decided by (seed, step) alone, shared out between processes, sampled by weight, and never waited for in vain."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.training.data.embedder_batches import Batch, BatchMaker, batches
from models.training.data.pool import Pool
from models.training.errors import TrainingError
from models.training.recipes.embedder import EmbedderRecipe
from models.training.recipes.pictures import Stage, ViewSource
from tests.models.training.tiny import TINY, Run

SOURCES = (
    ViewSource("rendered", "many", products=6, sampling_weight=1.0),
    ViewSource("rendered", "few", products=2, sampling_weight=3.0),
)
RECIPE = EmbedderRecipe("b", SOURCES, (Stage(3, 16, 8), Stage(2, 24, 4)))


def pool_of(views_of_class: list[int]) -> Pool:
    """Classes 0 .. 5 belong to the first source, 6 and 7 to the second; each view says which it is in its first number."""
    labels = np.repeat(np.arange(len(views_of_class)), views_of_class)
    count = len(labels)
    return Pool(
        views=np.random.default_rng(0).integers(0, 256, (count, 20, 20, 4), dtype=np.uint8),
        labels=labels,
        sources=(labels >= 6).astype(np.int64),
        targets=np.arange(count, dtype=np.float32)[:, None],
        vectors=np.arange(count, dtype=np.float32)[:, None] * 2,
        has_vector=(np.arange(count) % 2).astype(np.float32),
        backgrounds=np.zeros((1, 8, 8, 3), np.uint8),
    )


POOL = pool_of([3, 3, 3, 3, 3, 3, 3, 1])


def same(first: Batch, second: Batch) -> bool:
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("images", "labels", "targets", "vectors", "has_vector")
    )


def until(done: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline:
        time.sleep(0.02)
    return done()


def test_a_batch_is_decided_by_seed_and_step_alone() -> None:
    make = BatchMaker(RECIPE, POOL)
    fourth = make(3)
    make(0)
    assert same(make(3), fourth)
    assert same(BatchMaker(RECIPE, POOL)(3), fourth)
    later_end = replace(RECIPE, stages=(*RECIPE.stages, Stage(9, 32, 6)))
    assert same(BatchMaker(later_end, POOL)(3), fourth)
    assert not same(make(4), fourth)
    assert not same(BatchMaker(replace(RECIPE, seed=2), POOL)(3), fourth)


def test_a_batch_has_some_views_of_some_classes_at_the_stages_size() -> None:
    make = BatchMaker(RECIPE, POOL)
    for step, (count, size) in enumerate([(8, 16)] * 3 + [(4, 24)] * 2):
        batch = make(step)
        assert batch.images.shape == (count, size, size, 3)
        assert set(Counter(batch.labels.tolist()).values()) == {2}
        views = batch.targets[:, 0].astype(int)
        np.testing.assert_array_equal(POOL.labels[views], batch.labels)
        np.testing.assert_array_equal(batch.vectors[:, 0], views * 2)
        np.testing.assert_array_equal(batch.has_vector, views % 2)
        duplicated = [label for label in set(batch.labels.tolist()) if len(set(views[batch.labels == label])) == 1]
        assert set(duplicated) <= {7}  # the class with a single view


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_see_together_what_one_sees(world: int) -> None:
    recipe = replace(RECIPE, stages=(Stage(3, 16, 8), Stage(2, 24, 12)))
    for step in (0, 1, 4) if world != 4 else (0, 1):
        whole = BatchMaker(recipe, POOL)(step)
        fractions = [BatchMaker(recipe, POOL, rank, world)(step) for rank in range(world)]
        for name in ("images", "labels", "targets", "vectors", "has_vector"):
            np.testing.assert_array_equal(np.concatenate([getattr(s, name) for s in fractions]), getattr(whole, name))
        for fraction in fractions:
            assert set(Counter(fraction.labels.tolist()).values()) == {2}


def test_what_cannot_be_shared_out_evenly_is_left_out() -> None:
    recipe = replace(RECIPE, stages=(Stage(1, 16, 14),))
    whole = BatchMaker(recipe, POOL)(0)
    fractions = [BatchMaker(recipe, POOL, rank, 3)(0) for rank in range(3)]
    np.testing.assert_array_equal(np.concatenate([fraction.labels for fraction in fractions]), whole.labels[:12])


def test_sources_are_sampled_by_their_sampling_weights() -> None:
    one_class = replace(RECIPE, stages=(Stage(2000, 4, 2),))
    make = BatchMaker(one_class, replace(POOL, views=POOL.views[:, :4, :4]))
    sampled = Counter(int(make(step).labels[0]) for step in range(2000))
    few = sum(sampled[label] for label in (6, 7))
    assert few / 2000 == pytest.approx(0.75, abs=0.04)
    assert sampled[6] / few == pytest.approx(0.5, abs=0.05)
    assert all(sampled[label] / (2000 - few) == pytest.approx(1 / 6, abs=0.06) for label in range(6))


@pytest.mark.parametrize(
    ("recipe", "world"),
    [
        (replace(RECIPE, stages=(Stage(1, 16, 8), Stage(1, 16, 18))), 1),
        (replace(RECIPE, stages=(Stage(1, 16, 4),)), 3),
        (replace(RECIPE, data=(SOURCES[0], replace(SOURCES[1], sampling_weight=0.0)), stages=(Stage(1, 16, 14),)), 1),
    ],
)
def test_a_batch_that_the_pool_cannot_fill_is_reported_before_the_first_step(
    recipe: EmbedderRecipe, world: int
) -> None:
    with pytest.raises(TrainingError, match=r"needs \d+ classes a step; there are [68]"):
        BatchMaker(recipe, POOL, 0, world)


def test_the_process_sends_all_batches_from_any_step_on(tiny_run: Run) -> None:
    from models.training.data.pool import load_pool

    make = BatchMaker(TINY, load_pool(tiny_run.folder / "pool"))
    got = list(batches(TINY, tiny_run.folder / "pool", TINY.steps - 5, 0, 1))
    assert len(got) == 5
    for step, batch in enumerate(got, TINY.steps - 5):
        assert same(batch, make(step))
    assert not _producers()


def test_closing_ends_the_process(tiny_run: Run) -> None:
    source = batches(TINY, tiny_run.folder / "pool", 0, 0, 1)
    next(source)
    assert len(_producers()) == 1
    source.close()
    assert not _producers()


def test_a_process_that_dies_ends_the_run_with_a_reason(tiny_run: Run) -> None:
    source = batches(TINY, tiny_run.folder / "pool", 0, 0, 1)
    next(source)
    (producer,) = _producers()
    assert producer.pid is not None
    os.kill(producer.pid, signal.SIGKILL)
    with pytest.raises(TrainingError, match=r"ended \(exit code -9\)"):
        for _ in source:
            pass


def test_a_process_that_cannot_start_ends_the_run_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TrainingError, match=r"ended \(exit code 1\)"):
        next(batches(TINY, tmp_path / "no pool", 0, 0, 1))
    assert "FileNotFoundError" in capfd.readouterr().err  # why, in its own words


def test_what_the_process_finds_wrong_is_reported_as_it_is(tiny_run: Run) -> None:
    greedy = replace(TINY, stages=(Stage(1, 32, 4000),))
    with pytest.raises(TrainingError, match="needs 1000 classes a step; there are 24"):
        next(batches(greedy, tiny_run.folder / "pool", 0, 0, 1))


READER = """
import multiprocessing, sys, time
from pathlib import Path
from models.training.data.embedder_batches import batches
from models.training.recipes.embedder import EmbedderRecipe
from models.training.recipes.reading import load_recipe

if __name__ == "__main__":
    source = batches(load_recipe("embedder-tiny", EmbedderRecipe), Path(sys.argv[1]), 0, 0, 1)
    next(source)
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(600)
"""


def test_the_process_outlives_no_reader(tiny_run: Run, tmp_path: Path) -> None:
    script = tmp_path / "reader.py"
    script.write_text(READER, encoding="utf-8")
    root = Path(__file__).resolve().parents[4]
    with subprocess.Popen(
        [sys.executable, str(script), str(tiny_run.folder / "pool")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as reader:
        assert reader.stdout is not None
        producer = int(reader.stdout.readline())
        assert _lives(producer)
        reader.kill()
    assert until(lambda: not _lives(producer))


def _producers() -> list[multiprocessing.process.BaseProcess]:
    return [child for child in multiprocessing.active_children() if child.name == "batches"]


def _lives(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")
