"""Embeddings are unit vectors, the same in any batch and on both engines."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.embedder import BATCH, Embedder
from models.errors import ArtifactError, EngineError
from models.pictures.image import normalize, resize
from tests.models.programs import DIM, SIDE, Array, artifact, embedded, official_archive


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return artifact(tmp_path_factory.mktemp("embedder"), "embed", paddle_too=True)


def crops(count: int) -> list[NDArray[np.uint8]]:
    """Crops of as many sizes."""
    random = np.random.default_rng(7)
    return [random.integers(0, 256, (20 + i, 50 - i % 30, 3), dtype=np.uint8) for i in range(count)]


def by_definition(pictures: list[NDArray[np.uint8]]) -> Array:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    features = embedded(np.stack([normalize(resize(crop, SIDE, SIDE, "linear"), mean, std) for crop in pictures]))
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("engine", ["openvino", "paddle"])
def test_embeddings_are_what_the_definition_says(folder: Path, engine: str) -> None:
    embedder = Embedder(folder, engine=engine)
    embeddings = embedder(crops(5))
    assert (embedder.engine, embedder.dim) == (engine, DIM)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, by_definition(crops(5)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("engine", ["openvino", "paddle"])
def test_an_official_archive_embeds_the_same(tmp_path: Path, engine: str) -> None:
    embedder = Embedder(official_archive(tmp_path / "archive", "embed"), engine=engine)
    np.testing.assert_allclose(embedder(crops(3)), by_definition(crops(3)), atol=1e-5)


@pytest.mark.parametrize("count", [1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH + 5])
def test_any_batch_gives_what_single_crops_give(folder: Path, count: int) -> None:
    embedder = Embedder(folder)
    together = embedder(crops(count))
    assert together.shape == (count, DIM)
    np.testing.assert_allclose(together, np.concatenate([embedder([crop]) for crop in crops(count)]), atol=1e-6)


def test_no_crops_give_no_rows(folder: Path) -> None:
    assert Embedder(folder)([]).shape == (0, DIM)


def test_a_part_of_an_image_needs_no_copy(folder: Path) -> None:
    image = crops(1)[0]
    view = image[3:15, 5:40]
    np.testing.assert_array_equal(Embedder(folder)([view]), Embedder(folder)([view.copy()]))


def network(folder: Path, value: float) -> Path:
    """The tiny artifact with an answer of `value` everywhere."""
    import openvino as ov
    from openvino import opset13 as ops

    artifact(folder, "embed")
    pixels = ops.parameter([-1, 3, SIDE, SIDE], np.float32, name="x")
    pooled = ops.reduce_mean(pixels, ops.constant(np.array([2, 3])), False)
    nothing = ops.matmul(pooled, ops.constant(np.zeros((3, DIM), np.float32)), False, False)
    answer = ops.add(nothing, ops.constant(np.float32(value)))
    pixels.output(0).get_tensor().set_names({"x"})
    answer.output(0).get_tensor().set_names({"fetch_name_0"})
    ov.save_model(ov.Model([answer], [pixels], "constant"), folder / "inference.xml", compress_to_fp16=False)
    return folder


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_answers_that_are_nan_or_infinite_are_an_error(tmp_path: Path, value: float) -> None:
    with pytest.raises(EngineError) as caught:
        Embedder(network(tmp_path, value))(crops(2))
    assert caught.value.code == "embedding_invalid"


@pytest.mark.parametrize(("value", "length"), [(0.0, 0.0), (1e-30, 1.0), (1e30, 1.0)])
def test_tiny_and_huge_answers_divide_without_trouble(tmp_path: Path, value: float, length: float) -> None:
    embeddings = Embedder(network(tmp_path, value))(crops(2))
    assert np.isfinite(embeddings).all()
    if value != 1e-30:  # below the smallest length that counts as more than zero
        np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), length, atol=1e-6)


def test_a_detector_is_no_embedder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no embedder but made to detect"):
        Embedder(artifact(tmp_path, "detect"))
