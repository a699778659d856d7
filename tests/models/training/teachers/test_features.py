"""Teachers: the pooled features of a network cut before its head, colours, and the whitened target made of both."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray
from openvino import opset13 as ops

from models.errors import ArtifactError
from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD
from models.training.recipes.pictures import Teacher
from models.training.teachers.features import PooledFeatures, Whitening, colour_histogram, layer_name, teacher_targets
from models.vectors import unit_rows

SIDE = 8
HALVES = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [0.0, 0.0, 2.0]], np.float32)  # (4, 3)


def teacher_file(folder: Path, layout: str) -> Teacher:
    """A network: mean colour -> HALVES (the pooled feature, 4 dimensions) -> a layer named "head" (2 dimensions)."""
    axes, shape = ([1, 2], [1, SIDE, SIDE, 3]) if layout == "NHWC" else ([2, 3], [1, 3, SIDE, SIDE])
    image = ops.parameter(shape, np.uint8, name="image")
    mean = ops.reduce_mean(ops.convert(image, np.float32), ops.constant(np.array(axes)), False)
    pooled = ops.matmul(mean, ops.constant(HALVES), False, True)
    head = ops.matmul(pooled, ops.constant(np.ones((4, 2), np.float32)), False, False, name="head")
    ov.save_model(ov.Model([head], [image]), folder / "teacher.xml", compress_to_fp16=False)
    return Teacher("teacher.xml", "head", SIDE, layout, feature_dims=2, colour_dims=3, colour_weight=0.5)


def pictures(count: int) -> list[NDArray[np.uint8]]:
    """Plain ones, each of another colour."""
    rng = np.random.default_rng(0)
    return [np.broadcast_to(rng.integers(0, 256, 3, dtype=np.uint8), (20, 30, 3)).copy() for _ in range(count)]


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_features_are_taken_before_the_named_layer(tmp_path: Path, layout: str) -> None:
    network = PooledFeatures(tmp_path / "teacher.xml", teacher_file(tmp_path, layout))
    kept = []
    for picture in pictures(3):
        features = network(picture)
        np.testing.assert_allclose(features, HALVES @ picture[0, 0].astype(np.float32), rtol=1e-4)
        kept.append(features)
    assert not np.array_equal(kept[0], kept[1])  # an answer is not overwritten by the next


def test_a_teacher_that_is_not_as_the_recipe_says_is_reported(tmp_path: Path) -> None:
    teacher = teacher_file(tmp_path, "NHWC")
    with pytest.raises(ArtifactError, match=r"other\.xml can't be read"):
        PooledFeatures(tmp_path / "other.xml", teacher)
    with pytest.raises(ArtifactError, match=r"has no layer 'neck' to cut before; its last ones are .*head$"):
        PooledFeatures(tmp_path / "teacher.xml", Teacher("teacher.xml", "neck", SIDE))


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_without_a_layer_a_file_gives_its_own_output(tmp_path: Path, layout: str) -> None:
    network = PooledFeatures(tmp_path / "teacher.xml", replace(teacher_file(tmp_path, layout), pooled_before=""))
    for picture in pictures(2):
        total = (HALVES @ picture[0, 0].astype(np.float32)).sum()
        np.testing.assert_allclose(network(picture), [total, total], rtol=1e-4)


def own_file(folder: Path, layout: str, inputs: int = 1, taken: Any = np.float32, given: Any = np.float32) -> Path:
    """A network that gives the first of its inputs back, flat."""
    shape = [1, 2, 2, 3] if layout == "NHWC" else [1, 3, 2, 2]
    images = [ops.parameter(shape, taken, name=f"image{i}") for i in range(inputs)]
    flat = ops.reshape(ops.convert(images[0], given), ops.constant(np.array([1, 12])), False)
    ov.save_model(ov.Model([flat], images), folder / "own.xml", compress_to_fp16=False)
    return folder / "own.xml"


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_pixels_are_prepared_as_the_recipe_says(tmp_path: Path, layout: str) -> None:
    path, table = own_file(tmp_path, layout), Teacher("own.xml", "", 2, layout)
    picture = np.random.default_rng(0).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    prepared = (picture / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    for normalized, pixels in ((False, picture), (True, prepared)):
        expected = pixels if layout == "NHWC" else pixels.transpose(2, 0, 1)
        got = PooledFeatures(path, table, normalized=normalized)(picture)
        np.testing.assert_allclose(got, expected.ravel(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("odd", "normalized", "message"),
    [
        (
            {"given": np.uint8},
            False,
            r"gives whole numbers \(u8\): name a layer in 'pooled_before'; its last ones are Convert_\d+, ",
        ),
        ({"inputs": 2}, False, "has 2 inputs"),
        ({"layout": "NCHW"}, False, r"takes \[1,3,2,2\], not \[1,2,2,3\]: see 'size_px' and 'layout'"),
        ({"taken": np.int8}, False, "of the type i8, which can't be pixels from 0 to 255"),
        ({"taken": np.uint8}, True, "of the type u8, which can't be 'normalized' pixels"),
    ],
)
def test_a_file_that_takes_no_pictures_or_gives_no_features_is_reported(
    odd: dict[str, Any], normalized: bool, message: str, tmp_path: Path
) -> None:
    path = own_file(tmp_path, **{"layout": "NHWC"} | odd)
    with pytest.raises(ArtifactError, match=rf"the teacher own\.xml .*{message}"):
        PooledFeatures(path, Teacher("own.xml", "", 2, "NHWC"), normalized=normalized)


def test_layers_without_a_name_are_counted_from_where_their_file_begins() -> None:
    names = []
    for _ in range(2):  # OpenVINO itself counts on
        before = int(ops.parameter([1]).get_name().rpartition("_")[2])
        image = ops.parameter([1, 2], np.float32)
        layer = ops.relu(ops.add(image, image))
        names.append(layer_name(layer, before))
        assert layer_name(ops.relu(layer, name="head"), before) == "head"
    assert names == ["Relu_3", "Relu_3"]


def test_the_histogram_counts_hues_saturations_and_values_of_each_third() -> None:
    image = np.zeros((96, 96, 3), np.uint8)
    image[:32] = (255, 0, 0)
    image[32:64, :48] = (0, 255, 0)
    image[32:64, 48:] = (0, 0, 255)
    image[64:] = (255, 255, 255)
    expected = np.zeros((3, 12, 4, 4))  # hue in 180 steps: green at 60, blue at 120
    expected[0, 0, 3, 3] = 32 * 96
    expected[1, 4, 3, 3] = expected[1, 8, 3, 3] = 32 * 48
    expected[2, 0, 0, 3] = 32 * 96
    roots = np.sqrt(expected).ravel()
    got = colour_histogram(image)
    np.testing.assert_allclose(got, roots / np.linalg.norm(roots), rtol=1e-5)
    assert got.shape == (576,)


def test_whitening_projects_on_the_strongest_directions_and_halves_their_spread() -> None:
    rng = np.random.default_rng(1)
    features = np.asarray(rng.normal(size=(200, 6)) * [9, 0.1, 4, 1, 0.3, 0.05] + 3, np.float32)
    whitening = Whitening(features, 3)
    centred = features - features.mean(axis=0)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    deviation = singular[:3] / np.sqrt(len(features))
    np.testing.assert_allclose(
        np.abs(whitening.projection.T * np.sqrt(deviation)[:, None]), np.abs(directions[:3]), atol=2e-3
    )
    spread = (centred @ whitening.projection).std(axis=0)
    np.testing.assert_allclose(spread, np.sqrt(deviation), rtol=2e-2)
    np.testing.assert_allclose(np.linalg.norm(whitening(features), axis=1), 1, rtol=1e-5)


def test_directions_without_any_spread_do_no_harm() -> None:
    constant = np.ones((5, 4), np.float32)
    assert np.isfinite(Whitening(constant, 3)(constant)).all()


def test_targets_hold_shapes_and_colours_by_their_weights(tmp_path: Path) -> None:
    teacher = teacher_file(tmp_path, "NHWC")
    targets = teacher_targets(iter(pictures(12)), tmp_path / "teacher.xml", teacher)
    assert targets.shape == (12, 5)
    assert targets.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(targets, axis=1), 1, rtol=1e-5)
    shapes, colours = np.linalg.norm(targets[:, :2], axis=1), np.linalg.norm(targets[:, 2:], axis=1)
    np.testing.assert_allclose(colours / shapes, 0.5, rtol=1e-3)


def test_unit_rows_leave_a_zero_row_alone() -> None:
    rows = unit_rows(np.array([[3, 4], [0, 0]], np.float32))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0, 0]])
