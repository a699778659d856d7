"""`shitu gallery add --skip-near-duplicates`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from infra.galleries.store import GalleryStore
from infra.objects.local import LocalStore
from shitu.cli.main import main
from tests.models.programs import artifact


def test_a_copy_under_its_label_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = artifact(tmp_path / "embedder", "embed", paddle_too=False)
    monkeypatch.setenv("SHITU_DATA_DIR", str(tmp_path / "data"))
    for number, label in enumerate(["cola", "tea"]):
        (tmp_path / "shop" / label).mkdir(parents=True)
        pixels = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        photo = Image.fromarray(pixels).resize((96, 96), Image.Resampling.NEAREST)
        photo.save(tmp_path / "shop" / label / "a.png")
        photo.save(tmp_path / "shop" / label / "b.png", compress_level=1)  # other bytes, the same pixels
    add = ["gallery", "add", str(tmp_path / "shop"), "--gallery", "drinks", "--embedder", str(embedder)]
    answer = CliRunner().invoke(main, [*add, "--skip-near-duplicates"])
    assert answer.exit_code == 0, answer.output
    assert "2 are nearly pictures of their label, and left out" in answer.stdout
    store = GalleryStore(LocalStore(tmp_path / "data" / "objects"))
    assert sorted(item.label for item in store.items("drinks")) == ["cola", "tea"]
    assert CliRunner().invoke(main, add).exit_code == 0
    assert len(store.items("drinks")) == 4
