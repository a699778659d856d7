"""A classifier answers with the classes that its program means, from artifacts and official archives, on both engines."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.artifacts.folders import load_manifest
from models.classifier import Classification, Classifier, read_class_map, softmax
from models.embedder import Embedder
from models.errors import ArtifactError
from models.options import OptionsError
from models.pictures.image import normalize, resize_and_centre
from tests.models.programs import DIM, INPUT, LABELS, SHORT, SIDE, artifact, embedded, official_archive

OFFICIAL_SHORT = round(SIDE * 256 / 224)
assert OFFICIAL_SHORT == SHORT


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("models")
    return {
        "artifact": artifact(base / "classifier", "classify", paddle_too=True),
        "official": official_archive(base / "official_classifier", "classify"),
        "logits": official_archive(base / "official_logits", "embed"),
    }


def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(4)
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((70, 40), (33, 90), (64, 64), (9, 8))]


def expected(image: np.ndarray) -> np.ndarray:
    """By the definition: shorter side to SHORT, the middle SIDE x SIDE, normalise, the network, softmax."""
    height, width = image.shape[:2]
    ratio = SHORT / min(height, width)
    large = cv2.resize(image, (round(width * ratio), round(height * ratio)), interpolation=cv2.INTER_LINEAR)
    top, left = (large.shape[0] - SIDE) // 2, (large.shape[1] - SIDE) // 2
    middle = large[top : top + SIDE, left : left + SIDE]
    scaled = (middle.astype(np.float64) / 255 - INPUT["mean"]) / INPUT["std"]
    logits = embedded(scaled.transpose(2, 0, 1)[None].astype(np.float32))[0].astype(np.float64)
    return np.exp(logits) / np.exp(logits).sum()


@pytest.mark.parametrize("engine", ["openvino", "paddle"])
@pytest.mark.parametrize("model", ["artifact", "official", "logits"])
def test_it_gives_the_likeliest_classes_first(folders: dict[str, Path], model: str, engine: str) -> None:
    class_map = dict(enumerate(LABELS))
    classifier = Classifier(folders[model], engine, class_map=None if model == "artifact" else class_map)
    assert classifier.engine == engine
    for image, found in zip(pictures(), classifier(pictures(), top_k=3), strict=True):
        probabilities = expected(image)
        order = np.argsort(-probabilities)[:3]
        assert found.class_ids == tuple(order)
        assert found.label_names == tuple(LABELS[i] for i in order)
        np.testing.assert_allclose(found.scores, probabilities[order], atol=2e-5)
        assert all(score == round(score, 5) for score in found.scores)


@pytest.mark.parametrize("engine", ["openvino", "paddle"])
def test_a_batch_answers_as_its_pictures_one_by_one(folders: dict[str, Path], engine: str) -> None:
    classifier = Classifier(folders["official"], engine)
    together = classifier.probabilities(pictures() * 9)  # 36, more than one run takes
    assert len(together) == 36
    for image, row in zip(pictures() * 9, together, strict=True):
        np.testing.assert_allclose(classifier.probabilities([image])[0], row, rtol=1e-5)
    assert classifier([]) == []


def test_the_answer_is_paddleclas_s(folders: dict[str, Path]) -> None:
    found = Classifier(folders["official"])(pictures()[:1], top_k=99)[0]
    reported = json.loads(json.dumps(found.to_dict("a/b.jpg")))
    assert list(reported) == ["class_ids", "scores", "label_names", "filename"]
    assert sorted(reported["class_ids"]) == list(range(DIM))
    assert reported["label_names"] == []
    assert reported["filename"] == "a/b.jpg"
    assert sum(reported["scores"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("top_k", [0, -1, 1.5, "5", None, True])
def test_a_top_k_below_one_is_refused(folders: dict[str, Path], top_k: object) -> None:
    with pytest.raises(OptionsError, match=r"^top_k: must be a whole number from 1 on"):
        Classifier(folders["official"])(pictures()[:1], top_k=top_k)  # type: ignore[arg-type]


def test_of_equal_scores_the_lower_id_is_first(folders: dict[str, Path]) -> None:
    black = np.full((40, 40, 3), 0, np.uint8)
    row = np.array([0.2, 0.3, 0.2, 0.3, 0.0, 0.0], np.float32)
    classifier = Classifier(folders["artifact"])
    assert classifier._best(row, 4).class_ids == (1, 3, 0, 2)
    assert isinstance(classifier([black])[0], Classification)


def test_an_archive_says_itself_whether_it_classifies(folders: dict[str, Path]) -> None:
    manifest = load_manifest(folders["official"])
    assert (manifest.task, manifest.input.resize_short) == ("classify", OFFICIAL_SHORT)
    assert load_manifest(folders["logits"]).task == "embed"
    with pytest.raises(ArtifactError, match="made to embed, not to classify"):
        Classifier(folders["logits"])
    with pytest.raises(ArtifactError, match="made to embed, not to classify"):
        Classifier(folders["logits"], class_map={0: "few"})
    with pytest.raises(ArtifactError, match="embedder"):
        Embedder(folders["official"])


@pytest.mark.parametrize(
    ("class_map", "reported"),
    [
        ({0: "a", 1: "b", 3: "d"}, r"has 6 classes; the class map does not name 2, 4, 5\."),
        (dict.fromkeys(range(8), "x"), r"has 6 classes; the class map names a class 6\."),
    ],
)
def test_a_class_map_of_other_classes_is_refused(
    folders: dict[str, Path], class_map: dict[int, str], reported: str
) -> None:
    with pytest.raises(ArtifactError, match=reported):
        Classifier(folders["official"], class_map=class_map)


def test_class_map_files_are_read_as_paddleclas_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "map.txt"
    file.write_text("0 tench, Tinca tinca\n2 great white shark\n1 goldfish \n\n3\n", encoding="utf-8")
    assert read_class_map(file) == {0: "tench, Tinca tinca", 2: "great white shark", 1: "goldfish", 3: ""}


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("0 a\nb c\n", 'line 2 is not "id label words"'),
        ("0 a\n0 b\n", "line 2 has a class for the second time"),
        ("\n", "names no class"),
        ("-1 a\n", "line 1 is not"),
    ],
)
def test_a_bad_class_map_is_reported_by_its_line(tmp_path: Path, text: str, reported: str) -> None:
    (tmp_path / "map.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ArtifactError, match=reported):
        read_class_map(tmp_path / "map.txt")
    with pytest.raises(ArtifactError, match="can't be read"):
        read_class_map(tmp_path / "none.txt")


@pytest.mark.parametrize("size", [(37, 8000), (8000, 11)])
def test_a_strip_s_far_ends_are_never_made_large(size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 200, np.uint8)
    middle = tuple(slice(side // 2 - 5, side // 2 + 5) for side in size)
    image[middle] = 0
    made = resize_and_centre(image, 256, 224, 224, "linear")
    assert made.shape == (224, 224, 3)
    assert (made[112, 112] == 0).all()
    assert normalize(made, (0.5,) * 3, (0.5,) * 3).shape == (3, 224, 224)


def test_softmax_of_large_logits_is_finite() -> None:
    rows = softmax(np.array([[1000.0, 999.0], [-1000.0, -1000.0]], np.float32))
    np.testing.assert_allclose(rows, [[0.7310586, 0.2689414], [0.5, 0.5]], rtol=1e-5)
