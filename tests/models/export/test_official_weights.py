"""Official weights become an artifact that answers as the eager network does, made once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

from models.classifier import Classifier
from models.detector import Detector
from models.embedder import Embedder
from models.errors import ArtifactError, ModelError
from models.export.official_weights import artifact_of_weights, export_weights
from models.nets.embedding import EmbedderV1, EmbedderV2
from models.nets.lcnetv2 import fused
from models.nets.named import build
from models.nets.picodet import PicoDet
from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD, normalize, resize_and_centre
from models.training.networks.detector import detect_with
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
    folder = artifact_of_weights(weights, "classify", weights.parent / "made")
    stamps = {file.name: file.stat().st_mtime_ns for file in folder.iterdir()}
    classifier = Classifier(artifact_of_weights(weights, "classify", weights.parent / "made"), engine)
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
    def refused(file: Path, network: str | None = None, task: str = "classify") -> str:
        with pytest.raises(ModelError) as caught:
            artifact_of_weights(file, task, tmp_path / "made" / "artifact", network)
        return caught.value.detail

    assert "did you mean PPLCNet_x0_25" in refused(weights, "PPLCNet_x025")
    assert "does not fit PPLCNet" in refused(weights, "PPLCNet_x0_5")
    assert "`shitu classify` and `shitu export classifier` take it" in refused(weights, task="embed")
    paddle.save({"conv.weight": paddle.zeros([2, 2])}, str(tmp_path / "other.pdparams"))
    assert "no fc.weight" in refused(tmp_path / "other.pdparams", NETWORK)
    assert "of no network known here" in refused(tmp_path / "other.pdparams")
    (tmp_path / "bad.pdparams").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert "not a readable" in (report := refused(tmp_path / "bad.pdparams")) or "os.system" in report
    assert "no weights file" in refused(tmp_path / "none.pdparams")
    assert not list(tmp_path.rglob("manifest.json"))


def saved(network: nn.Layer, file: Path, seed: int = 8) -> dict[str, np.ndarray]:
    state = seeded_state(network, seed)
    fill(network, state)
    network.eval()
    paddle.save(network.state_dict(), str(file))
    return state


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: EmbedderV2(0.25, (1, 1, 2, 1), embedding_size=16), "PPLCNetV2_x0.25_ShiTu, BNNeck"),
        (lambda: EmbedderV1(0.5, 24), "PPLCNet_x0_5, FC neck"),
    ],
    ids=["v2", "v1"],
)
def test_an_embedder_is_known_by_its_names(make: Callable[[], nn.Layer], name: str, tmp_path: Path) -> None:
    network = make()
    state = saved(network, tmp_path / "general.pdparams")
    # A head over the classes of a training set, which the published weights have too.
    paddle.save({**state, "head.fc.weight": np.zeros((16, 90), np.float32)}, str(tmp_path / "headed.pdparams"))
    folder = export_weights(tmp_path / "headed.pdparams", "embed", tmp_path / "artifact", size_px=64, formats=["onnx"])
    embedder = Embedder(folder)
    assert embedder.manifest.network == name
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    expected = fused(network)(paddle.to_tensor(normalize(image, IMAGENET_MEAN, IMAGENET_STD)[None])).numpy()
    np.testing.assert_allclose(embedder([image]), expected / np.linalg.norm(expected), atol=1e-4)


def test_every_odd_parameter_of_an_embedder_is_named(tmp_path: Path) -> None:
    state = dict(saved(EmbedderV1(0.5, 24), tmp_path / "general.pdparams"))
    for name in ("backbone.conv1.bn._mean", "backbone.conv1.bn.bias", "backbone.conv1.bn.weight", "neck.fc.bias"):
        del state[name]
    state |= {"neck.extra": np.zeros(2, np.float32), "backbone.conv1.bn._variance": np.zeros(3, np.float32)}
    paddle.save(state, str(tmp_path / "odd.pdparams"))
    with pytest.raises(ArtifactError) as caught:
        export_weights(tmp_path / "odd.pdparams", "embed", tmp_path / "artifact")
    for report in (
        "missing backbone.conv1.bn._mean", "missing backbone.conv1.bn.bias", "missing backbone.conv1.bn.weight",
        "missing neck.fc.bias", "unexpected neck.extra", "backbone.conv1.bn._variance has shape (3,), expected (8,)",
    ):  # fmt: skip
        assert report in caught.value.detail


def test_a_detector_is_known_by_its_names(tmp_path: Path) -> None:
    network = PicoDet(0.25, neck_channels=16, head_convs=1)
    saved(network, tmp_path / "mainbody.pdparams")
    folder = export_weights(tmp_path / "mainbody.pdparams", "detect", tmp_path / "made", size_px=128, formats=["onnx"])
    detector = Detector(folder)
    assert (detector.manifest.input.height, detector.confidence_threshold) == (128, 0.2)
    image = np.random.default_rng(1).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    boxes, scores = detector.candidates(image)
    expected = detect_with(network, 128)(image)
    np.testing.assert_allclose(scores, expected[1], atol=1e-4)
    np.testing.assert_allclose(boxes, np.clip(expected[0], 0, 128), atol=0.1)
    with pytest.raises(ArtifactError, match="multiple of 32"):
        export_weights(tmp_path / "mainbody.pdparams", "detect", tmp_path / "made", size_px=100)
    state = seeded_state(PicoDet(0.25, neck_channels=16, head_convs=1, num_classes=1), 8)
    state["head.head_cls0.weight"] = np.zeros((112, 16, 1, 1), np.float32)
    paddle.save(state, str(tmp_path / "coco.pdparams"))
    with pytest.raises(ArtifactError, match="detector of 80 classes"):
        export_weights(tmp_path / "coco.pdparams", "detect", tmp_path / "made")
