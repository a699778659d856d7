"""What the commands' tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def quick(tmp_path: Path) -> Path:
    """The tiny recipe with a small eval set, as a file of the user's own."""
    from models.training.recipes.reading import RECIPES_DIR

    text = (RECIPES_DIR / "embedder-tiny.toml").read_text(encoding="utf-8")
    assert "products = 12" in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("products = 12", "products = 3"), encoding="utf-8")
    return path
