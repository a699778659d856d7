"""Photos and a folder gallery of three rendered products, and `shitu recognize` on them."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from models.synth.designs import design_product
from models.synth.products import packshot
from shitu.cli.main import main

SEEDS = {"cola": 3, "green tea": 40, "milk": 77}


@pytest.fixture(scope="module")
def shots() -> dict[str, Image.Image]:
    return {
        label: Image.fromarray(packshot(design_product(seed), 64)).resize((64, 64)) for label, seed in SEEDS.items()
    }


@pytest.fixture
def gallery(tmp_path: Path, shots: dict[str, Image.Image]) -> Path:
    """A folder with a sub-folder for each label."""
    for label, shot in shots.items():
        folder = tmp_path / "gallery" / label
        folder.mkdir(parents=True)
        shot.save(folder / "front.png")
    return tmp_path / "gallery"


@pytest.fixture
def photos(tmp_path: Path, shots: dict[str, Image.Image]) -> Path:
    """A folder of photos, one of each product, named by its label."""
    (tmp_path / "photos").mkdir()
    for label, shot in shots.items():
        shot.save(tmp_path / "photos" / f"{label}.jpg", quality=90)
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("SHITU_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def recognize(artifact_folder: Path, gallery: object, *arguments: object) -> Result:
    """Of the whole image, so that what is seen is the embedder's doing."""
    fixed = ["--detector", "none", "--threads", "1", "--embedder", str(artifact_folder), "--gallery", str(gallery)]
    return CliRunner().invoke(main, ["recognize", *fixed, *map(str, arguments)])
