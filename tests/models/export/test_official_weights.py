"""Official weights become an artifact that answers as the eager network does, made once."""

from pathlib import Path

import numpy as np
import paddle
import pytest

from models.classifier import Classifier
from models.errors import ArtifactError
from models.export.official_weights import artifact_of_weights
from models.nets.named import build
from models.nets.names import UnknownNetworkError
from models.pictures.image import normalize, resize_and_centre
from tests.models.nets.seeded import fill, seeded_state

NETWORK, CLASSES = "PPLCNet_x0_25", 7


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = build(NETWORK, CLASSES)
    fill(network, seeded_state(network, seed=8))
    file = tmp_path_factory.mktemp("weights") / "mine.pdparams"
    paddle.save(network.state_dict(), str(file))
    return file


@pytest.mark.parametrize("engine", ["openvino", "paddle"])
def test_the_artifact_answers_as_the_network(weights: Path, engine: str) -> None:
    folder = artifact_of_weights(weights, NETWORK, weights.parent / "cache")
    stamps = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    classifier = Classifier(artifact_of_weights(weights, NETWORK, weights.parent / "cache"), engine)
    assert {file.name: file.stat().st_mtime_ns for file in folder.iterdir()} == stamps  # made once
    image = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    spec = classifier.manifest.input
    assert (spec.resize_short, spec.height, spec.width) == (256, 224, 224)
    pixels = normalize(resize_and_centre(image, 256, 224, 224, "linear"), spec.mean, spec.std)
    network = build(NETWORK, CLASSES)
    fill(network, seeded_state(network, seed=8))
    network.eval()
    expected = paddle.nn.functional.softmax(network(paddle.to_tensor(pixels[None]))).numpy()[0]
    np.testing.assert_allclose(classifier.probabilities([image])[0], expected, rtol=1e-3, atol=1e-5)


def test_wrong_weights_are_reported_and_leave_nothing(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNetworkError, match="did you mean PPLCNet_x0_25"):
        artifact_of_weights(weights, "PPLCNet_x025", tmp_path)
    with pytest.raises(ArtifactError, match="does not fit PPLCNet"):
        artifact_of_weights(weights, "PPLCNet_x0_5", tmp_path)
    paddle.save({"conv.weight": paddle.zeros([2, 2])}, str(tmp_path / "other.pdparams"))
    with pytest.raises(ArtifactError, match=r"no fc\.weight"):
        artifact_of_weights(tmp_path / "other.pdparams", NETWORK, tmp_path)
    (tmp_path / "bad.pdparams").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(ArtifactError, match=r"os\.system|not a readable"):
        artifact_of_weights(tmp_path / "bad.pdparams", NETWORK, tmp_path)
    with pytest.raises(ArtifactError, match="no weights file"):
        artifact_of_weights(tmp_path / "none.pdparams", NETWORK, tmp_path)
    assert not list(tmp_path.rglob("manifest.json"))
