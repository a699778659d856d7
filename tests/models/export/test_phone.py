"""A phone's programs answer as the pipeline does, from what models.json says alone; what can't be exported is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from models.artifacts.folders import resolve
from models.artifacts.manifest import DetectionOutput, Head
from models.boxes import clip, suppress
from models.detector import KEPT, SUPPRESSION_IOU, Detector, decode_heads
from models.embedder import Embedder
from models.errors import ArtifactError, EngineError
from models.export import phone
from models.export.phone import export_phone
from models.pictures.image import INTERPOLATIONS
from models.synth.scenes import training_scene

BOX_PX, SCORE, COSINE = 0.1, 1e-4, 1e-5  # what docs/phone.md promises
BUNDLED = {"detector": resolve("shitu-detector"), "embedder": resolve("shitu-embedder")}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phone")
    export_phone(BUNDLED, folder)
    return folder


class App:
    """What an app does: one of the programs, with what models.json says of it."""

    def __init__(self, folder: Path, role: str) -> None:
        self.about = json.loads((folder / "models.json").read_text(encoding="utf-8"))[role]
        data = (folder / self.about["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == self.about["sha256"]
        self.session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(self, picture: NDArray[np.uint8]) -> dict[str, Any]:
        given = self.about["input"]
        small = cv2.resize(
            picture, (given["width"], given["height"]), interpolation=INTERPOLATIONS[given["interpolation"]]
        )
        pixels = ((small / 255 - given["mean"]) / given["std"]).astype(np.float32).transpose(2, 0, 1)[None]
        names = [one.name for one in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, {given["name"]: pixels}), strict=True))


def photos() -> list[NDArray[np.uint8]]:
    return [np.asarray(training_scene(seed, size).image) for seed, size in ((7001, 320), (7002, 500), (7003, 240))]


def test_the_detector_finds_the_same_objects(exported: Path) -> None:
    app, served = App(exported, "detector"), Detector(BUNDLED["detector"], engine="openvino")
    heads = [Head(**head) for head in app.about["output"]["heads"]]
    given, sure = app.about["input"], 0
    for photo in photos():
        height, width = photo.shape[:2]
        boxes, scores = decode_heads(
            app.run(photo),
            DetectionOutput(tuple(heads), app.about["output"]["reg_max"]),
            given["height"],
            given["width"],
        )
        kept = suppress(boxes, scores, SUPPRESSION_IOU)[:KEPT]
        boxes = clip(boxes[kept] * np.float32([width / given["width"], height / given["height"]] * 2), height, width)
        expected, confidences = served.candidates(photo)
        clear = confidences > 0.1  # the order of what is hardly found may change
        assert (scores[kept] > 0.1).sum() == clear.sum()
        np.testing.assert_allclose(boxes[: clear.sum()], expected[clear], atol=BOX_PX)
        np.testing.assert_allclose(scores[kept][: clear.sum()], confidences[clear], atol=SCORE)
        sure += int((confidences >= app.about["thresholds"]["detection"]).sum())
    assert sure >= 3


def test_the_embedder_gives_the_same_embeddings(exported: Path) -> None:
    app, served = App(exported, "embedder"), Embedder(BUNDLED["embedder"], engine="openvino")
    assert app.about["digest"] == served.digest
    expected = served(photos())
    for row, photo in zip(expected, photos(), strict=True):
        found = app.run(photo)[app.about["output"]["name"]][0]
        assert found.shape == (app.about["output"]["dim"],)
        assert found @ row / np.linalg.norm(found) > 1 - COSINE


def test_the_programs_take_one_picture_and_stay_small(exported: Path) -> None:
    for role, source in BUNDLED.items():
        session = App(exported, role).session
        assert session.get_inputs()[0].shape[0] == 1
        # Weights of 16 bits stay so: folded they would take twice the room.
        assert (exported / f"{role}.ort").stat().st_size < 1.1 * (source / "inference.onnx").stat().st_size


def test_another_export_replaces_all_of_the_last_and_a_refused_one_nothing(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "phone")
    before = {path.name: path.read_bytes() for path in (tmp_path / "phone").iterdir()}
    with pytest.raises(ArtifactError, match="shitu-detector is no embedder but made to detect"):
        export_phone({"detector": BUNDLED["detector"], "embedder": BUNDLED["detector"]}, tmp_path / "phone")
    assert {path.name: path.read_bytes() for path in (tmp_path / "phone").iterdir()} == before
    made = export_phone({"embedder": BUNDLED["embedder"]}, tmp_path / "phone")
    assert sorted(path.name for path in (tmp_path / "phone").iterdir()) == ["embedder.ort", "models.json"]
    assert made["embedder"].size_bytes == (tmp_path / "phone" / "embedder.ort").stat().st_size
    assert made["embedder"].difference < phone.TOLERANCE
    assert "detector" not in json.loads((tmp_path / "phone" / "models.json").read_text(encoding="utf-8"))


def test_a_program_that_answers_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Any = phone.load_program

    class Other:
        def __init__(self, program: Any) -> None:
            self.program = program

        def run(self, inputs: Any) -> dict[str, Any]:
            return {name: 1.01 * value for name, value in self.program.run(inputs).items()}

    monkeypatch.setattr(phone, "load_program", lambda *how, **more: Other(real(*how, **more)))
    with pytest.raises(ArtifactError, match=r"differs by 0\.0\d+ of the largest output"):
        export_phone({"embedder": BUNDLED["embedder"]}, tmp_path / "phone")
    assert list((tmp_path / "phone").iterdir()) == []


def test_what_onnx_runtime_cannot_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(BUNDLED["detector"], tmp_path / "model")
    (tmp_path / "model" / "inference.onnx").write_bytes(b"no program")
    with pytest.raises(EngineError, match="ONNX Runtime can't convert shitu-detector"):
        export_phone({"detector": tmp_path / "model"}, tmp_path / "phone")
    (tmp_path / "model" / "inference.onnx").unlink()
    with pytest.raises(ArtifactError, match="export it with --formats onnx"):
        export_phone({"detector": tmp_path / "model"}, tmp_path / "phone")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EngineError, match=r"pip install 'shitu\[phone\]'"):
        export_phone(BUNDLED, tmp_path / "phone")
