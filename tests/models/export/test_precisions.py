"""An artifact in fewer bits: each program answers nearly as the full one, the manifest says how nearly, and bytes are held."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from paddle import nn

from models.artifacts.folders import load_manifest, verify
from models.artifacts.manifest import UNKNOWNS, ClassOutput, HashOutput
from models.detector import Detector
from models.embedder import Embedder
from models.engines.loader import load_program
from models.engines.openvino import computes_bf16
from models.errors import ArtifactError, EngineError
from models.evaluation.calibrate_embedder import write
from models.export import precisions
from models.export.network import Origin, embeds, export_network
from models.export.precisions import FEW_PICTURES, PRECISIONS, add_precisions, agreement, cautions, convert
from models.galleries.calibration import Calibration, from_threshold
from tests.models.programs import SIDE, Array, artifact, official_archive

HERE = tuple(name for name in PRECISIONS if name != "bf16" or computes_bf16())


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    """Blobs of colour: neighbouring pixels are alike, as in photos."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 5, 3), dtype=np.uint8)
    return [np.kron(picture, np.ones((10, 10, 1), np.uint8)) for picture in coarse]


@pytest.fixture(scope="module")
def lowered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny embedder and a tiny detector in every precision that this processor can measure."""
    folders = {}
    for task in ("embed", "detect"):
        folders[task] = artifact(tmp_path_factory.mktemp(task), task)
        add_precisions(folders[task], HERE, pictures(16))
    return folders


def test_an_embedder_of_fewer_bits_gives_nearly_the_same_vectors(lowered: dict[str, Path]) -> None:
    shown = pictures(6, seed=5)
    full = Embedder(lowered["embed"])
    for precision in HERE:
        embed = Embedder(lowered["embed"], precision=precision)
        assert embed.precision == precision
        cosines = (embed(shown) * full(shown)).sum(axis=1)
        assert cosines.min() > 0.97, precision
        assert not np.array_equal(embed(shown), full(shown)), precision


def test_a_detector_of_fewer_bits_gives_nearly_the_same_heads(lowered: dict[str, Path]) -> None:
    pixels = np.random.default_rng(3).normal(size=(1, 3, SIDE, SIDE)).astype(np.float32)
    full = load_program(lowered["detect"]).run({"x": pixels})
    for precision in HERE:
        got = load_program(lowered["detect"], precision=precision).run({"x": pixels})
        for name, expected in full.items():
            assert 0 < np.abs(got[name] - expected).max() < 0.15 * np.abs(expected).max(), (precision, name)
        assert Detector(lowered["detect"], precision=precision).precision == precision


def test_the_manifest_says_how_nearly(lowered: dict[str, Path]) -> None:
    for task, metric in (("embed", "cosine_mean"), ("detect", "AP50")):
        described = load_manifest(lowered[task]).precisions
        assert tuple(sorted(described)) == tuple(sorted(HERE))
        for precision, about in described.items():
            assert about["compared_with"] == "fp32 program"
            assert about["pictures"] == 4
            assert 0.9 < about["agreement"][metric] <= 1, precision
        assert described["int8"]["calibration_pictures"] == 12
        assert described["int8"]["calibrated_with"] == "given pictures"


def test_programs_of_fewer_bits_are_smaller_and_held_to_their_checksums(
    lowered: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(lowered["embed"], tmp_path / "copy"))
    sizes = [(folder / f"inference{end}.bin").stat().st_size for end in ("", "_fp16", "_int8")]
    assert sizes[0] > sizes[1] > sizes[2]
    assert {"inference_fp16.bin", "inference_int8.xml", "inference_int8.bin"} <= set(verify(folder))
    file = folder / "inference_int8.bin"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"inference_int8\.bin is not the one"):
        verify(folder)


def test_fewer_bits_have_their_own_digest_and_leave_the_others(lowered: dict[str, Path]) -> None:
    manifest = load_manifest(lowered["embed"])
    before = {name: manifest.files[name] for name in ("inference.xml", "inference.bin")}
    assert manifest.digest == replace(manifest, files=before, precisions={}).digest  # galleries stay good
    assert len({manifest.digest_of(name) for name in ("fp32", "fp16", "int8")}) == 3
    assert manifest.digest_of("bf16") == manifest.digest
    assert Embedder(lowered["embed"], precision="int8").digest == manifest.digest_of("int8")


def test_a_precision_that_was_not_made_is_refused(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "plain", "embed")
    for precision in PRECISIONS:
        with pytest.raises(ArtifactError, match=f"tiny-embed is not made for {precision}, only for fp32") as caught:
            Embedder(folder, precision=precision)
        assert caught.value.code == "program_missing"
    with pytest.raises(EngineError, match="no precision 'int4'"):
        Embedder(folder, precision="int4")
    with pytest.raises(ArtifactError, match="no precision 'int4'"):
        add_precisions(folder, ["int4"])


def test_bf16_is_not_allowed_where_it_cannot_be_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precisions, "computes_bf16", lambda: False)
    folder = artifact(tmp_path / "plain", "embed")
    with pytest.raises(ArtifactError, match="does not compute bf16"):
        add_precisions(folder, ["bf16"], pictures(2))
    assert load_manifest(folder).precisions == {}


def test_an_export_that_cannot_measure_bf16_leaves_the_older_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precisions, "computes_bf16", lambda: False)
    folder = artifact(tmp_path / "plain", "embed")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    given = load_manifest(folder).input
    with pytest.raises(ArtifactError, match="Leave out bf16"):
        export_network(nn.Identity(), embeds(4), given, folder, Origin([], {}, {}), ["onnx", "bf16", "int8"])
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_program_that_answers_otherwise_is_not_kept(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "plain", "embed")
    before = sorted(file.name for file in folder.iterdir())
    program = load_program(folder)

    def negative(pixels: Array) -> dict[str, Array]:
        return {name: -value for name, value in program.run({"x": pixels}).items()}

    with pytest.raises(ArtifactError, match=r"fp16 program answers otherwise .* \(cosine_mean -1\.00\)"):
        add_precisions(folder, ["fp16"], pictures(4), negative)
    assert sorted(file.name for file in folder.iterdir()) == before
    assert load_manifest(folder).precisions == {}


def test_agreement_of_classes_and_of_bits(lowered: dict[str, Path]) -> None:
    given = load_manifest(lowered["embed"]).input
    a = [{"y": np.array([[0.7, 0.3]], np.float32)}, {"y": np.array([[0.6, 0.4]], np.float32)}]
    b = [{"y": np.array([[0.6, 0.4]], np.float32)}, {"y": np.array([[0.2, 0.8]], np.float32)}]
    assert agreement(a, b, ClassOutput("y", ("p", "q")), given) == {"same_class": 0.5, "probability_off_by": 0.4}
    codes = [{"y": np.array([[1.0, -1.0, 1.0, -1.0]], np.float32)}]
    other = [{"y": np.array([[1.0, 1.0, 1.0, -1.0]], np.float32)}]
    assert agreement(codes, other, HashOutput("y", 4), given) == {
        "cosine_mean": 0.5, "cosine_least": 0.5, "same_bits": 0.75,
    }  # fmt: skip


def test_few_pictures_are_reported(lowered: dict[str, Path]) -> None:
    for folder in lowered.values():
        for precision, about in load_manifest(folder).precisions.items():
            expected = ["int8 was calibrated with 12 pictures; give at least 20"] if precision == "int8" else []
            assert about["warnings"] == expected


def test_a_detector_that_is_sure_of_nothing_is_reported_as_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precisions, "SURE", 1.1)
    folder = artifact(tmp_path / "plain", "detect")
    manifest = add_precisions(folder, ["fp16"], pictures(4))
    assert list(manifest.precisions["fp16"]["agreement"]) == ["score_off_by"]
    assert manifest.precisions["fp16"]["warnings"] == [
        "fp16 was not compared: the full network is sure of nothing in the pictures kept for that"
    ]


def test_what_an_eval_set_loses_is_reported_from_a_limit_on() -> None:
    about = {
        "agreement": {"same_class": 1.0},
        "calibration_pictures": FEW_PICTURES,
        "metrics": {"a top-1": 0.167, "a top-5": 0.9, "b top-1": 0.6},
        "lost": {"a top-1": 0.527, "a top-5": 0.05, "b top-1": -0.2},
    }
    assert cautions("int8", about) == ["int8 loses 0.527 in the eval set 'a top-1': 0.694 in fp32, 0.167 in int8"]


@pytest.mark.parametrize("task", ["embed", "detect"])
def test_an_official_archive_becomes_an_artifact(tmp_path: Path, task: str) -> None:
    archive = official_archive(tmp_path / "official", task)
    converted = convert(archive, tmp_path / "mine")
    assert not converted.official
    assert set(verify(tmp_path / "mine")) == {"inference.xml", "inference.bin"}
    kept = replace(load_manifest(archive), files={})
    assert replace(converted, files={}).to_dict() == kept.to_dict()
    shown = pictures(3, seed=8)
    if task == "embed":
        np.testing.assert_allclose(Embedder(tmp_path / "mine")(shown), Embedder(archive)(shown), atol=1e-5)
    else:
        for picture in shown:
            for mine, theirs in zip(
                Detector(tmp_path / "mine").candidates(picture), Detector(archive).candidates(picture), strict=True
            ):
                np.testing.assert_allclose(mine, theirs, atol=1e-4)
    add_precisions(tmp_path / "mine", ["int8"], shown)
    assert "inference_int8.xml" in verify(tmp_path / "mine")


def test_a_calibrated_embedder_stays_calibrated(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "plain", "embed")
    dim = Embedder(folder).dim
    calibration = replace(from_threshold(0.4), queries=7)
    write(folder, calibration, np.eye(3, dim, dtype=np.float32), {})
    convert(folder, tmp_path / "copy")
    manifest = add_precisions(tmp_path / "copy", ["fp16"], pictures(4))
    assert Calibration.from_dict(manifest.calibration) == calibration
    assert UNKNOWNS in verify(tmp_path / "copy")
    for precision in ("fp32", "fp16"):
        copied = Embedder(tmp_path / "copy", precision=precision)
        assert copied.calibration == calibration
        np.testing.assert_array_equal(copied.unknowns, np.eye(3, dim))


def test_a_copy_goes_into_an_empty_folder(lowered: dict[str, Path], tmp_path: Path) -> None:
    convert(lowered["embed"], tmp_path / "copy")
    assert json.loads((tmp_path / "copy" / "manifest.json").read_bytes()) == json.loads(
        (lowered["embed"] / "manifest.json").read_bytes()
    )
    with pytest.raises(ArtifactError, match="not empty"):
        convert(lowered["embed"], tmp_path / "copy")
