"""Recipes: the bundled ones read, and whatever is wrong with one is said in a line that names the key."""

import json
from pathlib import Path

import pytest

from models.training.recipe import RECIPES_DIR, EmbedderRecipe, RecipeError, as_table, load_recipe

GOOD = """
name = "x"
[[data]]
kind = "rendered"
name = "drawn"
products = 3
[[stages]]
steps = 5
size_px = 32
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES_DIR.glob("embedder-*.toml")))
def test_bundled_recipes_read_by_name_and_by_path(name: str) -> None:
    recipe = load_recipe(name, EmbedderRecipe)
    assert recipe.steps == sum(stage.steps for stage in recipe.stages) > 0
    assert load_recipe(str(RECIPES_DIR / f"{name}.toml"), EmbedderRecipe) == recipe
    table = json.loads(json.dumps(as_table(recipe)))
    assert table["name"] == recipe.name
    assert table["network"]["width"] == recipe.network.width


def test_what_is_not_said_takes_its_default_and_whole_numbers_do_for_fractions(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, GOOD + "[loss]\nmargin = 1\n"), EmbedderRecipe)
    assert recipe.loss.margin == 1.0
    assert isinstance(recipe.loss.margin, float)
    assert recipe.loss.scale == 24.0
    assert recipe.seed == 1
    assert recipe.data[0].share == 1.0


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("[loss]\nmargn = 0.1", "mine.toml: loss: unknown key 'margn'"),
        ('[[exams]]\nkind = "rendered"\nname = "e"\nproduct = 2', "mine.toml: exams[0]: unknown key 'product'"),
        ('[[stages]]\nsteps = "5"\nsize_px = 3', "mine.toml: stages[1]: steps: expected int, got '5'"),
        ("[[stages]]\nsteps = true\nsize_px = 3", "mine.toml: stages[1]: steps: expected int, got True"),
        ("[[stages]]\nsteps = 1.5\nsize_px = 3", "mine.toml: stages[1]: steps: expected int, got 1.5"),
        ("[[stages]]\nsteps = 5", "mine.toml: stages[1]: the key 'size_px' is missing"),
        ("[[stages]]\nsteps = 0\nsize_px = 3", "mine.toml: 'stages' needs a stage, each of a step or more"),
        ("[network]\nwidth = true", "mine.toml: network: width: expected float, got True"),
        ("[network]\ndepths = 2", "mine.toml: network: depths: expected a list, got 2"),
        ('[network]\ndepths = [2, "3"]', "mine.toml: network: depths[1]: expected int, got '3'"),
        ('[network]\nkind = "v3"', "mine.toml: network: 'kind' must be one of v1, v2, not 'v3'"),
        ('[[data]]\nkind = "photos"\nname = "p"', "mine.toml: data[1]: 'kind' must be one of rendered, list"),
        ('[[exams]]\nkind = "x"\nname = "e"', "mine.toml: exams[0]: 'kind' must be one of rendered, held_out, lists"),
        ("[name]\nx = 1", "mine.toml"),
    ],
)
def test_what_is_wrong_is_told_by_its_key(tmp_path: Path, more: str, told: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(written(tmp_path, GOOD + more), EmbedderRecipe)
    assert error.value.detail.startswith(told)
    assert "\n" not in error.value.detail
    assert error.value.code == "recipe_invalid"


@pytest.mark.parametrize(
    ("first", "told"),
    [
        ("sed = 3", "mine.toml: unknown key 'sed'"),
        ("loss = 3", "mine.toml: loss: expected a table, got 3"),
        ("exams = [3]", "mine.toml: exams[0]: expected a table, got 3"),
        ('select_by = ["nothing"]', "mine.toml: 'select_by' names no exam of this recipe: 'nothing'"),
        ("seed = ", "mine.toml: "),
    ],
)
def test_top_level_keys_are_held_to_too(tmp_path: Path, first: str, told: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(written(tmp_path, f"{first}\n{GOOD}"), EmbedderRecipe)
    assert error.value.detail.startswith(told)


@pytest.mark.parametrize("key", ["name", "data", "stages"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    table = {
        "name": 'name = "x"',
        "data": '[[data]]\nkind = "rendered"\nname = "d"',
        "stages": "[[stages]]\nsteps = 1\nsize_px = 32",
    }
    rest = "\n".join(text for name, text in table.items() if name != key)
    with pytest.raises(RecipeError, match=f"mine.toml: the key '{key}' is missing"):
        load_recipe(written(tmp_path, rest), EmbedderRecipe)


def test_a_missing_recipe_is_answered_with_the_bundled_ones(tmp_path: Path) -> None:
    for name in ("embedder-xxl", str(tmp_path / "none.toml")):
        with pytest.raises(RecipeError, match=r"no recipe .*embedder-s.*embedder-tiny"):
            load_recipe(name, EmbedderRecipe)


def test_a_recipe_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"mine\.toml"):
        load_recipe(str(tmp_path / "mine.toml"), EmbedderRecipe)


def test_each_step_falls_in_its_stage(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, GOOD + "[[stages]]\nsteps = 2\nsize_px = 48\n"), EmbedderRecipe)
    assert recipe.steps == 7
    assert [recipe.stage_at(step).size_px for step in range(9)] == [32] * 5 + [48] * 4
