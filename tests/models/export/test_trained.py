"""Export: the trained network as an artifact that both engines run alike, described in full and held to its checksums."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

from models.artifacts.folders import load_manifest, verify
from models.artifacts.manifest import ClassOutput, DetectionOutput, EmbeddingOutput, HashOutput, Head
from models.embedder import Embedder
from models.engines.loader import load_program
from models.errors import ArtifactError
from models.export.calibration_pictures import synthetic_pictures
from models.export.findings import add_findings
from models.export.network import classifies, detects, embeds, hashes
from models.export.quantize import openvino_network
from models.export.trained import Origin, export_embedder, export_network
from models.training.engine.checkpoint import Checkpoint, to_arrays
from models.training.engine.inputs import square_input
from models.training.networks.embedder import build_embedder, embed_with, load_weights
from models.training.recipes.embedder import EmbedderNetwork
from tests.models.training.tiny import TINY, Run

BARE = Origin(data=["rendered"], metrics={}, thresholds={})


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


def test_the_manifest_describes_all(tiny_run: Run, tiny_artifact: Path) -> None:
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


@pytest.mark.slow
def test_the_first_version_of_the_embedder_exports_too(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    recipe = replace(TINY, name="v1", network=EmbedderNetwork("v1", 0.25, embedding_size=16))
    paddle.seed(3)
    network = build_embedder(recipe.network)
    Checkpoint({"embedder": to_arrays(network.state_dict())}, {"step": 7}).save(tmp_path / "best.npz")
    artifact = export_embedder(recipe, tmp_path / "best.npz", tmp_path / "artifact", BARE)
    assert load_manifest(artifact).network == "PPLCNet_ShiTu x0.25"
    operators = [op.get_type_name() for op in openvino_network(artifact).get_ops()]
    assert operators.count("HSwish") == 28  # each one operator, which convolutions absorb: two would be far slower
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


ORIGIN = Origin(["rendered"], {}, {}, name="mine", network="a test's", recipe={"seed": 1}, steps=4)


def small_network() -> nn.Layer:
    """A seeded embedder (N, 3, 32, 32) -> (N, 8) that takes no harm from rounding, unlike one that hardly trained."""
    paddle.seed(1)
    network = nn.Sequential(nn.Conv2D(3, 4, 8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(64, 8))
    network.eval()
    return network


@pytest.fixture(scope="module")
def every_format(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network in all that is written as files."""
    folder = tmp_path_factory.mktemp("every")
    formats = ("paddle", "onnx", "openvino", "fp16", "int8")
    shown = synthetic_pictures("embed", 32, 12)
    return export_network(small_network(), embeds(8), square_input("x", 32), folder, ORIGIN, formats, shown)


def test_every_format_is_held_to_the_eager_network(every_format: Path, pictures: list[np.ndarray]) -> None:
    table = json.loads((every_format / "manifest.json").read_bytes())
    assert set(table["recipe"]["made_with"]["difference_from_eager"]) == {"paddle", "onnx", "openvino"}
    assert set(table["precisions"]) == {"fp16", "int8"}
    for about in table["precisions"].values():
        assert about["compared_with"] == "eager network"
        assert 0.9 < about["agreement"]["cosine_mean"] <= 1
    assert set(verify(every_format)) == {
        "inference.json", "inference.pdiparams", "inference.onnx", "inference.xml", "inference.bin",
        "inference_fp16.xml", "inference_fp16.bin", "inference_int8.xml", "inference_int8.bin",
    }  # fmt: skip
    assert sorted(file.name for file in every_format.iterdir()) == sorted([*verify(every_format), "manifest.json"])
    full = Embedder(every_format, "paddle")(pictures)
    for precision in ("fp32", "fp16", "int8"):
        assert (Embedder(every_format, precision=precision)(pictures) * full).sum(axis=1).min() > 0.9, precision


def test_what_fewer_bits_lose_is_written_next_to_their_metrics(every_format: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(every_format, tmp_path / "copy"))
    add_findings(copy, {"rendered": 0.75}, {}, {"int8": {"rendered": 0.7}})
    described = load_manifest(copy).precisions
    assert described["int8"]["metrics"] == {"rendered": 0.7}
    assert described["int8"]["lost"] == {"rendered": 0.05}
    assert "metrics" not in described["fp16"]


def test_a_new_export_leaves_nothing_of_the_older_one(every_format: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(every_format, tmp_path / "copy"))
    export_network(small_network(), embeds(8), square_input("x", 32), copy, ORIGIN, ("onnx",))
    assert verify(copy) == ("inference.onnx",)
    assert sorted(file.name for file in copy.iterdir()) == ["inference.onnx", "manifest.json"]
    assert load_manifest(copy).precisions == {}


@pytest.mark.parametrize(
    ("formats", "message"),
    [(("tflite",), "no format 'tflite'"), ((), "needs an fp32 program"), (("paddle", "int8"), "onnx or openvino")],
)
def test_formats_that_cannot_be_are_refused_at_once(
    tiny_run: Run, tmp_path: Path, formats: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ArtifactError, match=message):
        export_embedder(TINY, tiny_run.folder / "best.npz", tmp_path, BARE, formats)
    assert list(tmp_path.iterdir()) == []


def test_a_precision_that_fails_leaves_no_artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.export.precisions.LEAST", 1.1)
    shown = synthetic_pictures("embed", 32, 2)
    with pytest.raises(ArtifactError, match="fp16 program answers otherwise"):
        export_network(small_network(), embeds(8), square_input("x", 32), tmp_path, ORIGIN, ("onnx", "fp16"), shown)
    assert list(tmp_path.iterdir()) == []


class Heads(nn.Layer):
    """Two outputs of one convolution: what a detector's program looks like."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, 1 + 4 * 8, 8, 8)

    def forward(self, x: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        planes = self.conv(x)
        return nn.functional.sigmoid(planes[:, :1]), planes[:, 1:] * 1.0


@pytest.mark.parametrize("kind", ["embed", "hash", "classify", "detect"])
def test_any_network_goes_into_an_artifact_by_the_same_way(tmp_path: Path, kind: str) -> None:
    flat = small_network()
    network, described, named = {
        "embed": (flat, embeds(8), EmbeddingOutput("fetch_name_0", 8)),
        "hash": (flat, hashes(8), HashOutput("fetch_name_0", 8)),
        "classify": (
            nn.Sequential(flat, nn.Softmax()), classifies("abcdefgh"), ClassOutput("fetch_name_0", tuple("abcdefgh"))
        ),
        "detect": (Heads(), detects([8], 7), DetectionOutput((Head("fetch_name_0", "fetch_name_1", 8),), 7)),
    }[kind]  # fmt: skip
    network.eval()
    given = square_input("x", 32)
    formats = ("paddle", "openvino", *(["int8"] if kind == "classify" else []))
    artifact = export_network(
        network, described, given, tmp_path / "a", ORIGIN, formats, synthetic_pictures(kind, 32, 8)
    )
    manifest = load_manifest(artifact)
    assert (manifest.task, manifest.output, manifest.input) == (kind, named, given)
    assert (manifest.name, manifest.network, manifest.recipe["seed"]) == ("mine", "a test's", 1)
    pixels = np.random.default_rng(1).normal(size=(2, 3, 32, 32)).astype(np.float32)
    expected = network(paddle.to_tensor(pixels))
    for program in (load_program(artifact, engine=engine) for engine in ("paddle", "openvino")):
        for spec, tensor in zip(program.outputs, expected if kind == "detect" else [expected], strict=True):
            np.testing.assert_allclose(program.run({"x": pixels})[spec.name], tensor.numpy(), atol=1e-4)
    assert set(manifest.precisions) == ({"int8"} if kind == "classify" else set())


def test_half_weights_are_the_same_network_in_half_the_bytes(
    tiny_run: Run, tiny_artifact: Path, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    export_embedder(TINY, tiny_run.folder / "best.npz", tmp_path, BARE, ["paddle", "onnx-half"])
    half, whole = (tmp_path / "inference.onnx").stat().st_size, (tiny_artifact / "inference.onnx").stat().st_size
    assert half < 0.75 * whole
    paddle_rows, onnx_rows = (Embedder(tmp_path, engine)(pictures) for engine in ("paddle", "openvino"))
    np.testing.assert_allclose(onnx_rows, paddle_rows, atol=1e-5)  # both have the rounded weights
    unrounded = Embedder(tiny_artifact, "openvino")(pictures)
    assert 0 < np.abs(onnx_rows - unrounded).max() < 0.05
    made_with = json.loads((tmp_path / "manifest.json").read_bytes())["recipe"]["made_with"]
    assert made_with["weight_bits"] == 16
    assert 0 < made_with["difference_by_rounding"] < 0.05
    with pytest.raises(ArtifactError, match="one file"):
        export_embedder(TINY, tiny_run.folder / "best.npz", tmp_path, BARE, ["onnx", "onnx-half"])
