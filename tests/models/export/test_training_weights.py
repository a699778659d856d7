"""A run's weights as `.pdparams`: of detector, classifier and embedder, read again as official weights are, they answer alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

from models.classifier import Classifier
from models.detector import Detector
from models.embedder import Embedder
from models.errors import ArtifactError
from models.export.official_weights import export_weights
from models.export.training_weights import classifier_weights, detector_weights, embedder_weights
from models.nets.named import build
from models.nets.pdparams import read_pdparams
from models.training.engine.checkpoint import Checkpoint, to_arrays
from models.training.networks.detector import build_detector
from models.training.networks.embedder import build_embedder
from models.training.recipes.classifier import ClassifierRecipe
from models.training.recipes.detector import DetectorRecipe
from models.training.recipes.embedder import EmbedderRecipe
from models.training.recipes.reading import load_recipe
from tests.models.nets.seeded import fill, seeded_state

IMAGE = np.random.default_rng(3).integers(0, 256, (96, 96, 3), dtype=np.uint8)


def run_of(network: nn.Layer, group: str, file: Path, **progress: object) -> Path:
    """`best.npz` of a run whose network has seeded weights."""
    fill(network, seeded_state(network, 5))
    network.eval()
    Checkpoint({group: to_arrays(network.state_dict())}, {"step": 1, **progress}).save(file)
    return file


def same(weights: Path, network: nn.Layer) -> None:
    """What stands in the file is what the network has, as `paddle.load` reads it and as it is read here."""
    own = network.state_dict()
    there = paddle.load(str(weights))
    assert read_pdparams(weights).keys() == own.keys()
    for name, value in read_pdparams(weights).items():
        np.testing.assert_array_equal(value, own[name].numpy())
        np.testing.assert_array_equal(there[name].numpy(), own[name].numpy())


def test_a_detector_continues_in_paddledetection(tmp_path: Path) -> None:
    recipe = load_recipe("detector-tiny", DetectorRecipe)
    network = build_detector(recipe)
    weights = detector_weights(recipe, run_of(network, "detector", tmp_path / "best.npz"), tmp_path / "mine.pdparams")
    same(weights, network)
    made = export_weights(weights, "detect", tmp_path / "made", size_px=128, formats=["onnx"])
    assert Detector(made).manifest.task == "detect"
    odd = replace(recipe, network=replace(recipe.network, body="esnet"))
    with pytest.raises(ArtifactError, match="PaddleDetection"):
        detector_weights(odd, tmp_path / "best.npz", tmp_path / "odd.pdparams")
    assert not (tmp_path / "odd.pdparams").exists()


def test_a_classifier_continues_in_paddleclas_with_its_last_layer(tmp_path: Path) -> None:
    recipe = load_recipe("classifier-tiny", ClassifierRecipe)
    network = build(recipe.network, 3)
    best = run_of(network, "classifier", tmp_path / "best.npz", names=["a", "b", "c"])
    weights = classifier_weights(recipe, best, tmp_path / "mine.pdparams")
    same(weights, network)
    made = export_weights(weights, "classify", tmp_path / "made", size_px=64, formats=["onnx"])
    assert len(Classifier(made)([IMAGE], 3)[0].class_ids) == 3


def test_an_embedder_answers_there_as_it_does_here(tmp_path: Path) -> None:
    recipe = load_recipe("embedder-tiny", EmbedderRecipe)
    network = build_embedder(recipe.network)
    weights = embedder_weights(recipe, run_of(network, "embedder", tmp_path / "best.npz"), tmp_path / "mine.pdparams")
    assert read_pdparams(weights).keys() == network.state_dict().keys()
    made = Embedder(export_weights(weights, "embed", tmp_path / "made", size_px=96, formats=["onnx"]))
    spec = made.manifest.input
    pixels = (IMAGE.astype(np.float32) / 255 - spec.mean) / spec.std
    with paddle.no_grad():
        row = network(paddle.to_tensor(pixels.transpose(2, 0, 1)[None].astype(np.float32))).numpy()[0]
    np.testing.assert_allclose(made([IMAGE])[0], row / np.linalg.norm(row), atol=1e-4)
    odd = replace(recipe, network=replace(recipe.network, kind="lite0"))
    with pytest.raises(ArtifactError, match="lite0"):
        embedder_weights(odd, tmp_path / "best.npz", tmp_path / "odd.pdparams")
