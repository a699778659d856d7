"""Training: it learns, it goes on where it was killed with the very same numbers, and it says why it can't."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from models.errors import ArtifactError
from models.evaluation.eval_sets import evaluate, load_eval_sets
from models.training.data.embedder_batches import BatchMaker
from models.training.data.pool import load_pool
from models.training.engine.checkpoint import Checkpoint
from models.training.engine.loop import Progress
from models.training.errors import TrainingError
from models.training.networks.embedder import build_embedder, embed_with, load_weights
from models.training.recipes.embedder import EmbedderNetwork, EmbedderRecipe, RecipeError, Teacher
from models.training.tasks.embedder import Student, losses_of, normalize, train_embedder
from tests.models.training.tiny import QUICK, TINY, Run


def quiet(*_: object) -> None:
    """Hears nothing."""


def with_pool(tiny_run: Run, out: Path) -> Path:
    """A run's folder that has its pool already."""
    out.mkdir()
    (out / "pool").symlink_to(tiny_run.folder / "pool")
    return out


def curve(out: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{"step": line["step"], **line["losses"], **line["eval"]} for line in lines]


def assert_same_end(first: Path, second: Path) -> None:
    for name in ("last.npz", "best.npz"):
        one, two = Checkpoint.load(first / name), Checkpoint.load(second / name)
        assert one.progress == two.progress
        assert one.groups.keys() == two.groups.keys()
        for group, arrays in one.groups.items():
            assert arrays.keys() == two.groups[group].keys()
            for key, array in arrays.items():
                np.testing.assert_allclose(
                    two.groups[group][key], array, rtol=1e-5, atol=1e-6, err_msg=f"{name} {group} {key}"
                )


@pytest.fixture(scope="module")
def uninterrupted(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = with_pool(tiny_run, tmp_path_factory.mktemp("runs") / "uninterrupted")
    train_embedder(QUICK, None, out, quiet, quiet)
    return out


def test_the_tiny_recipe_learns(tiny_run: Run) -> None:
    evaluated = [line for line in tiny_run.lines if line.eval]
    assert [line.step for line in evaluated] == list(range(10, TINY.steps + 1, 10))
    assert evaluated[-1].losses["class"] < 0.85 * evaluated[0].losses["class"]
    best = Checkpoint.load(tiny_run.folder / "best.npz")
    recalls = [line.eval["rendered"] for line in evaluated]
    assert best.progress["eval"]["rendered"] == max(recalls) > recalls[0]


def test_a_run_tells_how_far_it_is(tiny_run: Run) -> None:
    assert tiny_run.prepared[0] == ("views of rendered products", 1, 144)
    assert tiny_run.prepared[-1] == ("views of rendered products", 144, 144)
    for line in tiny_run.lines:
        assert line.steps == TINY.steps
        assert line.images_per_s > 0
        assert np.isfinite(list(line.losses.values())).all()
        assert ("triplet" in line.losses) == (line.step > 25)
    assert tiny_run.lines[-1].eta_s == 0
    told = curve(tiny_run.folder)
    assert told == [{"step": line.step, **line.losses, **line.eval} for line in tiny_run.lines]
    assert (tiny_run.folder / "curve.png").stat().st_size > 1000
    metrics = json.loads((tiny_run.folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["eval"] == tiny_run.lines[-1].eval


def test_best_weights_are_those_of_the_eval_sets(tiny_run: Run) -> None:
    network = build_embedder(TINY.network)
    best = Checkpoint.load(tiny_run.folder / "best.npz")
    assert load_weights(network, tiny_run.folder / "best.npz") == best.progress["step"]
    eval_sets = evaluate(embed_with(network), load_eval_sets(TINY, None, TINY.deploy_px))
    assert eval_sets["rendered"] == pytest.approx(best.progress["eval"]["rendered"], abs=0.02)


@pytest.mark.slow  # the killed run below takes the same way
def test_a_run_that_left_off_goes_on_with_the_same_numbers(uninterrupted: Path, tiny_run: Run, tmp_path: Path) -> None:
    out = with_pool(tiny_run, tmp_path / "run")
    for stop_after in (4, 8, None):
        train_embedder(QUICK, None, out, quiet, quiet, stop_after=stop_after)
    assert_same_end(uninterrupted, out)
    assert [line["step"] for line in curve(out)] == [4, 8, 12]
    for mine, theirs in zip(curve(out), curve(uninterrupted), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)


KILLED = """
import sys
from pathlib import Path
from models.training.tasks.embedder import train_embedder
from tests.models.training.tiny import QUICK

if __name__ == "__main__":
    train_embedder(QUICK, None, Path(sys.argv[1]), lambda line: print(line.step, flush=True), lambda *_: None)
"""


def test_a_killed_run_goes_on_with_the_same_numbers(uninterrupted: Path, tiny_run: Run, tmp_path: Path) -> None:
    out = with_pool(tiny_run, tmp_path / "run")
    script = tmp_path / "killed.py"
    script.write_text(KILLED, encoding="utf-8")
    root = Path(__file__).resolve().parents[4]
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", str(script), str(out)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "4\n"
        deadline = time.monotonic() + 30
        while not (out / "last.npz").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        os.kill(run.pid, signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    stopped_at = Checkpoint.load(out / "last.npz").progress["step"]
    assert stopped_at in (4, 8)
    # What a kill may leave behind: a line of a step after the checkpoint, and half a line.
    with (out / "curve.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"step": 11, "class": 0.1}\n{"step": 1')
    train_embedder(QUICK, None, out, quiet, quiet)
    assert_same_end(uninterrupted, out)
    for mine, theirs in zip(curve(out), curve(uninterrupted), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)


@pytest.mark.slow
def test_dropped_features_are_the_same_after_a_stop(tiny_run: Run, tmp_path: Path) -> None:
    recipe = replace(QUICK, network=replace(QUICK.network, dropout=0.4), eval=())
    outs = [with_pool(tiny_run, tmp_path / name) for name in ("whole", "stopped")]
    train_embedder(recipe, None, outs[0], quiet, quiet, stop_after=8)
    for stop_after in (4, 8):
        train_embedder(recipe, None, outs[1], quiet, quiet, stop_after=stop_after)
    assert_same_end(*outs)


def test_a_finished_run_has_nothing_left_to_do(uninterrupted: Path) -> None:
    told: list[Progress] = []
    before = (uninterrupted / "last.npz").read_bytes()
    assert train_embedder(QUICK, None, uninterrupted, told.append, quiet) == uninterrupted / "best.npz"
    assert not told
    assert (uninterrupted / "last.npz").read_bytes() == before
    assert len(curve(uninterrupted)) == 3


def test_another_recipe_does_not_go_on_with_this_run(uninterrupted: Path) -> None:
    other = replace(QUICK, loss=replace(QUICK.loss, margin=0.3))
    with pytest.raises(TrainingError, match="belongs to another recipe"):
        train_embedder(other, None, uninterrupted, quiet, quiet)


@pytest.mark.parametrize("cause", ["learning_rate", "scale"])
def test_a_loss_that_is_no_number_ends_the_run(tiny_run: Run, tmp_path: Path, cause: str) -> None:
    out = with_pool(tiny_run, tmp_path / "run")
    wild: EmbedderRecipe = (
        replace(QUICK, optimizer=replace(QUICK.optimizer, learning_rate=1e38, warmup_steps=0))
        if cause == "learning_rate"
        else replace(QUICK, loss=replace(QUICK.loss, scale=float("inf")))
    )
    with pytest.raises(TrainingError, match=r"(the loss is (nan|inf)|holds no numbers) at step \d"):
        train_embedder(wild, None, out, quiet, quiet)
    assert not (out / "last.npz").exists()


def test_a_run_starts_from_the_weights_of_another(tiny_run: Run, tmp_path: Path) -> None:
    out = with_pool(tiny_run, tmp_path / "run")
    calm = replace(QUICK, optimizer=replace(QUICK.optimizer, learning_rate=0.0, weight_decay=0.0), eval=())
    train_embedder(calm, None, out, quiet, quiet, init=tiny_run.folder / "best.npz", stop_after=1)
    expected = Checkpoint.load(tiny_run.folder / "best.npz").groups["embedder"]
    got = Checkpoint.load(out / "best.npz").groups["embedder"]
    weights = [name for name in expected if name.endswith("weight")]
    assert len(weights) > 10
    for name in weights:
        np.testing.assert_allclose(got[name], expected[name], atol=1e-6)


def test_weights_of_another_network_are_refused(tiny_run: Run, tmp_path: Path) -> None:
    for network in (replace(TINY.network, width=0.25), replace(TINY.network, kind="v1", width=0.25)):
        with pytest.raises(ArtifactError, match="holds another network than the recipe's"):
            load_weights(build_embedder(network), tiny_run.folder / "best.npz")
    Checkpoint({"detector": {}}, {}).save(tmp_path / "best.npz")
    with pytest.raises(ArtifactError, match="holds no embedder"):
        load_weights(build_embedder(TINY.network), tmp_path / "best.npz")


def test_each_part_of_the_loss_is_there_when_the_recipe_and_the_pool_have_it(tiny_run: Run) -> None:
    pool = load_pool(tiny_run.folder / "pool")
    count = len(pool.labels)
    targets = np.eye(TINY.network.embedding_size, dtype=np.float32)[np.arange(count) % 64]
    known = np.eye(5, dtype=np.float32)[np.arange(count) % 5]
    rich = replace(pool, targets=targets, vectors=known, has_vector=np.ones(count, np.float32))
    batch = BatchMaker(QUICK, rich)(0)
    student = Student(QUICK, rich.classes, 5)
    early, late = losses_of(student, QUICK, batch, 0), losses_of(student, QUICK, batch, QUICK.steps - 1)
    assert set(early) == {"class", "distill", "vector"}
    assert set(late) == {"class", "distill", "vector", "triplet"}
    doubled = replace(QUICK, loss=replace(QUICK.loss, distill_weight=2 * QUICK.loss.distill_weight))
    student.eval()
    once, twice = losses_of(student, QUICK, batch, 0), losses_of(student, doubled, batch, 0)
    assert float(twice["distill"]) == pytest.approx(2 * float(once["distill"]), rel=1e-5)
    sum(late.values(), paddle.zeros([])).backward()
    assert all(np.abs(parameter.grad.numpy()).sum() > 0 for parameter in (student.proxies, student.to_vector.weight))


def test_both_kinds_of_embedder_are_built_as_wide_as_asked() -> None:
    images = paddle.zeros([2, 3, 32, 32])
    for kind in ("v1", "v2"):
        network = build_embedder(EmbedderNetwork(kind, 0.25, (1, 1, 1, 1), 24))
        network.eval()
        assert network(images).shape == [2, 24]


def test_pictures_are_normalised_by_imagenets_mean() -> None:
    image = np.zeros((1, 2, 3, 3), np.uint8)
    image[0, 1, 2] = (255, 128, 0)
    got = normalize(image)
    assert got.shape == (1, 3, 2, 3)
    for channel, (value, mean, std) in enumerate([(1.0, 0.485, 0.229), (128 / 255, 0.456, 0.224), (0, 0.406, 0.225)]):
        assert got[0, channel, 1, 2] == pytest.approx((value - mean) / std, abs=1e-5)


def test_a_target_of_another_length_is_told_before_pictures_are_drawn(tmp_path: Path) -> None:
    recipe = replace(TINY, teacher=Teacher("t.xml", feature_dims=100, colour_dims=28), data=TINY.data)
    with pytest.raises(RecipeError, match=f"is {TINY.network.embedding_size}, .* make 128"):
        train_embedder(recipe, tmp_path, tmp_path / "run", lambda _: None, lambda *_: None)
    assert not (tmp_path / "run" / "pool").exists()
