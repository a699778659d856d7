"""Export: the trained network as an artifact that both engines run alike, described in full and held to its checksums."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from models.artifacts import load_manifest, verify
from models.embedder import Embedder
from models.engine import load_program
from models.errors import ArtifactError
from models.manifest import EmbeddingOutput
from models.training.checkpoint import Checkpoint, to_arrays
from models.training.export import Origin, add_findings, export_embedder
from models.training.recipe import EmbedderNetwork
from models.training.train_embedder import build_embedder, embed_with, load_weights
from tests.models.training.tiny import TINY, Run

BARE = Origin(data=["drawn"], metrics={}, thresholds={})


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 256, (size, 32, 3), dtype=np.uint8) for size in (32, 32, 50)]


def test_both_engines_answer_as_the_network_does(
    tiny_run: Run, tiny_artifact: Path, pictures: list[np.ndarray]
) -> None:
    network = build_embedder(TINY.network)
    load_weights(network, tiny_run.folder / "best.npz")
    features = embed_with(network)(np.stack(pictures[:2]))
    expected = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert abs(expected[0] @ expected[1]) < 0.999  # the answers differ by picture
    for engine in ("openvino", "paddle"):
        np.testing.assert_allclose(Embedder(tiny_artifact, engine)(pictures[:2]), expected, atol=2e-3, err_msg=engine)


def test_a_batch_is_as_good_as_one_by_one(tiny_artifact: Path, pictures: list[np.ndarray]) -> None:
    for engine in ("openvino", "paddle"):
        embed = Embedder(tiny_artifact, engine)
        one_by_one = np.concatenate([embed([picture]) for picture in pictures])
        np.testing.assert_allclose(embed(pictures), one_by_one, atol=1e-5, err_msg=engine)


def test_the_manifest_tells_all(tiny_run: Run, tiny_artifact: Path) -> None:
    manifest = load_manifest(tiny_artifact)
    assert (manifest.name, manifest.task, manifest.licence) == ("embedder-tiny", "embed", "Apache-2.0")
    assert manifest.network == "PPLCNetV2_base_ShiTu x0.5"
    assert (manifest.input.height, manifest.input.width, manifest.input.interpolation) == (32, 32, "linear")
    assert isinstance(manifest.output, EmbeddingOutput)
    assert manifest.output.dim == 64
    assert manifest.thresholds == {"similarity": 0.4}
    table = json.loads((tiny_artifact / "manifest.json").read_bytes())
    assert table["metrics"] == {"rendered": 0.25}
    assert table["data"] == ["rendered products"]
    assert table["recipe"]["data"][0]["products"] == 24
    made_with = table["recipe"]["made_with"]
    assert made_with["steps"] == Checkpoint.load(tiny_run.folder / "best.npz").progress["step"]
    assert made_with["minutes"] == 0.2
    assert set(made_with["difference_from_eager"]) == {"onnx", "paddle"}
    assert max(made_with["difference_from_eager"].values()) < 1e-3


def test_the_files_are_held_to_their_checksums(tiny_artifact: Path, tmp_path: Path) -> None:
    assert set(verify(tiny_artifact)) == {"inference.json", "inference.onnx", "inference.pdiparams"}
    shutil.copytree(tiny_artifact, tmp_path / "copy")
    file = tmp_path / "copy" / "inference.pdiparams"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError) as error:
        verify(tmp_path / "copy")
    assert error.value.code == "artifact_changed"


def test_findings_change_the_manifest_and_nothing_else(tiny_artifact: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(tiny_artifact, tmp_path / "copy"))
    before = json.loads((copy / "manifest.json").read_bytes())
    digest = load_manifest(copy).digest
    add_findings(copy, {"recall": 0.75}, {"similarity": 0.61})
    after = json.loads((copy / "manifest.json").read_bytes())
    assert after == {**before, "metrics": {"recall": 0.75}, "thresholds": {"similarity": 0.61}}
    assert load_manifest(copy).digest == digest
    assert Embedder(copy).similarity_threshold == 0.61


def test_the_first_version_of_the_embedder_exports_too(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    recipe = replace(TINY, name="v1", network=EmbedderNetwork("v1", 0.25, embedding_size=16))
    paddle.seed(3)
    network = build_embedder(recipe.network)
    Checkpoint({"embedder": to_arrays(network.state_dict())}, {"step": 7}).save(tmp_path / "best.npz")
    artifact = export_embedder(recipe, tmp_path / "best.npz", tmp_path / "artifact", BARE)
    assert load_manifest(artifact).network == "PPLCNet_ShiTu x0.25"
    answers = [Embedder(artifact, engine)(pictures) for engine in ("openvino", "paddle")]
    assert answers[0].shape == (3, 16)
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)


def test_what_cannot_be_exported_leaves_no_manifest(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="there is no checkpoint"):
        export_embedder(TINY, tmp_path / "best.npz", tmp_path / "artifact", BARE)
    other = replace(TINY, network=replace(TINY.network, embedding_size=32))
    with pytest.raises(ArtifactError, match="another network than the recipe's"):
        export_embedder(other, tiny_run.folder / "best.npz", tmp_path / "artifact", BARE)
    stored = Checkpoint.load(tiny_run.folder / "best.npz")
    spoilt = {name: np.full_like(array, np.nan) for name, array in stored.groups["embedder"].items()}
    Checkpoint({"embedder": spoilt}, stored.progress).save(tmp_path / "spoilt.npz")
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact" / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ArtifactError, match="differs from the eager network"):
        export_embedder(TINY, tmp_path / "spoilt.npz", tmp_path / "artifact", BARE)
    assert not (tmp_path / "artifact" / "manifest.json").exists()


def test_the_program_takes_any_number_of_pictures(tiny_artifact: Path) -> None:
    for engine in ("openvino", "paddle"):
        program = load_program(tiny_artifact, engine=engine)
        for count in (1, 5):
            images = np.zeros((count, 3, 32, 32), np.float32)
            (features,) = program.run({"x": images}).values()
            assert features.shape == (count, 64)
