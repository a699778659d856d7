"""`shitu gallery search`: by a picture and by an item, in the store and through a service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from infra.galleries.store import GalleryStore
from infra.objects.local import LocalStore
from shitu.cli.main import main
from tests.models.programs import artifact

LABELS = ["cola", "tea", "milk", "cola"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["gallery", *map(str, arguments)])


def found(*arguments: object) -> list[dict[str, Any]]:
    answer = run("search", "drinks", *arguments, "--json")
    assert answer.exit_code == 0, answer.output
    items: list[dict[str, Any]] = json.loads(answer.stdout)["items"]
    return items


@pytest.fixture
def embedder(tmp_path: Path) -> Path:
    return artifact(tmp_path / "embedder", "embed", paddle_too=False)


@pytest.fixture
def pictures(tmp_path: Path, embedder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Those that are in the gallery `drinks`."""
    monkeypatch.setenv("SHITU_DATA_DIR", str(tmp_path / "data"))
    paths = []
    for number, label in enumerate(LABELS):
        folder = tmp_path / "shop" / label
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels).resize((96, 96), Image.Resampling.NEAREST).save(paths[-1])
    assert run("add", tmp_path / "shop", "--gallery", "drinks", "--embedder", embedder).exit_code == 0
    return paths


def test_a_picture_finds_itself_first_and_an_item_the_others(
    pictures: list[Path], embedder: Path, tmp_path: Path
) -> None:
    near = found(pictures[2], "--embedder", embedder)
    assert (near[0]["label"], len(near)) == ("milk", 4)
    assert near[0]["similarity"] == pytest.approx(1, abs=1e-4)
    assert [one["similarity"] for one in near] == sorted((one["similarity"] for one in near), reverse=True)
    alike = found(near[0]["item_id"])
    assert [one["item_id"] for one in alike] == [one["item_id"] for one in near[1:]]
    assert len(found(near[0]["item_id"], "--top-k", 2)) == 2
    assert found(pictures[2], "--embedder", embedder, "--filter", "brand:x") == []
    table = run("search", "drinks", pictures[2], "--embedder", embedder).stdout
    assert "milk" in table
    assert "1.000" in table
    store = GalleryStore(LocalStore(tmp_path / "data" / "objects"))
    store.remove("drinks", [near[0]["item_id"]])
    answer = run("search", "drinks", near[0]["item_id"])
    assert (answer.exit_code, "item_not_found" in answer.stderr) == (1, True)
    assert len(found(near[0]["item_id"], "--version", 2)) == 3


def test_what_cannot_be_searched_for_is_refused(pictures: list[Path], tmp_path: Path) -> None:
    assert run("search", "drinks", tmp_path / "none.png").exit_code == 2
    assert run("search", "drinks", "itm_0").exit_code == 2
    other = run("search", "drinks", pictures[0])  # the bundled embedder made another one
    assert (other.exit_code, "embedder_mismatch" in other.stderr) == (1, True)
    assert run("search", "drinks", "itm_" + "0" * 24, "--embedder", "x").exit_code == 2
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert run("search", "none", tmp_path / "broken.png").exit_code == 1
