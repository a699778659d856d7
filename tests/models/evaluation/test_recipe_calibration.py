"""What ships with an embedder: its calibration, embeddings of other things, and the open-set metrics."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.artifacts.folders import load_manifest, verify
from models.embedder import Embedder
from models.evaluation.recipe_calibration import add_calibration
from models.training.recipes.embedder import UnknownSource
from models.training.recipes.pictures import EvalSource
from tests.models.training.tiny import TINY

LABELS, PICTURES, OTHERS = 16, 6, 15
RECIPE = replace(
    TINY,
    eval=(
        EvalSource("held_out", "half", root="shop", file="labels.tsv"),
        EvalSource("lists", "listed", root="shop", file="labels.tsv", gallery_file="first.tsv"),
    ),
    unknowns=(UnknownSource("other", most=10),),
)


def quiet(*_: object) -> None:
    """Hears nothing."""


def picture(rng: np.random.Generator, colours: np.ndarray) -> Image.Image:
    noisy = colours.repeat(16, 0).repeat(16, 1) + rng.normal(0, 12, (48, 48, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(5)
    lines = []
    for part in ("shop", "other"):
        (folder / part).mkdir()
    for label in range(LABELS):
        colours = rng.integers(0, 256, (3, 3, 3))
        for number in range(PICTURES):
            picture(rng, colours).save(folder / "shop" / f"{label}-{number}.png")
            lines.append(f"{label}-{number}.png\t{label:02}")
    (folder / "shop" / "labels.tsv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "shop" / "first.tsv").write_text("\n".join(lines[::PICTURES]), encoding="utf-8")
    for number in range(OTHERS):
        picture(rng, rng.integers(0, 256, (3, 3, 3))).save(folder / "other" / f"{number}.png")
    listed = "\n".join(f"{number}.png\tother" for number in range(OTHERS))
    (folder / "other" / "labels.tsv").write_text(listed, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_calibration_unknowns_and_metrics_ship_and_the_digest_stays(
    tiny_artifact: Path, data: Path, tmp_path: Path
) -> None:
    artifact = Path(shutil.copytree(tiny_artifact, tmp_path / "artifact"))
    before = Embedder(artifact)
    assert before.unknowns.shape == (0, 64)
    add_calibration(artifact, RECIPE, data, quiet)
    after = Embedder(artifact)
    assert after.digest == before.digest
    assert after.unknowns.shape == (10, 64)
    np.testing.assert_allclose(np.linalg.norm(after.unknowns, axis=1), 1.0, rtol=1e-3)
    assert after.calibration.source == "embedder"
    assert after.calibration.queries > 0 == before.calibration.queries
    assert 0.5 <= after.calibration.threshold_for(0.9) <= 1
    verify(artifact)  # the new file is held to its checksum too
    metrics = load_manifest(artifact).metrics
    assert metrics["rendered"] == 0.25  # what was there stays
    for name in ("half", "listed"):
        assert 0 <= metrics[f"{name} identified@fpr0.05"] <= 1
        assert 0 <= metrics[f"{name} calibration_error"] <= 1
    assert json.loads((artifact / "manifest.json").read_bytes())["calibration"]["source"] == "embedder"


def test_without_photos_or_unknown_ones_nothing_changes(tiny_artifact: Path, data: Path, tmp_path: Path) -> None:
    artifact = Path(shutil.copytree(tiny_artifact, tmp_path / "artifact"))
    before = (artifact / "manifest.json").read_bytes()
    add_calibration(artifact, RECIPE, None, quiet)
    add_calibration(artifact, replace(RECIPE, unknowns=()), data, quiet)
    add_calibration(artifact, replace(RECIPE, eval=TINY.eval), data, quiet)
    assert (artifact / "manifest.json").read_bytes() == before
    assert sorted(file.name for file in artifact.iterdir()) == sorted(file.name for file in tiny_artifact.iterdir())
