"""Heads become boxes as the definition says, and the same artifact gives the same boxes on both engines."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.artifacts.manifest import DetectionOutput, Head
from models.detector import CANDIDATES, KEPT, Detector, decode_heads
from models.engines.loader import load_program
from models.errors import ArtifactError, EngineError
from models.options import OptionsError
from models.pictures.image import normalize, resize
from tests.models.nets import decoding
from tests.models.programs import BINS, SIDE, STRIDE, Array, artifact, detector_heads, official_archive

STRIDES, INPUT, REG_MAX = (8, 16), 320, 7
HEADS = DetectionOutput(tuple(Head(f"s{stride}", f"d{stride}", stride) for stride in STRIDES), REG_MAX)


def heads(seed: int, fraction: float = 0.3) -> dict[str, Array]:
    """Random answers for an input of 320 pixels; about `fraction` of the 1,600 and 400 cells pass the floor."""
    random = np.random.RandomState(seed)
    outputs = {}
    for stride in STRIDES:
        cells = INPUT // stride
        scores = random.uniform(0, 1, (1, 1, cells, cells))
        outputs[f"s{stride}"] = np.where(scores < fraction, scores / fraction, 0.01).astype(np.float32)
        outputs[f"d{stride}"] = random.standard_normal((1, 32, cells, cells)).astype(np.float32) * 3
    return outputs


@pytest.mark.parametrize("fraction", [0.02, 0.3, 1.0])
def test_decoding_is_the_slow_obvious_one(fraction: float) -> None:
    outputs = heads(1, fraction)
    boxes, scores = decode_heads(outputs, HEADS, INPUT, INPUT)
    slow = decoding.decode([outputs["s8"], outputs["s16"]], [outputs["d8"], outputs["d16"]], STRIDES, INPUT)
    slow = np.array(sorted((row for row in slow if row[0] > 0.025), key=lambda row: -row[0])[:CANDIDATES])
    assert len(boxes) == len(slow)
    assert (fraction == 1.0) == (len(boxes) == CANDIDATES)
    np.testing.assert_allclose(scores, slow[:, 0])
    np.testing.assert_allclose(boxes, slow[:, 1:], atol=1e-3)


def test_both_layouts_of_scores_decode_alike() -> None:
    """Official programs give (N, H, W, 1), ours (N, 1, H, W)."""
    ours = heads(2)
    official = {name: array.transpose(0, 2, 3, 1) if name[0] == "s" else array for name, array in ours.items()}
    for mine, theirs in zip(decode_heads(ours, HEADS, 320, 320), decode_heads(official, HEADS, 320, 320), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("broken", ["s8", "d16"])
def test_answers_that_are_nan_or_infinite_are_an_error(broken: str) -> None:
    outputs = heads(3, fraction=1.0)
    outputs[broken] = np.full_like(outputs[broken], np.nan)
    with pytest.raises(EngineError) as caught:
        decode_heads(outputs, HEADS, INPUT, INPUT)
    assert caught.value.code == "output_invalid"


def test_answers_of_other_shapes_are_an_error() -> None:
    outputs = heads(4) | {"d8": np.zeros((1, 16, 40, 40), np.float32)}
    with pytest.raises(EngineError, match="other shapes"):
        decode_heads(outputs, HEADS, INPUT, INPUT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artifact(tmp_path_factory.mktemp("detector"), "detect", paddle_too=True)


def photo(height: int = 90, width: int = 130, seed: int = 5) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_definition(image: NDArray[np.uint8]) -> Array:
    """(n, 5) score and box in pixels of the image, without any of the detector's code after the pixels."""
    pixels = normalize(resize(image, SIDE, SIDE, "cubic"), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))[None]
    scores, bins = detector_heads(pixels)
    rows = []
    for y in range(4):
        for x in range(4):
            logits = bins[0, :, y, x].reshape(4, BINS).astype(np.float64)
            probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            sides = probabilities @ np.arange(BINS) * STRIDE
            cx, cy = (x + 0.5) * STRIDE, (y + 0.5) * STRIDE
            box = np.clip([cx - sides[0], cy - sides[1], cx + sides[2], cy + sides[3]], 0, SIDE)
            rows.append([scores[0, 0, y, x], *box])
    kept = decoding.suppress(np.asarray(rows, np.float32))
    height, width = image.shape[:2]
    kept[:, 1:] *= np.array([width, height, width, height]) / SIDE
    return kept


@pytest.mark.parametrize("engine", ["openvino", "paddle"])
def test_candidates_are_what_the_definition_says(folder: Path, engine: str) -> None:
    expected = by_definition(photo())
    boxes, scores = Detector(folder, engine=engine).candidates(photo())
    assert 3 < len(expected) == len(boxes) <= KEPT
    np.testing.assert_allclose(scores, expected[:, 0], atol=1e-5)
    np.testing.assert_allclose(boxes, expected[:, 1:], atol=1e-2)


@pytest.mark.parametrize("engine", ["openvino", "paddle"])
def test_an_official_archive_detects_the_same_as_our_artifact(folder: Path, tmp_path: Path, engine: str) -> None:
    official = Detector(official_archive(tmp_path / "archive", "detect"), engine=engine)
    for seed in range(3):
        for theirs, ours in zip(
            official.candidates(photo(seed=seed)), Detector(folder).candidates(photo(seed=seed)), strict=True
        ):
            np.testing.assert_allclose(theirs, ours, atol=1e-2)


def test_detections_are_the_best_that_reach_the_threshold(folder: Path) -> None:
    detector = Detector(folder)
    boxes, scores = detector.candidates(photo())
    found = detector(photo(), threshold=0, max_detections=3)
    assert [detection.box for detection in found] == [tuple(int(corner) for corner in box) for box in boxes[:3]]
    between = float(scores[0] + scores[1]) / 2
    assert [detection.confidence for detection in detector(photo(), threshold=between)] == [float(scores[0])]
    assert detector(photo(), threshold=1) == ()
    assert detector.confidence_threshold == 0.2  # PP-ShiTu's, where the manifest has no advice
    assert detector(photo()) == detector(photo(), threshold=0.2)
    assert len(detector(photo(), threshold=0, max_detections=99)) == len(boxes)


@pytest.mark.parametrize(
    ("option", "value"),
    [("threshold", value) for value in (-0.1, 1.1, 30, float("nan"), "0.3", True)]
    + [("max_detections", value) for value in (0, -1, 101, 2.5, None, True)],
)
def test_numbers_out_of_range_are_refused_by_name(folder: Path, option: str, value: Any) -> None:
    with pytest.raises(OptionsError, match=f"^{option}: must be a") as caught:
        Detector(folder)(photo(), **{option: value})
    assert caught.value.code == "options_invalid"


def test_numpys_numbers_are_numbers(folder: Path) -> None:
    detector = Detector(folder)
    options: dict[str, Any] = {"threshold": np.float32(0.25), "max_detections": np.int64(2)}
    assert detector(photo(), **options) == detector(photo(), 0.25, 2)


def test_boxes_are_whole_pixels_of_the_image_and_never_empty(folder: Path) -> None:
    for height, width in ((8, 400), (400, 8), (33, 57)):
        for detection in Detector(folder)(photo(height, width), threshold=0, max_detections=100):
            x1, y1, x2, y2 = detection.box
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height


def test_an_embedder_is_no_detector(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no detector but made to embed"):
        Detector(artifact(tmp_path, "embed"))


def test_name_and_digest_are_the_manifests(folder: Path) -> None:
    detector = Detector(folder)
    assert (detector.name, detector.engine, len(detector.digest)) == ("tiny-detect", "openvino", 64)


def test_a_manifest_that_names_other_outputs_is_an_error(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        text = file.read_bytes()
        (tmp_path / file.name).write_bytes(
            text.replace(b"fetch_name_1", b"elsewhere") if file.suffix == ".json" else text
        )
    with pytest.raises(ArtifactError, match="no output 'elsewhere'"):
        Detector(tmp_path, engine="openvino")


def test_the_whole_official_graph_is_not_taken_for_a_cut_one(tmp_path: Path) -> None:
    """OpenVINO can't convert the loop, and says so in one line instead of answering something else."""
    archive = official_archive(tmp_path / "archive", "detect")
    with pytest.raises(EngineError) as caught:
        load_program(archive, engine="openvino")
    assert caught.value.code == "program_corrupt"
    assert "\n" not in caught.value.detail
