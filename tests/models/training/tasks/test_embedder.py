"""Training an embedder: it learns, from every kind of target, and resumes with the neighbours that it started with."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from models.evaluation.eval_sets import evaluate, load_eval_sets
from models.training.data.embedder_batches import BatchMaker
from models.training.data.pool import load_pool
from models.training.engine.checkpoint import Checkpoint
from models.training.engine.fit import fit
from models.training.networks.embedder import build_embedder, embed_with, load_weights
from models.training.recipes.embedder import EmbedderNetwork
from models.training.recipes.pictures import Teacher
from models.training.recipes.reading import RecipeError
from models.training.tasks.embedder import EmbedderModule, EmbedderTask, losses_of, normalize
from tests.models.training.tiny import QUICK, TINY, Run


def quiet(*_: object) -> None:
    """Hears nothing."""


def with_pool(tiny_run: Run, out: Path) -> Path:
    """A run's folder that has its pool already."""
    out.mkdir()
    (out / "pool").symlink_to(tiny_run.folder / "pool")
    return out


def test_the_tiny_recipe_learns(tiny_run: Run) -> None:
    evaluated = [line for line in tiny_run.lines if line.eval]
    assert [line.step for line in evaluated] == list(range(10, TINY.steps + 1, 10))
    assert evaluated[-1].losses["class"] < 0.85 * evaluated[0].losses["class"]
    best = Checkpoint.load(tiny_run.folder / "best.npz")
    recalls = [line.eval["rendered"] for line in evaluated]
    assert best.progress["eval"]["rendered"] == max(recalls) > recalls[0]


def test_a_run_reports_how_far_it_is(tiny_run: Run) -> None:
    assert tiny_run.prepared[0] == ("views of rendered products", 1, 144)
    assert tiny_run.prepared[-1] == ("views of rendered products", 144, 144)
    for line in tiny_run.lines:
        assert line.steps == TINY.steps
        assert line.images_per_s > 0
        assert np.isfinite(list(line.losses.values())).all()
        assert ("triplet" in line.losses) == (line.step > 25)
    assert tiny_run.lines[-1].eta_s == 0
    logged = [json.loads(line) for line in (tiny_run.folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["losses"] for line in logged] == [line.losses for line in tiny_run.lines]
    assert (tiny_run.folder / "curve.png").stat().st_size > 1000
    metrics = json.loads((tiny_run.folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["eval"] == tiny_run.lines[-1].eval


@pytest.mark.slow
def test_a_resumed_run_has_the_neighbours_and_drops_the_features_of_an_uninterrupted_one(
    tiny_run: Run, tmp_path: Path
) -> None:
    recipe = replace(QUICK, network=replace(QUICK.network, dropout=0.4), hard_classes=0.3, eval=())
    whole, stopped = (with_pool(tiny_run, tmp_path / name) for name in ("whole", "stopped"))
    for out, stops in ((whole, (8,)), (stopped, (4, 8))):
        for stop_after in stops:
            fit(EmbedderTask, recipe, None, out, quiet, quiet, stop_after=stop_after)
    one, two = (Checkpoint.load(out / "last.npz").groups for out in (whole, stopped))
    for group, arrays in one.items():
        for name, array in arrays.items():
            np.testing.assert_allclose(two[group][name], array, rtol=1e-5, atol=1e-6, err_msg=f"{group} {name}")


def test_best_weights_are_those_of_the_eval_sets(tiny_run: Run) -> None:
    network = build_embedder(TINY.network)
    best = Checkpoint.load(tiny_run.folder / "best.npz")
    assert load_weights(network, tiny_run.folder / "best.npz") == best.progress["step"]
    eval_sets = evaluate(embed_with(network), load_eval_sets(TINY, None, TINY.deploy_px))
    assert eval_sets["rendered"] == pytest.approx(best.progress["eval"]["rendered"], abs=0.02)


def test_each_part_of_the_loss_is_there_when_the_recipe_and_the_pool_have_it(tiny_run: Run) -> None:
    pool = load_pool(tiny_run.folder / "pool")
    count = len(pool.labels)
    targets = np.eye(TINY.network.embedding_size, dtype=np.float32)[np.arange(count) % 64]
    known = np.eye(5, dtype=np.float32)[np.arange(count) % 5]
    rich = replace(pool, targets=targets, vectors=known, has_vector=np.ones(count, np.float32))
    batch = BatchMaker(QUICK, rich)(0)
    module = EmbedderModule(QUICK, rich.classes, 5)
    early, late = losses_of(module, QUICK, batch, 0), losses_of(module, QUICK, batch, QUICK.steps - 1)
    assert set(early) == {"class", "distill", "vector"}
    assert set(late) == {"class", "distill", "vector", "triplet"}
    doubled = replace(QUICK, loss=replace(QUICK.loss, distill_weight=2 * QUICK.loss.distill_weight))
    module.eval()
    once, twice = losses_of(module, QUICK, batch, 0), losses_of(module, doubled, batch, 0)
    assert float(twice["distill"]) == pytest.approx(2 * float(once["distill"]), rel=1e-5)
    sum(late.values(), paddle.zeros([])).backward()
    assert all(np.abs(parameter.grad.numpy()).sum() > 0 for parameter in (module.head.weight, module.to_vector.weight))


def test_both_kinds_of_embedder_are_built_as_wide_as_configured() -> None:
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


def test_a_target_of_another_length_is_reported_before_pictures_are_rendered(tmp_path: Path) -> None:
    recipe = replace(TINY, teacher=Teacher("t.xml", feature_dims=100, colour_dims=28), data=TINY.data)
    with pytest.raises(RecipeError, match=f"is {TINY.network.embedding_size}, .* make 128"):
        fit(EmbedderTask, recipe, tmp_path, tmp_path / "run", quiet, quiet)
    assert not (tmp_path / "run" / "pool").exists()
