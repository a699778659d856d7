"""Recipes of metric learning: the bundled ones read, and what does not fit together is reported before anything is rendered."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.training.networks.metric import MetricEmbedder
from models.training.recipes.metric import MetricRecipe
from models.training.recipes.pictures import Stage
from models.training.recipes.reading import RECIPES_DIR, RecipeError, load_recipe
from tests.models.nets.checks import digest, official_digest

GOOD = """
name = "x"
backbone = { kind = "lcnetv2" }
head = { kind = "fc" }
loss.ce = { weight = 1.0 }
[[data]]
kind = "rendered"
name = "synthetic"
products = 3
[[stages]]
steps = 5
size_px = 32
"""
BUNDLED = ("metric-tiny", "metric-small", "ppshituv1-general", "ppshituv2-general", "sop-resnet50")


def read(tmp_path: Path, text: str) -> MetricRecipe:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(str(path), MetricRecipe)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_recipes_read(name: str) -> None:
    recipe = load_recipe(name, MetricRecipe)
    assert recipe.steps > 0
    assert (RECIPES_DIR / f"{name}.toml").read_text(encoding="utf-8").startswith("# ")


def test_ppshituv2_is_the_documented_one() -> None:
    recipe = load_recipe("ppshituv2-general", MetricRecipe)
    backbone, loss, optimizer = recipe.backbone, recipe.loss, recipe.optimizer
    assert (backbone.kind, backbone.width, backbone.depths) == ("lcnetv2", 1.0, (2, 2, 6, 2))
    assert (backbone.class_expand, backbone.shitu_last_stage, recipe.stop_layer.name) == (512, True, "flatten")
    assert (recipe.neck.kind, recipe.head.kind) == ("bnneck", "fc")
    assert (loss.ce.weight, loss.ce.smoothing) == (1.0, 0.1)
    angular = loss.triplet_angular_margin
    assert (angular.weight, angular.margin, angular.ap_value, angular.an_value) == (1.0, 0.5, 0.8, 0.4)
    assert (angular.absolute_weight, angular.on) == (0.1, "features")
    assert (optimizer.kind, optimizer.learning_rate, optimizer.weight_decay) == ("momentum", 0.06, 1e-5)
    assert (recipe.augment.kind, recipe.augment.rotation_probability, recipe.augment.rotation_deg) == (
        "pad_crop",
        0.5,
        90.0,
    )
    assert (recipe.sampler.kind, recipe.sampler.views_per_class, recipe.deploy_px) == ("class", 4, 224)
    # A class of VeRI-Wild or Inshop is sampled four times as often as any other.
    weights = {source.name: source.sampling_weight for source in recipe.data}
    classes = {"Aliproduct": 50030, "VeRI-Wild": 30671, "Inshop": 3997, "GLDv2": 81313}
    often = {name: weights[name] / count for name, count in classes.items()}
    assert often["VeRI-Wild"] == often["Inshop"] == pytest.approx(4 * often["Aliproduct"])
    assert often["GLDv2"] == often["Aliproduct"]
    assert len(recipe.data) == 17
    epoch = 5_562_000
    assert recipe.steps * recipe.stages[0].batch == pytest.approx(100 * epoch, rel=0.01)
    assert optimizer.warmup_steps == pytest.approx(0.05 * recipe.steps, rel=0.01)


def test_ppshituv1_is_the_documented_one() -> None:
    recipe = load_recipe("ppshituv1-general", MetricRecipe)
    assert (recipe.backbone.kind, recipe.backbone.width, recipe.stop_layer.name) == ("lcnet", 2.5, "flatten")
    assert (recipe.neck.kind, recipe.neck.size) == ("fc", 512)
    assert (recipe.head.kind, recipe.head.margin, recipe.head.scale) == ("arcmargin", 0.2, 30.0)
    assert recipe.loss.ce.weight == 1.0
    assert not recipe.loss.compares_pictures
    assert (recipe.optimizer.learning_rate, recipe.optimizer.weight_decay) == (0.04, 1e-5)
    assert (recipe.augment.kind, recipe.sampler.kind, recipe.stages[0].batch) == ("resized_crop", "shuffle", 256)


@pytest.mark.parametrize(
    ("name", "official"), [("ppshituv2-general", "EmbedderV2"), ("ppshituv1-general", "EmbedderV1")]
)
def test_the_general_recipes_build_the_official_networks(name: str, official: str) -> None:
    assert digest(MetricEmbedder(load_recipe(name, MetricRecipe))) == official_digest(official)


@pytest.mark.parametrize(
    ("change", "report"),
    [
        (("weight = 1.0", "smoothing = 0.1"), "mine.toml: loss.ce.weight: is missing"),
        (("loss.ce", "loss.arcface"), "mine.toml: loss.arcface: is an unknown key; did you mean 'pairwise_cosface'?"),
        (("weight = 1.0", "weight = 0.0"), "mine.toml: loss.ce: no loss has a 'weight' above 0"),
        (
            ('"lcnetv2"', '"vgg"'),
            "mine.toml: backbone.kind: must be one of 'lcnet', 'lcnetv2', 'resnet50_vd', not 'vgg'",
        ),
        (
            ("backbone =", "stop_layer = { layer = 'x' }\nbackbone ="),
            "mine.toml: stop_layer.layer: is an unknown key; known: name",
        ),
        (
            ("backbone =", "neck = { kind = 'mlp' }\nbackbone ="),
            "mine.toml: neck.kind: must be one of 'none', 'fc', 'bnneck', not 'mlp'",
        ),
        (('head = { kind = "fc" }', ""), "mine.toml: loss: 'ce' is over logits; it needs a 'head'"),
        (("loss.ce = {", "loss.triplet = {"), "mine.toml: loss: the head learns nothing without 'ce'"),
        (
            ('kind = "fc"', 'kind = "arcmargin"'),
            "mine.toml: head.kind: 'arcmargin' needs a 'margin', and a 'scale' above 0",
        ),
        (('kind = "fc"', 'kind = "fc", margin = 0.1'), "mine.toml: head.kind: 'fc' has no margin and no scale"),
        (
            ("loss.ce", "loss.triplet = { weight = 1.0, on = 'head' }\nloss.ce"),
            "mine.toml: loss.triplet.on: must be one of 'features', 'backbone', not 'head'",
        ),
        (
            ("loss.ce", "loss.supcon = { weight = 1.0 }\nsampler.views_per_class = 1\nloss.ce"),
            "mine.toml: sampler: a loss over pairs needs a sampler with 2 or more 'views_per_class'",
        ),
        (
            ("backbone =", "pool_px = 0\nbackbone ="),
            "mine.toml: pool_px: without a pool (0) there are only list sources, and no 'precise_bn_images'",
        ),
        (("steps = 5", "steps = 0"), "mine.toml: stages[0].steps: must be 1 or more, not 0"),
        (
            ("backbone =", "select_by = ['e']\nbackbone ="),
            "mine.toml: select_by: names no eval set of this recipe: 'e'",
        ),
        (
            ("backbone =", "augment = { kind = 'x' }\nbackbone ="),
            "mine.toml: augment.kind: must be one of 'shelf', 'flip', 'pad_crop', 'resized_crop', not 'x'",
        ),
        (
            ("backbone =", "optimizer = { kind = 'x' }\nbackbone ="),
            "mine.toml: optimizer.kind: must be one of 'momentum', 'adamw', not 'x'",
        ),
    ],
)
def test_what_does_not_fit_is_reported(tmp_path: Path, change: tuple[str, str], report: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(RecipeError) as error:
        read(tmp_path, GOOD.replace(*change))
    assert error.value.detail.startswith(report)


@pytest.mark.parametrize(
    ("line", "report"),
    [
        ("backbone = { kind = 'lcnetv2', depths = [1, 1] }", "backbone.depths: has too few entries: [1, 1]"),
        ("backbone = { kind = 'lcnetv2', depths = [1, 1, 1, 0] }", "backbone.depths[3]: must be 1 or more, not 0"),
        ("backbone = { kind = 'lcnet', width = -1.0 }", "backbone.width: must be above 0, not -1.0"),
        ("backbone = { kind = 'lcnet', class_expand = 0 }", "backbone.class_expand: must be 1 or more, not 0"),
        ("backbone = { kind = 'lcnet', dropout = 1.0 }", "backbone.dropout: must be below 1, not 1.0"),
        ("neck = { kind = 'fc', size = 0 }", "neck.size: must be 1 or more, not 0"),
        ("head = { kind = 'arcmargin', margin = -0.1, scale = 9 }", "head.margin: must be 0 or more, not -0.1"),
        ("head = { kind = 'arcmargin', margin = 0.1, scale = -9 }", "head.scale: must be 0 or more, not -9"),
        ("loss.ce = { weight = -1.0 }", "loss.ce.weight: must be 0 or more, not -1.0"),
        ("loss.ce = { weight = 1.0, smoothing = 1 }", "loss.ce.smoothing: must be below 1, not 1"),
        ("loss.supcon = { weight = 1, temperature = 0 }", "loss.supcon.temperature: must be above 0, not 0"),
        (
            "loss.triplet_angular_margin = { weight = 1, ap_value = 2 }",
            "loss.triplet_angular_margin.ap_value: must be 1 or less, not 2",
        ),
        (
            "loss.contrastive = { weight = 1, memory_size = -1 }",
            "loss.contrastive.memory_size: must be 0 or more, not -1",
        ),
        ("loss.pairwise_cosface = { weight = 1, gamma = 0 }", "loss.pairwise_cosface.gamma: must be above 0, not 0"),
        ("loss.center = { weight = 1, rate = 3 }", "loss.center.rate: must be 1 or less, not 3"),
        ("augment.rotation_probability = 1.5", "augment.rotation_probability: must be 1 or less, not 1.5"),
        ("augment.rotation_deg = 270", "augment.rotation_deg: must be 180 or less, not 270"),
        ("sampler.views_per_class = 0", "sampler.views_per_class: must be 1 or more, not 0"),
        ("sampler.views_per_class = 97", "stages: a 'batch' of 96 has no room for a class of 97 ('views_per_class')"),
        ("optimizer.learning_rate = -1.0", "optimizer.learning_rate: must be above 0, not -1.0"),
        ("optimizer.ema_decay = 1.0", "optimizer.ema_decay: must be below 1, not 1.0"),
        ("pool_px = 8", "pool_px: must be 0, or 32 or more, not 8"),
        ("deploy_px = 0", "deploy_px: must be 32 or more, not 0"),
        ("precise_bn_images = -1", "precise_bn_images: must be 0 or more, not -1"),
        ("evaluate_every = 0", "evaluate_every: must be 1 or more, not 0"),
    ],
)
def test_numbers_that_cannot_work_are_reported(tmp_path: Path, line: str, report: str) -> None:
    same = [old for old in GOOD.splitlines() if old.partition(" =")[0] == line.partition(" =")[0]]
    text = GOOD.replace(same[0], line) if same else line + GOOD
    with pytest.raises(RecipeError) as error:
        read(tmp_path, text)
    assert error.value.detail.startswith(f"mine.toml: {report}")


def test_shuffled_batches_may_be_smaller_than_a_class(tmp_path: Path) -> None:
    small = GOOD.replace("size_px = 32", "size_px = 32\nbatch = 2")
    assert read(tmp_path, "sampler.kind = 'shuffle'" + small).stages[0].batch == 2
    with pytest.raises(RecipeError, match="no room for a class of 4"):
        read(tmp_path, small)


def test_pictures_are_counted_over_stages(tmp_path: Path) -> None:
    recipe = replace(read(tmp_path, GOOD), stages=(Stage(3, 32, 10), Stage(2, 48, 20)))
    assert [recipe.pictures_before(step) for step in range(6)] == [0, 10, 20, 30, 50, 70]
    assert [recipe.stage_at(step).size_px for step in range(6)] == [32, 32, 32, 48, 48, 48]
    assert recipe.steps == 5


def test_which_losses_are_over_pairs(tmp_path: Path) -> None:
    def over_pairs(text: str) -> bool:
        return read(tmp_path, GOOD.replace("loss.ce", text + "\nloss.ce")).loss.compares_pictures

    assert not over_pairs("")
    assert not over_pairs("loss.center = { weight = 0.1 }")
    for name in ("triplet", "triplet_angular_margin", "supcon", "contrastive", "pairwise_cosface"):
        assert over_pairs(f"loss.{name} = {{ weight = 0.1 }}")
