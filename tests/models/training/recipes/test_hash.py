"""Recipes of DeepHash: numbers that can't work are reported before anything is rendered."""

from pathlib import Path

import pytest

from models.training.recipes.hash import HashRecipe
from models.training.recipes.reading import RECIPES_DIR, RecipeError, load_recipe

GOOD = """
name = "x"
network = { bits = 48 }
loss = { kind = "dshsd" }
[[data]]
kind = "rendered"
name = "synthetic"
products = 3
[[stages]]
steps = 5
size_px = 32
"""


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES_DIR.glob("hash-*.toml")))
def test_bundled_recipes_read(name: str) -> None:
    assert load_recipe(name, HashRecipe).steps > 0


@pytest.mark.parametrize(
    ("old", "new", "report"),
    [
        ("bits = 48", "bits = 44", "network.bits: must be a multiple of 8, not 44"),
        ("bits = 48", "bits = 0", "network.bits: must be 8 or more, not 0"),
        ("bits = 48", "bits = 48, augmented_views = 0", "network.augmented_views: must be 1 or more, not 0"),
        ("bits = 48", "bits = 48, embedder.width = 0", "network.embedder.width: must be above 0, not 0"),
        ("bits = 48", "bits = 48, embedder.depths = [2]", "network.embedder.depths: has too few entries: [2]"),
        ('"dshsd"', '"dshsd", alpha = -1', "loss.alpha: must be 0 or more, not -1"),
        ('"dshsd"', '"dch", dch_gamma = 0', "loss.dch_gamma: must be above 0, not 0"),
        ('"dshsd"', '"dshsd", weight = 0', "loss.weight: must be above 0, not 0"),
        ("name =", "optimizer.learning_rate = -1.0\nname =", "optimizer.learning_rate: must be above 0, not -1.0"),
        (
            "name =",
            "views_per_class = 97\nname =",
            "stages: a 'batch' of 96 has no room for a class of 97 ('views_per_class')",
        ),
        ("name =", "pool_px = 0\nname =", "pool_px: must be 32 or more, not 0"),
        ("name =", "deploy_px = 8\nname =", "deploy_px: must be 32 or more, not 8"),
        ("name =", "evaluate_every = 0\nname =", "evaluate_every: must be 1 or more, not 0"),
        ("size_px = 32", "size_px = 0", "stages[0].size_px: must be 32 or more, not 0"),
        (
            "name =",
            "deploy_px = 72\nnetwork.embedder.colours = true\nname =",
            "network: with 'colours', 'size_px' and 'deploy_px' are multiples of 16, not 72",
        ),
    ],
)
def test_numbers_that_cannot_work_are_reported(tmp_path: Path, old: str, new: str, report: str) -> None:
    text = GOOD.replace(old, new, 1)
    if "network.embedder" in new:
        text = text.replace("network = { bits = 48 }", "network.bits = 48")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as error:
        load_recipe(str(tmp_path / "mine.toml"), HashRecipe)
    assert error.value.detail.startswith(f"mine.toml: {report}")
