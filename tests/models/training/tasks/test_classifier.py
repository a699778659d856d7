"""Training a classifier: it learns, and is served as it was evaluated."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from models.classifier import Classifier
from models.errors import ArtifactError
from models.evaluation.classification import ranks_of, score
from models.export.classifier import evaluate_classifier, export_classifier
from models.export.network import Origin
from models.nets.named import build
from models.training.data.class_batches import ClassBatch
from models.training.data.class_data import gather
from models.training.engine.checkpoint import Checkpoint
from models.training.engine.fit import fit
from models.training.engine.loop import Progress
from models.training.errors import TrainingError
from models.training.recipes.classifier import ClassAugment, ClassifierRecipe, ClassOptimizer, ClassSampler
from models.training.recipes.reading import load_recipe
from models.training.tasks.classifier import ClassifierTask, load_classifier, make_optimizer, start_from
from models.training.tasks.classifier_distillation import labelled_loss

TINY = load_recipe("classifier-tiny", ClassifierRecipe)
QUICK = replace(
    TINY,
    data=(replace(TINY.data[0], products=3, views=4, rendered_px=32),),
    eval=(replace(TINY.eval[0], products=3, skip_views=4, views=1, rendered_px=32),),
    sampler=ClassSampler(6, (32, 48), 16),
    augment=ClassAugment(mixup_alpha=0.3),
    epochs=3,
    evaluate_every=1,
    deploy_px=32,
)


def quiet(*_: object) -> None:
    """Hears nothing."""


@dataclass(frozen=True)
class Run:
    folder: Path
    lines: list[Progress]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Run:
    lines: list[Progress] = []
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    fit(ClassifierTask, TINY, None, folder, lines.append, quiet)
    return Run(folder, lines)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    fit(ClassifierTask, QUICK, None, folder, quiet, quiet, stop_after=1)
    return folder


def test_the_tiny_recipe_learns(tiny: Run) -> None:
    evaluated = [line for line in tiny.lines if line.eval]
    top1 = [line.eval["other views"]["top1"] for line in evaluated]
    assert len(evaluated) == TINY.epochs // TINY.evaluate_every
    assert evaluated[-1].losses["ce"] < 0.9 * evaluated[0].losses["ce"]
    best = Checkpoint.load(tiny.folder / "best.npz").progress
    assert best["eval"]["other views"]["top1"] == max(top1) > 2 / 6 > top1[0]  # a guess is right in 1 of 6
    assert tiny.lines[-1].eta_s == 0
    assert json.loads((tiny.folder / "metrics.json").read_text())["eval"] == tiny.lines[-1].eval
    assert (tiny.folder / "curve.png").stat().st_size > 1000


@pytest.mark.parametrize("engine", ["openvino", "paddle"])
def test_the_artifact_takes_the_eval_sets_as_the_network_did(
    tiny: Run, tmp_path_factory: pytest.TempPathFactory, engine: str
) -> None:
    artifact = tmp_path_factory.getbasetemp() / "tiny-classifier"
    if not artifact.exists():
        export_classifier(TINY, tiny.folder / "best.npz", artifact, Origin(["synthetic"], {}, {}))
    metrics = evaluate_classifier(artifact, TINY, None, engine)
    expected = Checkpoint.load(tiny.folder / "best.npz").progress["eval"]["other views"]
    assert metrics["other views top1"] == pytest.approx(expected["top1"], abs=0.03)
    classifier = Classifier(artifact, engine)
    assert classifier.labels == tuple(f"product {seed}" for seed in range(0, 72, 12))
    assert classifier.manifest.network == "PPLCNet_x0_25"
    row = classifier.probabilities([np.zeros((60, 50, 3), np.uint8)])[0]
    assert row.sum() == pytest.approx(1, abs=1e-5)


def test_weights_to_start_from(whole: Path, tmp_path: Path) -> None:
    """Official ones of other classes give all but the last layer; a run's, all."""
    official, started, fresh = (build("PPLCNet_x0_25", count) for count in (5, 3, 3))
    paddle.save(official.state_dict(), str(tmp_path / "official.pdparams"))
    last = started.fc.weight.numpy()
    start_from(started, tmp_path / "official.pdparams")
    np.testing.assert_array_equal(started.conv1.conv.weight.numpy(), official.conv1.conv.weight.numpy())
    np.testing.assert_array_equal(started.fc.weight.numpy(), last)
    start_from(fresh, whole / "best.npz")
    stored = Checkpoint.load(whole / "best.npz").groups["classifier"]
    np.testing.assert_array_equal(fresh.fc.weight.numpy(), stored["fc.weight"])
    with pytest.raises(ArtifactError, match=r"differ in 'fc\.weight'"):
        load_classifier(official, whole / "best.npz")
    with pytest.raises(TrainingError, match="does not fit PPLCNet"):
        start_from(build("PPLCNet_x0_5", 3), tmp_path / "official.pdparams")


def test_the_loss_of_mixed_pictures_is_that_of_both_classes() -> None:
    network = paddle.nn.Sequential(paddle.nn.Flatten(), paddle.nn.Linear(12, 4))
    rng = np.random.default_rng(0)
    pixels, labels, others = (
        rng.normal(size=(5, 3, 2, 2)).astype(np.float32),
        np.arange(5) % 4,
        np.array([3, 3, 0, 1, 1]),
    )
    own, smoothing = 0.7, 0.1
    logits = pixels.reshape(5, 12) @ network[1].weight.numpy() + network[1].bias.numpy()
    logs = np.log(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    expected = 0.0
    for i in range(5):
        target = np.full(4, smoothing / 4)
        target[labels[i]] += (1 - smoothing) * own
        target[others[i]] += (1 - smoothing) * (1 - own)
        expected -= (target * logs[i]).sum() / 5
    answer = network(paddle.to_tensor(pixels))
    loss = labelled_loss(answer, ClassBatch(pixels, labels, others, own), smoothing)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_batch_norms_are_decayed_only_if_requested() -> None:
    moved = {}
    for decay_norms in (False, True):
        network = build("PPLCNet_x0_25", 3)
        optimizer = make_optimizer(
            network, ClassOptimizer(learning_rate=0.1, weight_decay=0.1, decay_norms=decay_norms)
        )
        loss = sum(parameter.sum() * 0 for parameter in network.parameters())
        loss.backward()
        before = network.fc.weight.numpy()
        optimizer.step()
        assert np.abs(network.fc.weight.numpy()).sum() < np.abs(before).sum()
        moved[decay_norms] = bool((network.conv1.bn.weight.numpy() != 1).any())
    assert moved == {False: False, True: True}


def test_ranks_count_the_classes_that_come_first() -> None:
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 4, (50, 6)).astype(np.float32)  # many ties
    labels = rng.integers(0, 6, 50)
    expected = [list(np.argsort(-row, kind="stable")).index(label) for row, label in zip(scores, labels, strict=True)]
    assert ranks_of(scores, labels).tolist() == expected


def test_eval_sets_score_every_picture() -> None:
    pictures = gather(QUICK, None, quiet).training
    right = iter(np.eye(3, dtype=np.float32)[pictures.labels])
    assert score(lambda images: [next(right) for _ in images], pictures) == {"top1": 1.0, "top5": 1.0}
    assert score(lambda images: [np.array([1, 0, 0], np.float32) for _ in images], pictures)["top1"] == pytest.approx(
        1 / 3
    )
