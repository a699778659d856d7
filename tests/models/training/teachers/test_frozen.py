"""Frozen teachers: files of both formats answer as their network does, and what can't be a teacher is reported when it is opened."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.artifacts.folders import load_manifest, resolve
from models.errors import ArtifactError
from models.training.engine.inputs import normalize
from models.training.recipes.distill import FrozenTeacher
from models.training.teachers.frozen import describe_teacher, open_teacher
from tests.models.training.teacher_files import SIDE, logits_of, teacher_files

CLASSES = 5
PICTURES = np.random.default_rng(0).integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.uint8)
LOGITS = logits_of(normalize(PICTURES), CLASSES)
BUNDLED = FrozenTeacher("shitu-embedder")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teachers")
    for name in ("logits", "softmax"):
        teacher_files(folder / name, CLASSES, softmax=name == "softmax")
    return folder


def of_file(path: str) -> FrozenTeacher:
    return FrozenTeacher(path, size_px=SIDE, layout="NCHW", normalized=True)


@pytest.mark.parametrize("suffix", ["onnx", "xml"])
def test_a_file_teaches_its_own_output(folder: Path, suffix: str) -> None:
    teacher = open_teacher(of_file(f"logits/teacher.{suffix}"), folder, logits=True)
    assert teacher.dims == CLASSES
    np.testing.assert_allclose(teacher(PICTURES), LOGITS, rtol=1e-3, atol=1e-3)


def test_a_files_probabilities_become_logits_where_those_are_compared(folder: Path) -> None:
    exps = np.exp(LOGITS - LOGITS.max(axis=1, keepdims=True))
    probabilities = exps / exps.sum(axis=1, keepdims=True)
    table = of_file("softmax/teacher.onnx")
    np.testing.assert_allclose(open_teacher(table, folder, logits=False)(PICTURES), probabilities, atol=1e-4)
    logits = open_teacher(table, folder, logits=True)(PICTURES)
    np.testing.assert_allclose(np.exp(logits), probabilities, atol=1e-4)
    assert (logits < 0).all()


def test_another_size_or_layout_than_the_files_is_reported_at_once(folder: Path) -> None:
    table = of_file("logits/teacher.onnx")
    for odd in (replace(table, size_px=SIDE + 1), replace(table, layout="NHWC")):
        with pytest.raises(ArtifactError, match=r"teacher\.onnx takes \[1,3,24,24\], not .*'size_px' and 'layout'"):
            open_teacher(odd, folder, logits=True)


def test_a_teacher_is_described_by_what_it_is(folder: Path) -> None:
    bundled = load_manifest(resolve("shitu-embedder"))
    assert describe_teacher(BUNDLED, None) == {
        "name": bundled.name,
        "digest": bundled.digest,
        "licence": bundled.licence,
    }
    for name, files in (("teacher.onnx", ["teacher.onnx"]), ("teacher.xml", ["teacher.xml", "teacher.bin"])):
        sums = {file: hashlib.sha256((folder / "logits" / file).read_bytes()).hexdigest() for file in files}
        assert describe_teacher(of_file(f"logits/{name}"), folder) == {"name": name, "files": sums}


def test_a_missing_teacher_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="There is no model"):
        open_teacher(FrozenTeacher("nothing/here"), tmp_path, logits=False)


def test_an_artifact_teaches_what_it_embeds() -> None:
    teacher = open_teacher(BUNDLED, None, logits=False)
    vectors = teacher(PICTURES)
    assert vectors.shape == (3, teacher.dims) == (3, 512)
    np.testing.assert_allclose(vectors[1:2], teacher(PICTURES[1:2]), atol=1e-4)
