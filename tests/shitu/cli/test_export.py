"""`shitu export` from the command line: a run's weights, or a finished artifact, as programs whose metrics are written down."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from infra.galleries.store import GalleryStore
from infra.objects.opening import open_store
from infra.runtime.settings import load_settings
from models.artifacts.folders import load_manifest, verify
from models.engines.openvino import computes_bf16
from shitu.cli.export_options import MOST_PICTURES, calibration_pictures
from shitu.cli.main import main
from tests.infra.gallery_items import add, item
from tests.models.programs import artifact, official_archive
from tests.models.training.tiny import Run


def shitu(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def report(answer: Result) -> dict[str, object]:
    """The metrics on standard output, which hold nothing else."""
    assert answer.exit_code == 0, answer.output
    metrics: dict[str, object] = json.loads(answer.stdout)
    return metrics


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of eight pictures, some in a folder of their own."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for number in range(8):
        place = folder / ("more" if number % 2 else "") / f"{number}.png"
        cv2.imwrite(str(place), np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    return folder


@pytest.mark.slow
def test_export_measures_the_programs_and_writes_it_down(tiny_run: Run, quick: Path, tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    metrics = report(
        shitu("export", "embedder", quick, "--run", tiny_run.folder, "--out", folder, "--formats", "onnx,openvino,fp16")
    )
    assert metrics["artifact"] == str(folder)
    assert {"inference.onnx", "inference.xml", "inference_fp16.xml"} <= set(verify(folder))
    manifest = load_manifest(folder)
    assert manifest.name == "embedder-tiny"
    assert manifest.thresholds == {"similarity": metrics["similarity"]}
    assert manifest.metrics == {"rendered": metrics["rendered"]}
    half = manifest.precisions["fp16"]
    assert half["metrics"].keys() == half["lost"].keys() == {"rendered"}
    assert half["compared_with"] == "eager network"
    assert metrics["precisions"] == {"fp16": half}


def test_an_artifact_gets_further_precisions(quick: Path, pictures: Path, tmp_path: Path) -> None:
    model, folder = artifact(tmp_path / "tiny", "embed"), tmp_path / "lower"
    names = "fp16,bf16,int8" if computes_bf16() else "fp16,int8"
    answer = shitu(
        "export", "precisions", model, "--out", folder, "--formats", names, "--calibrate", pictures, "--recipe", quick
    )
    metrics = report(answer)
    manifest = load_manifest(folder)
    assert sorted(manifest.precisions) == sorted(names.split(","))
    assert manifest.precisions["int8"]["calibration_pictures"] == 6
    assert manifest.precisions["int8"]["calibrated_with"] == "given pictures"
    assert all(about["lost"].keys() == {"rendered"} for about in manifest.precisions.values())
    assert manifest.metrics == {"rendered": metrics["rendered"]}
    assert load_manifest(model).precisions == {}
    assert manifest.digest == load_manifest(model).digest


def test_what_is_doubtful_is_printed_and_kept(
    quick: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "models.evaluation.evaluate.evaluate_embedder",
        lambda *_, precision: {"rendered": 0.25 if precision == "int8" else 0.75},
    )
    answer = shitu(
        "export", "precisions", artifact(tmp_path / "tiny", "embed"), "--out", tmp_path / "lower", "--formats", "fp16,int8",
        "--calibrate", pictures, "--recipe", quick,
    )  # fmt: skip
    metrics = report(answer)
    expected = [
        "int8 loses 0.5 in the eval set 'rendered': 0.75 in fp32, 0.25 in int8",
        "int8 was calibrated with 6 pictures; give at least 20",
    ]
    described = load_manifest(tmp_path / "lower").precisions
    assert described["int8"]["warnings"] == expected
    assert described["fp16"]["warnings"] == []
    assert metrics["precisions"] == described
    assert answer.stderr.splitlines()[-2:] == [f"Warning: {one}" for one in expected]


def test_an_official_archive_gets_them_too(pictures: Path, tmp_path: Path) -> None:
    archive, folder = official_archive(tmp_path / "official", "detect"), tmp_path / "mine"
    report(shitu("export", "precisions", archive, "--out", folder, "--formats", "int8", "--calibrate", pictures))
    manifest = load_manifest(folder)
    assert manifest.thresholds == {"detection": 0.2}
    assert list(manifest.precisions) == ["int8"]
    assert "metrics" not in manifest.precisions["int8"]


def test_a_stored_gallery_calibrates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHITU_DATA_DIR", str(tmp_path / "var"))
    settings = load_settings()
    objects = open_store(settings.objects, settings.data_dir)
    store = GalleryStore(objects)
    store.create("drinks")
    keep = np.arange(30 * 20 * 3, dtype=np.uint8).reshape(30, 20, 3)
    image_bytes = cv2.imencode(".png", keep[:, :, ::-1])[1].tobytes()
    key = objects.put_image(image_bytes)
    items = [replace(item(number, box=box), image_key=key) for number, box in enumerate((None, (2, 3, 12, 23)))]
    add(store, "drinks", *items)
    shown = calibration_pictures("drinks")
    assert shown is not None
    np.testing.assert_array_equal(shown[0], keep)
    np.testing.assert_array_equal(shown[1], keep[3:23, 2:12])


def test_many_pictures_are_thinned_out_evenly(tmp_path: Path) -> None:
    for number in range(MOST_PICTURES * 2):
        cv2.imwrite(str(tmp_path / f"{number:04}.png"), np.full((1, 1, 3), number // 4, np.uint8))
    shown = calibration_pictures(str(tmp_path))
    assert shown is not None
    assert [int(picture[0, 0, 0]) for picture in shown] == [2 * number // 4 for number in range(MOST_PICTURES)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("embedder", "embedder-tiny", "--run", "."), "there is no checkpoint"),
        (("detector", "detector-s", "--run", "."), "there is no checkpoint"),
        (
            ("embedder", "embedder-tiny", "--run", ".", "--formats", "int8", "--calibrate", "."),
            "there are no pictures in '.'",
        ),
        (
            ("embedder", "embedder-tiny", "--run", ".", "--formats", "fp16,int8", "--calibrate", "nothing-like-it"),
            "nothing-like-it",
        ),
        (("precisions", "no-such-model", "--out", "a"), "There is no model 'no-such-model'"),
        (("precisions", "shitu-embedder", "--out", "full"), "is not empty"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    answer = shitu("export", *arguments)
    assert answer.exit_code == 1
    assert answer.stderr.startswith("Error: ")
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert "Traceback" not in answer.output


def test_an_unknown_format_is_named() -> None:
    answer = shitu("export", "embedder", "embedder-tiny", "--formats", "onnx,tflite")
    assert answer.exit_code == 2
    assert "'tflite' is none of paddle, onnx, onnx-half, openvino, pdparams, fp16, bf16, int8" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("embedder", "embedder-tiny", "--calibrate", "."), "--calibrate goes with fp16, bf16, int8 in --formats"),
        (("precisions", "shitu-embedder", "--out", "new", "--data", "."), "--data goes with --recipe"),
    ],
)
def test_an_option_without_the_one_that_it_goes_with_is_refused(arguments: tuple[str, ...], said: str) -> None:
    answer = shitu("export", *arguments)
    assert answer.exit_code == 2
    assert said in answer.stderr


def test_bf16_is_refused_where_the_processor_has_none_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.export.precisions.computes_bf16", lambda: False)
    model = artifact(tmp_path / "tiny", "embed")
    answer = shitu("export", "precisions", model, "--out", tmp_path / "new", "--formats", "fp16,bf16")
    assert answer.exit_code == 1
    assert "This processor does not compute bf16" in answer.stderr
    assert "Leave out bf16, or export on a processor with avx512_bf16 or amx_bf16." in answer.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("has_it", [True, False])
def test_without_formats_all_are_made_that_the_processor_computes(
    has_it: bool, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if has_it and not computes_bf16():
        pytest.skip("this processor computes no bf16")
    monkeypatch.setattr("models.export.precisions.computes_bf16", lambda: has_it)
    model = artifact(tmp_path / "tiny", "embed")
    report(shitu("export", "precisions", model, "--out", tmp_path / "new", "--calibrate", pictures))
    assert sorted(load_manifest(tmp_path / "new").precisions) == ["bf16"] * has_it + ["fp16", "int8"]


@pytest.mark.parametrize("more", [("--recipe", "no-such-recipe"), ("--calibrate", "empty")])
def test_what_is_wrong_leaves_no_half_made_artifact(
    more: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    model = artifact(tmp_path / "tiny", "embed")
    answer = shitu("export", "precisions", model, "--out", "new", "--formats", "int8", *more)
    assert answer.exit_code == 1
    assert not Path("new").exists()


def test_a_phones_programs_are_written_with_their_sizes(tmp_path: Path) -> None:
    answer = shitu("export", "phone", "--out", tmp_path / "phone")
    assert answer.exit_code == 0, answer.output
    for role in ("detector", "embedder"):
        size = (tmp_path / "phone" / f"{role}.ort").stat().st_size
        (row,) = [line for line in answer.stdout.splitlines() if f" {role} " in line]
        assert f" {size / 1e6:.2f} MB " in row
    answer = shitu("export", "phone", "--detector", "none", "--out", tmp_path / "phone", "--json")
    made = json.loads(answer.stdout)
    assert list(made) == ["embedder"]
    assert made["embedder"]["bytes"] == Path(made["embedder"]["file"]).stat().st_size
    assert made["embedder"]["difference"] < 1e-4
    answer = shitu("export", "phone", "--detector", "none", "--embedder", "none", "--out", tmp_path / "phone")
    assert (answer.exit_code, "leave nothing to export" in answer.stderr) == (2, True)
    assert (tmp_path / "phone" / "embedder.ort").is_file()
