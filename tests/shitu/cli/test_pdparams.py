"""`.pdparams` of PaddleClas and PaddleDetection where commands take a model, and the way back: train here, continue there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from models.artifacts.folders import load_manifest
from models.embedder import Embedder
from models.nets.embedding import EmbedderV1
from models.nets.pdparams import read_pdparams
from models.nets.picodet import PicoDet
from models.training.networks.metric import MetricEmbedder
from models.training.recipes.metric import MetricRecipe
from models.training.recipes.reading import load_recipe
from shitu.cli.main import main
from shitu.cli.weights import model_folder
from tests.models.nets.seeded import fill, seeded_state
from tests.shitu.cli.test_without_paddle import PROGRAM, without_paddle


def shitu(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(4).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def weights_of(network: paddle.nn.Layer, file: Path) -> Path:
    fill(network, seeded_state(network, 8))
    paddle.save(network.state_dict(), str(file))
    return file


def test_embed_takes_weights_and_exports_them_once(tmp_path: Path, photo: Path) -> None:
    weights = weights_of(EmbedderV1(0.25, 16), tmp_path / "general.pdparams")
    answer = shitu("embed", photo, "--model", weights, "--json")
    assert answer.exit_code == 0, answer.output
    (report,) = json.loads(answer.stdout)
    folder = model_folder(str(weights), "embed")
    manifest = load_manifest(folder)
    assert (manifest.name, manifest.network, manifest.input.height) == ("general", "PPLCNet_x0_25, FC neck", 224)
    with Image.open(photo) as image:
        expected = Embedder(folder)([np.asarray(image)])[0]
    np.testing.assert_allclose(report["embedding"], expected, atol=1e-5)
    # What is in the cache needs no PaddlePaddle, and nothing of it is made again.
    again = without_paddle(PROGRAM, "embed", str(photo), "--model", str(weights), "--json")
    np.testing.assert_allclose(json.loads(again)[0]["embedding"], expected, atol=1e-5)


# The export is held in tests/models/export/test_official_weights.py, the way of a command to its weights above.
@pytest.mark.slow
def test_detect_takes_weights(tmp_path: Path, photo: Path) -> None:
    network = PicoDet(0.25, neck_channels=16, head_convs=1)
    answer = shitu("detect", photo, "--model", weights_of(network, tmp_path / "mainbody.pdparams"), "--json")
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)[0].keys() == {"photo", "detections", "took_ms"}


def test_weights_of_another_task_name_the_right_command(tmp_path: Path, photo: Path) -> None:
    weights = weights_of(EmbedderV1(0.25, 16), tmp_path / "general.pdparams")
    for command, words in (("detect", ()), ("classify", ())):
        answer = shitu(command, photo, "--model", weights, *words)
        assert answer.exit_code == 1
        assert "`shitu embed` and `shitu export embedder` take it" in answer.stderr, command
    assert "`shitu export embedder`" in shitu("recognize", photo, "--embedder", weights, "--gallery", tmp_path).stderr


def test_without_paddle_it_says_what_to_install(tmp_path: Path, photo: Path) -> None:
    weights = weights_of(EmbedderV1(0.25, 16), tmp_path / "general.pdparams")
    program = PROGRAM.replace("main()", "main(standalone_mode=False)")
    program = f"import click\ntry:\n{''.join('    ' + line + chr(10) for line in program.strip().splitlines())}except click.ClickException as error:\n    print(error.message)\n"
    for words in (["embed", str(photo), "--model", str(weights)], ["export", "embedder", str(weights)]):
        report = without_paddle(program, *words)
        assert report.strip() == "PaddlePaddle is needed to read .pdparams weights: pip install 'shitu[train]'"


def test_export_makes_a_model_of_weights(tmp_path: Path) -> None:
    weights = weights_of(EmbedderV1(0.25, 16), tmp_path / "general.pdparams")
    answer = shitu("export", "embedder", weights, "--size", 64, "--formats", "onnx")
    assert answer.exit_code == 0, answer.output
    manifest = load_manifest(tmp_path / "general")
    assert (manifest.input.height, manifest.thresholds) == (64, {"similarity": 0.5})
    for words, report in (
        (["--run", tmp_path], "--run has no effect"),
        (["--formats", "onnx,pdparams"], "in that form already"),
    ):
        refused = shitu("export", "embedder", weights, *words)
        assert (refused.exit_code, report in refused.stderr) == (2, True)
    assert "--size goes with" in shitu("export", "embedder", "embedder-tiny", "--size", 64).stderr


def test_a_run_continues_there_and_comes_back(tmp_path: Path) -> None:
    """The weights under PaddleClas' names answer as the run's own artifact, and start another run."""
    run = tmp_path / "run"
    (recipe := tmp_path / "mine.toml").write_text(MINE, encoding="utf-8")
    trained = shitu("train", "metric", recipe, "--out", run, "--threads", 1)
    assert trained.exit_code == 0, trained.output
    exported = shitu("export", "metric", recipe, "--run", run, "--formats", "onnx,pdparams")
    assert exported.exit_code == 0, exported.output
    weights = run / "artifact" / "mine.pdparams"
    there = paddle.load(str(weights))
    assert {name.partition(".")[0] for name in there if "." in name} == {"backbone", "neck"}
    assert there["neck.fc.weight"].shape == [1280, 8]
    shutil.copy(weights, tmp_path / "back.pdparams")
    back = shitu("export", "embedder", tmp_path / "back.pdparams", "--size", 32, "--formats", "onnx")
    assert back.exit_code == 0, back.output
    image = np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    # The recipe has no dropout, their networks have 0.2, which scales what they serve: the neck makes up for it.
    np.testing.assert_allclose(Embedder(tmp_path / "back")([image]), Embedder(run / "artifact")([image]), atol=1e-4)
    second = shitu("train", "metric", recipe, "--out", tmp_path / "second", "--init", weights, "--threads", 1)
    assert second.exit_code == 0, second.output
    only = shitu("export", "metric", recipe, "--run", run, "--out", tmp_path / "only", "--formats", "pdparams")
    assert only.stdout.strip() == str(tmp_path / "only" / "mine.pdparams")
    assert [file.name for file in (tmp_path / "only").iterdir()] == ["mine.pdparams"]
    network = MetricEmbedder(load_recipe(str(recipe), MetricRecipe))
    assert read_pdparams(tmp_path / "only" / "mine.pdparams").keys() == network.state_dict().keys()


MINE = """
name = "mine"
pool_px = 32
deploy_px = 32
evaluate_every = 2
backbone = { kind = "lcnet", width = 0.25, dropout = 0.0 }
neck = { kind = "fc", size = 8 }
head = { kind = "fc" }
loss = { ce = { weight = 1.0 } }
sampler = { kind = "class", views_per_class = 2 }
data = [{ kind = "rendered", name = "synthetic", products = 4, views = 2 }]
stages = [{ steps = 2, size_px = 32, batch = 4 }]
"""
