"""Classifiers' recipes: numbers that can't work are reported before a picture is rendered."""

import re
from pathlib import Path

import pytest

from models.training.recipes.classifier import ClassifierRecipe
from models.training.recipes.reading import RecipeError, load_recipe

GOOD = """
name = "x"
network = "PPLCNet_x0_25"
epochs = 2
[[data]]
kind = "rendered"
name = "synthetic"
products = 3
[sampler]
batch = 4
[augment]
flip = 0.5
[optimizer]
kind = "adamw"
"""


def read(folder: Path, text: str) -> ClassifierRecipe:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(str(path), ClassifierRecipe)


@pytest.mark.parametrize(
    ("old", "new", "report"),
    [
        ("epochs = 2", "epochs = 0", "epochs: must be 1 or more, not 0"),
        ("epochs = 2", "epochs = 2\nevaluate_every = 0", "evaluate_every: must be 1 or more, not 0"),
        ("epochs = 2", "epochs = 2\nclass_num = -1", "class_num: must be 0 or more, not -1"),
        ("epochs = 2", "epochs = 2\nsmoothing = 1.0", "smoothing: must be below 1, not 1.0"),
        ("epochs = 2", "epochs = 2\nseed = -1", "seed: must be 0 or more, not -1"),
        ("epochs = 2", "epochs = 2\ndeploy_px = 0", "deploy_px: must be 32 or more, not 0"),
        ("products = 3", "products = 0", "data[0].kind: 'rendered' needs 'products'"),
        ("products = 3", "products = 3\nviews = 0", "data[0].views: must be 1 or more, not 0"),
        ("products = 3", "products = 3\nseed_step = 0", "data[0].seed_step: must be 1 or more, not 0"),
        ("products = 3", "products = 3\nskip_views = -1", "data[0].skip_views: must be 0 or more, not -1"),
        ("products = 3", "products = 3\nrendered_px = 0", "data[0].rendered_px: must be 32 or more, not 0"),
        ("batch = 4", "batch = 0", "sampler.batch: must be 1 or more, not 0"),
        ("batch = 4", "scales = [0]", "sampler.scales[0]: must be 32 or more, not 0"),
        ("batch = 4", "scales = []", "sampler.scales: needs sizes of 32 pixels ('divisor') or more"),
        ("batch = 4", "divisor = 0", "sampler.divisor: must be 1 or more, not 0"),
        ("flip = 0.5", "flip = 1.5", "augment.flip: must be 1 or less, not 1.5"),
        ("flip = 0.5", "area = [0.0, 1.0]", "augment.area[0]: must be above 0, not 0.0"),
        ("flip = 0.5", "area = [0.5, 1.5]", "augment.area[1]: must be 1 or less, not 1.5"),
        ("flip = 0.5", "area = [0.5]", "augment.area: has too few entries: [0.5]"),
        ("flip = 0.5", "aspect = [2.0, 1.0]", "augment.aspect: must have the lower number first, not [2.0, 1.0]"),
        ("flip = 0.5", "mixup_alpha = -1", "augment.mixup_alpha: must be 0 or more, not -1"),
        ('kind = "adamw"', "learning_rate = 0", "optimizer.learning_rate: must be above 0, not 0"),
        ('kind = "adamw"', "weight_decay = -1", "optimizer.weight_decay: must be 0 or more, not -1"),
        ('kind = "adamw"', "warmup_epochs = -1", "optimizer.warmup_epochs: must be 0 or more, not -1"),
        ('kind = "adamw"', "ema_decay = 1.0", "optimizer.ema_decay: must be below 1, not 1.0"),
    ],
)
def test_numbers_that_cannot_work_are_reported(tmp_path: Path, old: str, new: str, report: str) -> None:
    assert read(tmp_path, GOOD).epochs == 2
    assert old in GOOD
    with pytest.raises(RecipeError, match=re.escape(report)):
        read(tmp_path, GOOD.replace(old, new, 1))
