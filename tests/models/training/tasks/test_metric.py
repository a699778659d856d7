"""Metric learning by recipe: it learns, and what is wrong is reported before training."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from models.artifacts.folders import load_manifest
from models.errors import ModelError
from models.evaluation.eval_sets import evaluate, load_eval_sets
from models.export.metric import evaluate_metric, export_metric
from models.export.network import Origin
from models.nets.lcnetv2 import PPLCNetV2, fused
from models.training.engine.checkpoint import Checkpoint
from models.training.engine.fit import fit
from models.training.engine.loop import Progress
from models.training.errors import TrainingError
from models.training.networks.embedder import embed_with, load_weights, start_from
from models.training.networks.metric import MetricEmbedder
from models.training.recipes.metric import (
    BackboneStopLayer,
    MetricRecipe,
    Sampler,
    TripletAngularMargin,
)
from models.training.recipes.pictures import EvalSource, Stage, ViewSource
from models.training.tasks.metric import MetricTask
from tests.models.training import several_metrics
from tests.models.training.metric_tiny import QUICK, TINY, MetricRun, quiet, tiny_metric_run, with_pool
from tests.models.training.photo_data import write_photos
from tests.models.training.two_processes import run_in_two


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope="module")
def tiny(base: Path) -> MetricRun:
    return tiny_metric_run(base)


def curve(out: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "curve.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{"step": line["step"], **line["losses"], **line["eval"]} for line in lines]


def test_the_tiny_recipe_learns(tiny: MetricRun) -> None:
    assert [line.step for line in tiny.lines] == [15, 30, 45]
    recalls = [line.eval["rendered"] for line in tiny.lines]
    losses = [line.losses for line in tiny.lines]
    assert losses[-1]["ce"] < 0.8 * losses[0]["ce"]
    assert losses[-1]["triplet_angular_margin"] < losses[0]["triplet_angular_margin"]
    best = Checkpoint.load(tiny.folder / "best.npz")
    assert best.progress["eval"]["rendered"] == max(recalls) > recalls[0]


def test_a_run_leaves_its_metrics_and_the_best_weights(tiny: MetricRun) -> None:
    assert curve(tiny.folder) == [{"step": line.step, **line.losses, **line.eval} for line in tiny.lines]
    assert (tiny.folder / "curve.png").stat().st_size > 1000
    metrics = json.loads((tiny.folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["eval"] == tiny.lines[-1].eval
    embedder = MetricEmbedder(TINY)
    assert load_weights(embedder, tiny.folder / "best.npz") in (15, 30, 45)
    eval_sets = evaluate(embed_with(fused(embedder)), load_eval_sets(TINY.pictures, None, TINY.deploy_px))
    expected = Checkpoint.load(tiny.folder / "best.npz").progress["eval"]["rendered"]
    assert eval_sets["rendered"] == pytest.approx(expected, abs=0.03)


def test_the_artifact_takes_the_eval_sets_as_the_network_did(tiny: MetricRun, tmp_path: Path) -> None:
    export_metric(TINY, tiny.folder / "best.npz", tmp_path / "artifact", Origin(["synthetic"], {}, {}), ("onnx",))
    metrics = evaluate_metric(tmp_path / "artifact", TINY, None)
    expected = Checkpoint.load(tiny.folder / "best.npz").progress["eval"]["rendered"]
    assert metrics["rendered"] == pytest.approx(expected, abs=0.03)
    assert load_manifest(tmp_path / "artifact").network == "PPLCNetV2 x0.5, bnneck neck"


def photos(tmp_path: Path, **changes: Any) -> MetricRecipe:
    """QUICK on photos that are read from their files."""
    write_photos(tmp_path)
    changed: dict[str, Any] = {
        "pool_px": 0,
        "data": (ViewSource("list", "shop", root="shop", file="labels.tsv"),),
        "eval": (EvalSource("lists", "all", root="shop", file="labels.tsv"),),
        "sampler": Sampler("class", 2),
        "stages": (Stage(3, 32, 8),),
        "evaluate_every": 3,
    }
    return replace(QUICK, **(changed | changes))


@pytest.mark.parametrize("sampler", [Sampler("class", 2), Sampler("picture", 2), Sampler("shuffle", 1)])
def test_photos_are_read_from_their_files(tmp_path: Path, sampler: Sampler) -> None:
    alone = replace(QUICK.loss, triplet_angular_margin=TripletAngularMargin(0.0))
    loss = alone if sampler.kind == "shuffle" else QUICK.loss
    recipe = photos(tmp_path, sampler=sampler, loss=loss)
    lines: list[Progress] = []
    fit(MetricTask, recipe, tmp_path, tmp_path / "run", lines.append, quiet)
    assert [line.step for line in lines] == [3]
    assert 0 <= lines[0].eval["all"] <= 1
    assert not (tmp_path / "run" / "pool").exists()


def broken(tmp_path: Path) -> tuple[MetricRecipe, Path]:
    recipe = photos(tmp_path)
    for path in (tmp_path / "shop").glob("*.png"):
        path.write_bytes(b"no picture")
    return recipe, tmp_path


def missing(tmp_path: Path) -> tuple[MetricRecipe, Path]:
    recipe = photos(tmp_path)
    (tmp_path / "shop" / "b1.png").unlink()
    return recipe, tmp_path


@pytest.mark.parametrize(
    ("make", "report"),
    [
        (lambda at: (photos(at), None), r"the recipe's source 'shop' needs a data folder \(--data\)"),
        (lambda at: (photos(at, data=(ViewSource("list", "x", root="x", file="x.txt"),)), at), r"x\.txt"),
        (
            lambda at: (photos(at, stages=(Stage(3, 32, 64),)), at),
            "a batch of 64 .* needs 32 classes a step",
        ),
        (lambda at: (photos(at, stop_layer=BackboneStopLayer("pool5")), at), "stop_layer: .* has no layer 'pool5'"),
        (missing, r"line 4: no file b1\.png"),
        (broken, r"12 bad picture\(s\): .*a0\.png: .*f1\.png: "),
    ],
)
def test_what_is_missing_is_reported_early(
    tmp_path: Path, make: Callable[[Path], tuple[MetricRecipe, Path | None]], report: str
) -> None:
    recipe, data = make(tmp_path)
    with pytest.raises(ModelError, match=report):
        fit(MetricTask, recipe, data, tmp_path / "run", quiet, quiet)
    assert not (tmp_path / "run" / "last.npz").exists()


@pytest.mark.slow
def test_two_processes_reach_the_weights_of_one_with_the_whole_batch(base: Path, tmp_path: Path) -> None:
    """The memory and the centres, too."""
    alone, together = (with_pool(base, tmp_path / name) for name in ("alone", "together"))
    fit(MetricTask, several_metrics.TOGETHER, None, alone, quiet, quiet)
    run_in_two(several_metrics.__file__, tmp_path / "logs", together)
    one, two = (Checkpoint.load(out / "last.npz").groups["module"] for out in (alone, together))
    assert one.keys() == two.keys()
    assert one["losses.contrastive.memory.taken"] == two["losses.contrastive.memory.taken"] == 32
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, atol=1e-3 * max(1e-2, np.abs(array).max()), err_msg=name)
    for mine, theirs in zip(curve(together), curve(alone), strict=True):
        assert mine == pytest.approx(theirs, rel=1e-3)


def test_a_run_starts_from_another_runs_weights_and_from_no_other_networks(tiny: MetricRun, tmp_path: Path) -> None:
    embedder = MetricEmbedder(TINY)
    start_from(embedder, tiny.folder / "best.npz")
    best = Checkpoint.load(tiny.folder / "best.npz").groups["embedder"]
    assert {name: value.numpy().tolist() for name, value in embedder.state_dict().items()} == {
        name: array.tolist() for name, array in best.items()
    }
    with pytest.raises(ModelError, match="holds another network"):
        start_from(MetricEmbedder(QUICK), tiny.folder / "best.npz")


def save_pdparams(arrays: dict[str, np.ndarray], path: Path) -> Path:
    """Weights as PaddleClas publishes them."""
    paddle.save({name: paddle.to_tensor(array) for name, array in arrays.items()}, str(path))
    return path


def arrays_of(network: paddle.nn.Layer) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in network.state_dict().items()}


def test_a_run_starts_from_an_imagenet_network_whose_last_stage_is_another(tmp_path: Path) -> None:
    network = PPLCNetV2(0.25, QUICK.backbone.depths, class_num=9, class_expand=128)
    weights = arrays_of(network)
    embedder = MetricEmbedder(QUICK)
    before = embedder.backbone.last_conv.weight.numpy().copy()
    start_from(embedder, save_pdparams(weights, tmp_path / "imagenet.pdparams"))
    got = arrays_of(embedder.backbone)
    same = [name for name in got if not name.startswith(("last_conv.", "stages.3.0.dw_conv_list.2."))]
    assert len(same) > 50
    for name in same:
        np.testing.assert_array_equal(got[name], weights[name])
    np.testing.assert_array_equal(got["last_conv.weight"], before)
    with pytest.raises(TrainingError, match=r"does not fit PPLCNetV2: .*stem"):
        start_from(MetricEmbedder(TINY), tmp_path / "imagenet.pdparams")


def test_a_run_starts_from_an_official_embedder_without_its_head(tmp_path: Path) -> None:
    first, second = MetricEmbedder(QUICK), MetricEmbedder(QUICK)
    weights = arrays_of(first)
    head = {"head.fc.weight": np.zeros((64, 9), np.float32)}
    start_from(second, save_pdparams(weights | head, tmp_path / "embedder.pdparams"))
    for name, array in arrays_of(second).items():
        np.testing.assert_array_equal(array, weights[name])
    (tmp_path / "no.pdparams").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match=r"no\.pdparams is not a readable weights file"):
        start_from(second, tmp_path / "no.pdparams")
