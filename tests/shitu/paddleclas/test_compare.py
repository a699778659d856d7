"""`shitu compare paddleclas`: their procedure next to ours, on a gallery of theirs."""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from shitu.cli.main import main
from shitu.paddleclas.compare import Answer, Comparison, paired
from shitu.paddleclas.config import read_config
from tests.shitu.paddleclas.conftest import SEEDS


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(autouse=True, scope="module")
def their_programs_are_loaded_once() -> Iterator[None]:
    """Paddle takes two seconds to load the detector and the embedder, which are the same in all of these tests."""
    from shitu.paddleclas import compare

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "their_program", functools.cache(compare.their_program))
        yield


@pytest.fixture
def built(folder: Path) -> Path:
    run("paddleclas", "build_gallery", "-c", "general.yaml")
    shelf = Image.new("RGB", (640, 320), (225, 224, 220))
    for at, seed in enumerate(SEEDS.values()):
        shelf.paste(Image.open(folder / "gallery" / f"{seed}.png").resize((150, 150)), (30 + at * 205, 90))
    shelf.save(folder / "photos" / "shelf.png")
    return folder


AREA = "RecPreProcess.transform_ops.0.ResizeImage.interpolation=area"  # as the embedder that ships was trained


def test_the_option_compat_differs_in_nothing(built: Path) -> None:
    for detector in ("none", "shitu-detector"):
        line = ("compare", "paddleclas", "photos", "-c", "general.yaml", "-o", AREA, "--detector", detector)
        report = json.loads(run(*line, "--compat", "--json").stdout)
        assert report["counts"]["alike"] == report["counts"]["answers"] >= 3, report
        assert sorted(one["photo"] for one in report["photos"]) == ["3.jpg", "40.jpg", "77.jpg", "shelf.png"]
    assert report["engines"]["theirs"][0] == "paddle"


def comparison(*overrides: str) -> Comparison:
    return Comparison(read_config(Path("general.yaml"), ["Global.det_inference_model_dir=shitu-detector", *overrides]))


@pytest.mark.parametrize(
    ("overrides", "interpolation"),
    [
        ((), cv2.INTER_LINEAR),  # theirs, whatever our manifest says
        ((AREA,), cv2.INTER_AREA),
        (("RecPreProcess.transform_ops.0.ResizeImage.interpolation=bicubic",), cv2.INTER_CUBIC),
        (("RecPreProcess.transform_ops.0.ResizeImage.interpolation=2",), cv2.INTER_CUBIC),
        (("RecPreProcess=None",), cv2.INTER_LINEAR),
    ],
)
def test_their_crops_are_resized_as_their_configuration_says(
    built: Path, overrides: tuple[str, ...], interpolation: int
) -> None:
    reference = comparison(*overrides).reference
    crop = np.random.default_rng(1).integers(0, 256, (517, 331, 3), np.uint8)
    small = cv2.resize(crop, (224, 224), interpolation=interpolation)
    np.testing.assert_array_equal(reference.embedding(crop), reference.embedding(small))
    other = cv2.resize(crop, (224, 224), interpolation=cv2.INTER_NEAREST)
    assert np.abs(reference.embedding(crop) - reference.embedding(other)).max() > 1e-3


@pytest.mark.parametrize(
    ("overrides", "interpolation"),
    [
        ((), cv2.INTER_CUBIC),
        (("DetPreProcess=None",), cv2.INTER_CUBIC),  # as all of their files say
        (("DetPreProcess.transform_ops.0.DetResize.interp=1",), cv2.INTER_LINEAR),
        (("DetPreProcess.transform_ops.0.DetResize.interp=3",), cv2.INTER_AREA),
    ],
)
def test_their_photos_are_resized_as_their_configuration_says(
    built: Path, overrides: tuple[str, ...], interpolation: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = comparison(*overrides).reference
    used: list[Any] = []
    real = cv2.resize
    monkeypatch.setattr(cv2, "resize", lambda *how, **more: (used.append(more["interpolation"]), real(*how, **more))[1])
    reference.boxes(np.zeros((300, 200, 3), np.uint8))
    assert used == [interpolation]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("RecPreProcess.transform_ops.0.ResizeImage.interpolation=best", "'best' is none of"),
        ("RecPreProcess.transform_ops.0.ResizeImage.backend=pil", "backend"),
        ("RecPreProcess.transform_ops.0.ResizeImage.resize_short=256", "resize_short"),
        ("DetPreProcess.transform_ops.0.DetResize.interp=cubic", "'cubic' is none of"),
        ("DetPreProcess.transform_ops.0.DetResize.keep_ratio=True", "keep_ratio"),
    ],
)
def test_a_way_of_resizing_that_is_not_done_is_refused(built: Path, override: str, reason: str) -> None:
    result = run("compare", "paddleclas", "photos", "-c", "general.yaml", "-o", override, code=1)
    assert reason in result.stderr
    assert override.partition("=")[0].rpartition(".")[0] in result.stderr


def test_what_differs_is_reported_and_annotated(built: Path) -> None:
    (built / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    result = run("compare", "paddleclas", "photos", "--gallery", "index", "--out", "annotated", code=1)
    assert "broken.jpg: " in result.stderr
    assert "their label" in result.stdout
    assert "answers alike in 4 photos" in result.stdout
    names = sorted(path.name for path in (built / "annotated").iterdir())
    assert names == ["3.png", "40.png", "77.png", "shelf.png"]
    with Image.open(built / "annotated" / "shelf.png") as sheet:
        width, height = sheet.size
    assert width > 2 * 640
    assert height > 320


def test_pairs_are_made_by_boxes_and_every_difference_is_named() -> None:
    theirs = [
        Answer((0, 0, 100, 100), "绿", 0.8),
        Answer((200, 0, 300, 100), "cola", 0.7),
        Answer((0, 300, 9, 309), "x", 0.6),
    ]
    ours = [
        Answer((205, 0, 330, 110), "milk", 0.5),
        Answer((0, 0, 100, 101), "绿 茶", 0.805),
        Answer((400, 0, 500, 9), "y", 1),
    ]
    pairs = paired(theirs, ours)
    assert [one.differs for one in pairs] == [(), ("label", "box", "score"), ("only theirs",), ("only ours",)]
    assert pairs[0].ours == ours[1]
    assert paired([], []) == []
    assert [one.differs for one in paired([], ours[:1])] == [("only ours",)]


def test_mistakes_are_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--gallery names" in run("compare", "paddleclas", "photos", code=1).output
    (folder / "empty").mkdir()
    assert "no pictures in" in run("compare", "paddleclas", "empty", "--gallery", "index", code=1).output
    there: Any = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "paddle" else there(name, *rest)
    )
    report = run("compare", "paddleclas", "photos", "--gallery", "index", code=1).output
    assert "PaddlePaddle, which is not installed" in report
    assert "engine_not_installed" in report


def test_the_picture_fits_small_and_large_photos() -> None:
    from shitu.paddleclas.compare import PANEL_PX, picture

    large = np.zeros((2000, 1000, 3), np.uint8)
    sheet = picture(large, paired([Answer((10, 10, 900, 1900), "茶", 0.9)], []))
    assert sheet.height <= PANEL_PX + 40
    assert picture(np.zeros((40, 40, 3), np.uint8), []).width > 80
