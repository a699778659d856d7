"""The teacher's rule: sure boxes are objects, an unsure one spoils the photo, people are none. On a made-up network that sees fixed boxes."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray
from openvino import opset13 as ops

from models.artifacts.folders import write_manifest
from models.errors import ArtifactError
from models.training.cells import cells_of
from models.training.data.detection_sources import read_pseudo_labelled, source_pictures
from models.training.recipes.detector_tables import PictureSource
from models.training.teachers.pseudo_boxes import BoxTeacher, open_box_teacher

SIDE, BOTTLE, PERSON = 96, 39, 0  # 96 is no multiple of 64: the last level has a cell that hangs over
PHOTO = np.zeros((SIDE * 2, SIDE, 3), np.uint8)  # twice as tall as the input
Seen = tuple[tuple[int, int], int, float]  # stride and index of the cell in its level, class, score


def network(path: Path, *seen: Seen, outputs: int = 8) -> Path:
    """A network that gives what is `seen` for any image, each a box of two strides around its cell's centre."""
    cells = cells_of(SIDE, SIDE)
    image = ops.parameter([1, 3, SIDE, SIDE], np.float32, name="image")
    nothing = ops.multiply(ops.reduce_sum(image, [0, 1, 2, 3], False), ops.constant(np.float32(0)))
    scores, bins = [], []
    for stride in (8, 16, 32, 64):
        count = int((cells.strides == stride).sum())
        level = np.zeros((1, count, 80), np.float32)
        for (s, index), kind, score in seen:
            if s == stride:
                level[0, index, kind] = score
        distances = np.full((1, count, 4, 8), -50, np.float32)
        distances[..., 1] = 50
        scores.append(ops.add(ops.constant(level), nothing))
        bins.append(ops.add(ops.constant(distances.reshape(1, count, 32)), nothing))
    ov.save_model(ov.Model([*scores, *bins][:outputs], [image]), path, compress_to_fp16=False)
    return path


def labelled(tmp_path: Path, *seen: Seen) -> NDArray[np.float32] | None:
    found = BoxTeacher(network(tmp_path / "teacher.xml", *seen))(PHOTO)
    if found is None:
        return None
    assert (found.weights == 1).all()
    return found.boxes


def test_a_sure_box_is_an_object_in_the_pixels_of_the_photo(tmp_path: Path) -> None:
    boxes = labelled(tmp_path, ((16, 7), BOTTLE, 0.9))  # row 1, column 1 of 6: centre (24, 24)
    assert boxes is not None
    np.testing.assert_allclose(boxes, [[8, 16, 40, 80]], atol=1e-3)


def test_a_cell_of_the_level_that_hangs_over_is_clipped(tmp_path: Path) -> None:
    boxes = labelled(tmp_path, ((64, 3), BOTTLE, 0.9))  # row 1, column 1 of 2: centre (96, 96)
    assert boxes is not None
    np.testing.assert_allclose(boxes, [[32, 64, 96, 192]], atol=1e-3)


def test_an_unsure_box_elsewhere_spoils_the_photo(tmp_path: Path) -> None:
    assert labelled(tmp_path, ((16, 7), BOTTLE, 0.9), ((16, 34), BOTTLE, 0.35)) is None
    assert labelled(tmp_path, ((16, 7), BOTTLE, 0.9), ((16, 34), BOTTLE, 0.2)) is not None


def test_two_sure_boxes_are_two_objects(tmp_path: Path) -> None:
    boxes = labelled(tmp_path, ((16, 7), BOTTLE, 0.9), ((16, 34), BOTTLE, 0.5))
    assert boxes is not None
    assert len(boxes) == 2


def test_people_and_nothing_are_no_objects(tmp_path: Path) -> None:
    assert labelled(tmp_path, ((16, 7), PERSON, 0.9)) is None
    assert labelled(tmp_path) is None


def test_other_files_and_other_networks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"text\.onnx"):
        BoxTeacher(tmp_path / "text.onnx")
    with pytest.raises(ArtifactError, match="6 outputs"):
        BoxTeacher(network(tmp_path / "six.xml", outputs=6))


def test_every_fifth_photo_of_a_list_can_be_held_out(tmp_path: Path) -> None:
    import cv2

    for number in range(10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((40, 40, 3), 20 * number, np.uint8))
    (tmp_path / "list.txt").write_text("".join(f"{n}.png\tdrink\n" for n in range(10)), encoding="utf-8")
    teacher = network(tmp_path / "teacher.xml", ((16, 7), BOTTLE, 0.9))
    shades = {
        held_out: [
            int(p.image[0, 0, 0]) // 20
            for p in read_pseudo_labelled(tmp_path, "list.txt", "\t", teacher, held_out=held_out)
        ]
        for held_out in (None, True, False)
    }
    assert shades == {None: list(range(10)), True: [4, 9], False: [0, 1, 2, 3, 5, 6, 7, 8]}


def test_an_artifacts_boxes_count_by_their_confidence(tmp_path: Path) -> None:
    """The fixed scores of a made-up detector of one class: sure, a guess, unsure, nothing."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    image = ops.parameter([1, 3, 64, 64], np.float32, name="image")
    nothing = ops.multiply(ops.reduce_sum(image, [0, 1, 2, 3], False), ops.constant(np.float32(0)))
    outputs, heads = [], []
    for stride in (8, 16, 32, 64):
        side = 64 // stride
        scores = np.zeros((1, 1, side, side), np.float32)
        if stride == 8:
            scores[0, 0, [1, 1, 6, 6], [1, 6, 1, 6]] = (0.8, 0.4, 0.25, 0.1)
        distances = np.full((1, 4, 8, side * side), -50, np.float32)
        distances[:, :, 1] = 50
        names = [f"scores{stride}", f"distances{stride}"]
        for name, values in zip(names, (scores, distances.reshape(1, 32, side, side)), strict=True):
            out = ops.add(ops.constant(values), nothing)
            out.output(0).get_tensor().set_names({name})
            outputs.append(out)
        heads.append({"scores": names[0], "distances": names[1], "stride": stride})
    image.output(0).get_tensor().set_names({"image"})
    ov.save_model(ov.Model(outputs, [image]), folder / "inference.xml", compress_to_fp16=False)
    given = {"name": "image", "height": 64, "width": 64, "interpolation": "cubic", "mean": [0.0] * 3, "std": [1.0] * 3}
    write_manifest(
        folder, name="made-up", task="detect", network="none", input=given, output={"heads": heads, "reg_max": 7},
        thresholds={}, recipe={}, data=[], metrics={}, licence="Apache-2.0",
    )  # fmt: skip
    pseudo = open_box_teacher(folder)(np.zeros((64, 64, 3), np.uint8))
    assert pseudo is not None
    np.testing.assert_allclose(pseudo.weights, [0.8, 0.4, 0.0], atol=1e-6)
    np.testing.assert_allclose(pseudo.boxes[0], [4, 4, 20, 20], atol=1e-3)


def test_photos_that_an_object_fills_can_be_skipped(tmp_path: Path) -> None:
    """The teacher's box is a third of a side: a ninth of the photo."""
    import cv2

    cv2.imwrite(str(tmp_path / "one.png"), np.full((40, 40, 3), 90, np.uint8))
    (tmp_path / "list.txt").write_text("one.png\tdrink\n", encoding="utf-8")
    network(tmp_path / "teacher.xml", ((16, 7), BOTTLE, 0.9))
    for largest, pictures in ((0.1, 0), (0.12, 1)):
        source = PictureSource("photos", "drinks", file="list.txt", teacher="teacher.xml", largest=largest)
        assert len(list(source_pictures(source, 64, tmp_path, 1, lambda *_: None))) == pictures
