"""`shitu tune` measures real processes, keeps what answers as fp32 does, and writes settings that the service takes."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from infra.runtime.settings import load_settings
from shitu.cli import tune as module
from shitu.cli.tune import shapes, tune
from tests.models.programs import artifact


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Six pictures of two labels."""
    for label in ("cola", "tea"):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(3):
            noise = np.random.default_rng([number, len(label)]).integers(0, 256, (40, 40, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / "pictures" / label / f"{number}.png")
    return tmp_path / "pictures"


@pytest.mark.slow
def test_the_fastest_way_becomes_settings(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "shapes", lambda _cores: [(1, 1), (1, 2)])
    models = ["--detector", "none", "--embedder", str(artifact(tmp_path / "embedder", "embed"))]
    arguments = [
        "--gallery",
        str(pictures),
        *models,
        "--seconds",
        "0.1",
        "--price",
        "0.36",
        "--out",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(tune, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert [(way["engine"], way["precision"]) for way in report["ways"]] == [("openvino", "fp32")] * 2
    assert {way["jobs"] for way in report["ways"]} == {1, 2}
    assert report["ways"][0]["photos_per_s"] >= report["ways"][1]["photos_per_s"] > 0
    assert report["ways"][0]["photos_per_euro"] == pytest.approx(10_000 * report["ways"][0]["photos_per_s"], rel=1e-3)
    assert {"bf16", "int8", "paddle fp32"} == set(report["refused"])  # too few pictures; no program for Paddle
    assert "too small" in report["refused"]["int8"] or "does not compute" in report["refused"]["int8"]
    lines = dict(line.split("=", 1) for line in (tmp_path / "out" / "settings.env").read_text().splitlines())
    worker = load_settings(lines).worker
    assert (worker.engine, worker.precision, worker.threads) == ("openvino", "fp32", 1)
    assert worker.concurrency == report["ways"][0]["jobs"]


def test_threads_and_jobs_take_all_cores_or_one_job() -> None:
    assert shapes(1) == [(1, 1)]
    assert shapes(2) == [(1, 1), (1, 2), (2, 1)]
    assert shapes(8) == [(1, 1), (1, 8), (2, 1), (2, 4), (4, 1), (4, 2), (8, 1)]


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = CliRunner().invoke(tune, ["--gallery", str(tmp_path / "empty")])
    assert done.exit_code == 1
    assert "sub-folder for each label" in done.output or "no" in done.output.lower()
