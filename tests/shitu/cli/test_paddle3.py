"""Folders that PaddleX 3 and PaddleDetection publish, by the command line, where PaddlePaddle is not installed."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.models import programs
from tests.shitu.cli.test_without_paddle import PROGRAM, without_paddle


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(4).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_an_embedder_of_paddle_3_answers_as_its_onnx(tmp_path: Path, photo: Path) -> None:
    programs.save_json(tmp_path / "theirs", "embed")
    programs.artifact(tmp_path / "ours", "embed")
    theirs, ours = (
        json.loads(without_paddle(PROGRAM, "embed", str(photo), "--model", str(tmp_path / folder), "--json"))
        for folder in ("theirs", "ours")
    )
    np.testing.assert_allclose(theirs[0]["embedding"], ours[0]["embedding"], atol=1e-5)


def test_a_detector_without_its_yaml_detects_and_says_what_it_assumes(tmp_path: Path, photo: Path) -> None:
    folder = programs.official_archive(tmp_path / "theirs", "detect")
    with_yaml = without_paddle(PROGRAM, "detect", str(photo), "--model", str(folder), "--json", "--threshold", "0.1")
    (folder / "infer_cfg.yml").unlink()
    for ending in ("pdmodel", "pdiparams"):
        (folder / f"inference.{ending}").rename(folder / f"model.{ending}")
    program = PROGRAM.replace("main()", "sys.stderr = sys.stdout\nmain()")
    answer = without_paddle(program, "detect", str(photo), "--model", str(folder), "--json", "--threshold", "0.1")
    said, _, table = answer.partition("\n")
    assert said == (
        "theirs: PicoDet (official); without infer_cfg.yml, so pictures are prepared as for PP-ShiTu's main-body detector "
        "(32 x 32, cubic)"
    )
    ours, theirs = (json.loads(text)[0]["detections"] for text in (table, with_yaml))
    assert ours == theirs


def test_precisions_are_exported_of_it(tmp_path: Path) -> None:
    programs.save_json(tmp_path / "theirs", "embed")
    out = tmp_path / "lower"
    report = without_paddle(
        PROGRAM, "export", "precisions", str(tmp_path / "theirs"), "--out", str(out), "--formats", "fp16"
    )
    assert str(out) in report
    assert (out / "inference.xml").is_file()
    assert (out / "inference_fp16.xml").is_file()
