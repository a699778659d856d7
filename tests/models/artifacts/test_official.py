"""Official archives in every form that they are published and exported in: a manifest is made, and the model answers alike."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import yaml
from paddle import nn

from models.artifacts.folders import load_manifest
from models.classifier import Classifier
from models.detector import Detector
from models.embedder import Embedder
from models.errors import ArtifactError
from models.export.precisions import convert
from models.nets.picodet import PicoDet
from models.training.engine.programs import save_program
from tests.models import programs
from tests.models.nets.seeded import fill, seeded_state

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIDE = 128


class WithSuppression(nn.Layer):
    """A PicoDet as PaddleDetection exports it: split, sigmoid, decoding as if boxes were whole pictures, and suppression."""

    def __init__(self, network: PicoDet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Any, scale_factor: Any) -> Any:
        scores, boxes = [], []
        for level in self.network(image):
            scores.append(nn.functional.sigmoid(level.class_logits.transpose([0, 2, 3, 1])).reshape([1, 1, -1]))
            boxes.append(
                level.distance_logits.transpose([0, 2, 3, 1]).reshape([1, -1, 32])[:, :, :4] * scale_factor[0, 0]
            )
        found, _, count = paddle._C_ops.multiclass_nms3(
            paddle.concat(boxes, 1), paddle.concat(scores, 2), None, 0.025, 1000, 100, 0.6, True, 1.0, -1
        )
        return found, count


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PicoDet]:
    """A detector as PaddleX 3 publishes it, and the network in it."""
    network = PicoDet(0.25)
    fill(network, seeded_state(network, 5))
    network.eval()
    folder = tmp_path_factory.mktemp("detector")
    specs = [
        paddle.static.InputSpec([1, 3, SIDE, SIDE], "float32", name="image"),
        paddle.static.InputSpec([1, 2], "float32", name="scale_factor"),
    ]
    save_program(WithSuppression(network), folder / "inference", specs)
    steps = [
        {"type": "Resize", "interp": 2, "keep_ratio": False, "target_size": [SIDE, SIDE]},
        {"type": "NormalizeImage", "is_scale": True, "mean": MEAN, "std": STD, "norm_type": "mean_std"},
        {"type": "Permute"},
    ]
    table = {"mode": "paddle", "arch": "PicoDet", "Global": {"model_name": "PP-ShiTuV2_det"}, "Preprocess": steps, "label_list": ["foreground"]}  # fmt: skip
    (folder / "inference.yml").write_text(yaml.safe_dump(table))
    return folder, network


def picture() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.RandomState(2).randint(0, 256, (6, 8, 3)).repeat(16, 0).repeat(16, 1).astype(np.uint8)


def expected_heads(network: PicoDet, folder: Path) -> list[Any]:
    """Scores and distances of every level by the eager network, of `picture`."""
    from models.pictures.image import normalize, resize

    spec = load_manifest(folder).input
    pixels = normalize(resize(picture(), SIDE, SIDE, "cubic"), spec.mean, spec.std)[None]
    with paddle.no_grad():
        levels = network(paddle.to_tensor(pixels))
    return [
        one.numpy() for level in levels for one in (nn.functional.sigmoid(level.class_logits), level.distance_logits)
    ]


def test_a_detector_of_paddle_3_is_cut_before_its_suppression(detector: tuple[Path, PicoDet]) -> None:
    folder, network = detector
    manifest = load_manifest(folder)
    assert (manifest.task, manifest.network) == ("detect", "PP-ShiTuV2_det (official)")
    assert [head.stride for head in manifest.output.heads] == [8, 16, 32, 64]
    assert set(manifest.files) == {"inference.json", "inference.pdiparams", "inference.yml"}
    boxes = {}
    for engine in ("openvino", "paddle"):
        made = Detector(folder, engine=engine)
        assert made.engine == engine
        outputs = made._program.run([_resized()])
        ours = [outputs[name] for head in manifest.output.heads for name in (head.scores, head.distances)]
        for one, expected in zip(ours, expected_heads(network, folder), strict=True):
            turned = one if one.shape == expected.shape else one.transpose(0, 3, 1, 2)
            np.testing.assert_allclose(turned, expected, atol=1e-4)
        boxes[engine] = made.candidates(picture())
    assert len(boxes["openvino"][0]) > 3
    np.testing.assert_allclose(boxes["openvino"][0], boxes["paddle"][0], atol=0.01)


def _resized() -> Any:
    from models.pictures.image import resize

    return resize(picture(), SIDE, SIDE, "cubic")


def test_a_detector_without_its_yaml_is_prepared_as_ppshitus(detector: tuple[Path, PicoDet], tmp_path: Path) -> None:
    folder, _ = detector
    for name in ("json", "pdiparams"):
        shutil.copy(folder / f"inference.{name}", tmp_path / f"inference.{name}")
    manifest = load_manifest(tmp_path)
    assert manifest.task == "detect"
    assert manifest.input == load_manifest(folder).input
    assert manifest.network == (
        "PicoDet (official); without infer_cfg.yml, so pictures are prepared as for PP-ShiTu's main-body detector "
        f"({SIDE} x {SIDE}, cubic)"
    )
    ours, theirs = (Detector(one).candidates(picture()) for one in (tmp_path, folder))
    np.testing.assert_array_equal(ours[0], theirs[0])


def test_the_old_form_without_its_yaml_detects_too(tmp_path: Path) -> None:
    folder = programs.official_archive(tmp_path, "detect")
    with_yaml = load_manifest(folder)
    (folder / "infer_cfg.yml").unlink()
    assert (load_manifest(folder).input, load_manifest(folder).output) == (with_yaml.input, with_yaml.output)


@pytest.mark.parametrize("task", ["embed", "detect", "classify"])
def test_paddledetections_names_are_accepted(task: str, tmp_path: Path) -> None:
    folder = programs.official_archive(tmp_path / "theirs", task)
    loads = {"embed": Embedder, "detect": Detector, "classify": Classifier}[task]
    usual = loads(folder)
    for ending in ("pdmodel", "pdiparams"):
        (folder / f"inference.{ending}").rename(folder / f"model.{ending}")
    renamed = loads(folder)
    assert "model.pdmodel" in load_manifest(folder).files
    crop = picture()
    if task == "detect":
        np.testing.assert_array_equal(renamed.candidates(crop)[0], usual.candidates(crop)[0])
    elif task == "embed":
        np.testing.assert_array_equal(renamed([crop]), usual([crop]))
    else:
        assert renamed([crop]) == usual([crop])
    assert convert(folder, tmp_path / "copy").task == task


class Tiny(nn.Layer):
    """The embedder of `tests.models.programs`, with a softmax at its end where it classifies."""

    def __init__(self, *, classifies: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2D(3, programs.DIM, programs.STRIDE, programs.STRIDE, bias_attr=False)
        self.conv.weight.set_value(programs.kernel(programs.DIM))
        self.classifies = classifies

    def forward(self, x: Any) -> Any:
        made = nn.functional.relu(self.conv(x)).mean(axis=[2, 3])
        return nn.functional.softmax(made) if self.classifies else made


def paddlex(folder: Path, operations: list[Any], after: dict[str, Any], *, classifies: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    network = Tiny(classifies=classifies)
    network.eval()
    spec = paddle.static.InputSpec([None, 3, programs.SIDE, programs.SIDE], "float32", name="x")
    save_program(network, folder / "inference", [spec])
    table = {"Global": {"model_name": "ours"}, "PreProcess": {"transform_ops": operations}, "PostProcess": after}
    (folder / "inference.yml").write_text(yaml.safe_dump(table))
    return folder


NORMALIZE = {"NormalizeImage": {"channel_num": 3, "scale": 0.00392156862745098, "mean": MEAN, "std": STD, "order": ""}}


def test_an_embedder_of_paddle_3_answers_as_the_old_form(tmp_path: Path) -> None:
    resize = {"ResizeImage": {"size": [32, 32], "interpolation": "bilinear", "backend": "cv2"}}
    folder = paddlex(tmp_path / "new", [resize, NORMALIZE, {"ToCHWImage": None}], {"NormalizeFeatures": None})
    manifest = load_manifest(folder)
    assert (manifest.task, manifest.network, manifest.input.resize_short) == ("embed", "ours (official)", 0)
    old = Embedder(programs.official_archive(tmp_path / "old", "embed"))
    for engine in ("openvino", "paddle"):
        np.testing.assert_allclose(Embedder(folder, engine=engine)([picture()]), old([picture()]), atol=1e-6)
    assert convert(folder, tmp_path / "artifact").output.dim == programs.DIM
    np.testing.assert_allclose(Embedder(tmp_path / "artifact")([picture()]), old([picture()]), atol=1e-5)


def test_a_classifier_of_paddle_3_names_its_classes(tmp_path: Path) -> None:
    operations = [
        {"ResizeImage": {"resize_short": programs.SHORT}},
        {"CropImage": {"size": 32}},
        NORMALIZE,
        {"ToCHWImage": None},
    ]
    folder = paddlex(tmp_path, operations, {"Topk": {"topk": 5, "label_list": programs.LABELS}}, classifies=True)
    manifest = load_manifest(folder)
    assert (manifest.task, manifest.input.resize_short) == ("classify", programs.SHORT)
    (found,) = Classifier(folder)([picture()], top_k=2)
    assert len(found.label_names) == 2
    assert set(found.label_names) <= set(programs.LABELS)


@pytest.mark.parametrize(
    ("operations", "said"),
    [
        ([{"ResizeImage": {"size": [64, 64]}}, NORMALIZE], r"inference\.yml makes pictures of \[64, 64\], where the program takes 32 x 32"),
        ([{"RandCropImage": {"size": 32}}], r"inference\.yml prepares pictures by RandCropImage"),
        ([{"ResizeImage": {"size": [32, 32], "interpolation": "lanczos"}}], r"inference\.yml describes no preparation"),
        (["ToCHWImage"], r"inference\.yml describes no preparation"),
    ],
)  # fmt: skip
def test_a_preparation_that_is_not_done_here_is_refused(operations: list[Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=said):
        load_manifest(paddlex(tmp_path, operations, {}))


def test_a_program_without_its_parameters_is_incomplete(tmp_path: Path) -> None:
    paddlex(tmp_path, [], {})
    (tmp_path / "inference.pdiparams").unlink()
    with pytest.raises(ArtifactError, match=r"Next to inference\.json the file inference\.pdiparams is missing"):
        load_manifest(tmp_path)
