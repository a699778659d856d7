"""Recipes: the bundled ones read, and whatever is wrong with one is said in a line that names the key."""

import json
from pathlib import Path

import pytest

from models.training.recipes.embedder import EmbedderRecipe
from models.training.recipes.reading import RECIPES_DIR, RecipeError, as_table, load_recipe

GOOD = """
name = "x"
[[data]]
kind = "rendered"
name = "synthetic"
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
    assert recipe.data[0].sampling_weight == 1.0


@pytest.mark.parametrize(
    ("more", "report"),
    [
        ("[loss]\nmargn = 0.1", "mine.toml: loss.margn: is an unknown key; did you mean 'margin'?"),
        (
            '[[eval]]\nkind = "rendered"\nname = "e"\nproduct = 2',
            "mine.toml: eval[0].product: is an unknown key; did you mean 'products'?",
        ),
        ('[[stages]]\nsteps = "5"\nsize_px = 32', "mine.toml: stages[1].steps: must be a whole number, not '5'"),
        ("[[stages]]\nsteps = true\nsize_px = 32", "mine.toml: stages[1].steps: must be a whole number, not true"),
        ("[[stages]]\nsteps = 1.5\nsize_px = 32", "mine.toml: stages[1].steps: must be a whole number, not 1.5"),
        ("[[stages]]\nsteps = 5", "mine.toml: stages[1].size_px: is missing"),
        ("[[stages]]\nsteps = 0\nsize_px = 32", "mine.toml: stages[1].steps: must be 1 or more, not 0"),
        ("[network]\nwidth = true", "mine.toml: network.width: must be a number, not true"),
        ("[network]\ndepths = 2", "mine.toml: network.depths: must be a list, not 2"),
        ('[network]\ndepths = [2, "3", 2, 2]', "mine.toml: network.depths[1]: must be a whole number, not '3'"),
        (
            '[network]\nkind = "v3"',
            "mine.toml: network.kind: must be one of 'v1', 'v2', 'lite0', 'lite1', 'lite2', not 'v3'",
        ),
        (
            '[[data]]\nkind = "photos"\nname = "p"',
            "mine.toml: data[1].kind: must be one of 'rendered', 'list', not 'photos'",
        ),
        (
            '[[eval]]\nkind = "x"\nname = "e"',
            "mine.toml: eval[0].kind: must be one of 'rendered', 'held_out', 'lists', not 'x'",
        ),
        ("[name]\nx = 1", "mine.toml"),
    ],
)
def test_what_is_wrong_is_reported_by_its_key(tmp_path: Path, more: str, report: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(written(tmp_path, GOOD + more), EmbedderRecipe)
    assert error.value.detail.startswith(report)
    assert "\n" not in error.value.detail
    assert error.value.code == "recipe_invalid"


@pytest.mark.parametrize(
    ("change", "report"),
    [
        (("steps = 5", "steps = 0"), "stages[0].steps: must be 1 or more, not 0"),
        (("size_px = 32", "size_px = 0"), "stages[0].size_px: must be 32 or more, not 0"),
        (("size_px = 32", "size_px = 32\nbatch = 0"), "stages[0].batch: must be 1 or more, not 0"),
        (
            ("size_px = 32", "size_px = 32\nbatch = 1"),
            "stages: a 'batch' of 1 has no room for a class of 2 ('views_per_class')",
        ),
        (("products = 3", "products = 0"), "data[0].kind: 'rendered' needs 'products'"),
        (("products = 3", "products = -3"), "data[0].products: must be 0 or more, not -3"),
        (("products = 3", "products = 3\nviews = 0"), "data[0].views: must be 1 or more, not 0"),
        (("products = 3", "products = 3\ncrops = 0"), "data[0].crops: must be 1 or more, not 0"),
        (("products = 3", "products = 3\nfirst_seed = -1"), "data[0].first_seed: must be 0 or more, not -1"),
        (
            ("products = 3", "products = 3\nsampling_weight = -0.5"),
            "data[0].sampling_weight: must be 0 or more, not -0.5",
        ),
        (
            ("products = 3", "products = 3\nsampling_weight = 0"),
            "data: every 'sampling_weight' is 0, so no picture would be sampled",
        ),
        (("name = ", "seed = -1\nname = "), "seed: must be 0 or more, not -1"),
        (("name = ", "views_per_class = 0\nname = "), "views_per_class: must be 1 or more, not 0"),
        (("name = ", "pool_px = 8\nname = "), "pool_px: must be 32 or more, not 8"),
        (("name = ", "deploy_px = -128\nname = "), "deploy_px: must be 32 or more, not -128"),
        (("name = ", "evaluate_every = 0\nname = "), "evaluate_every: must be 1 or more, not 0"),
        (("name = ", "network.width = -1\nname = "), "network.width: must be above 0, not -1"),
        (("name = ", "network.width = nan\nname = "), "network.width: must be a finite number, not nan"),
        (("name = ", "network.depths = [1, 1]\nname = "), "network.depths: has too few entries: [1, 1]"),
        (("name = ", "network.depths = [1, 0, 1, 1]\nname = "), "network.depths[1]: must be 1 or more, not 0"),
        (("name = ", "network.dropout = 1\nname = "), "network.dropout: must be below 1, not 1"),
        (("name = ", "network.embedding_size = 0\nname = "), "network.embedding_size: must be 1 or more, not 0"),
        (
            ("name = ", "network.colours = true\ndeploy_px = 100\nname = "),
            "network: with 'colours', 'size_px' and 'deploy_px' are multiples of 16, not 100",
        ),
        (("name = ", "loss.scale = 0\nname = "), "loss.scale: must be above 0, not 0"),
        (("name = ", "loss.triplet_from = 2\nname = "), "loss.triplet_from: must be 1 or less, not 2"),
        (("name = ", "optimizer.learning_rate = -1.0\nname = "), "optimizer.learning_rate: must be above 0, not -1.0"),
        (
            ("name = ", "optimizer.learning_rate = inf\nname = "),
            "optimizer.learning_rate: must be a finite number, not inf",
        ),
        (("name = ", "optimizer.weight_decay = -1\nname = "), "optimizer.weight_decay: must be 0 or more, not -1"),
        (("name = ", "optimizer.ema_decay = 1\nname = "), "optimizer.ema_decay: must be below 1, not 1"),
        (("name = ", "optimizer.warmup_steps = -1\nname = "), "optimizer.warmup_steps: must be 0 or more, not -1"),
        (
            ("name = ", "teacher.layout = 'HWCN'\nname = "),
            "teacher.layout: must be one of 'NHWC', 'NCHW', not 'HWCN'; did you mean 'NHWC'?",
        ),
        (
            ("[[stages]]", "[[eval]]\nkind = 'rendered'\nname = 'e'\n[[stages]]"),
            "eval[0].kind: 'rendered' needs 'products'",
        ),
    ],
)
def test_numbers_that_cannot_work_are_reported(tmp_path: Path, change: tuple[str, str], report: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(written(tmp_path, GOOD.replace(change[0], change[1], 1)), EmbedderRecipe)
    assert error.value.detail.startswith(f"mine.toml: {report}")
    assert "\n" not in error.value.detail


@pytest.mark.parametrize(
    ("first", "report"),
    [
        ("sed = 3", "mine.toml: sed: is an unknown key; did you mean 'seed'?"),
        ("loss = 3", "mine.toml: loss: must be a table, not 3"),
        ("eval = [3]", "mine.toml: eval[0]: must be a table, not 3"),
        ('select_by = ["nothing"]', "mine.toml: select_by: names no eval set of this recipe: 'nothing'"),
        ("seed = ", "mine.toml: "),
    ],
)
def test_top_level_keys_are_held_to_too(tmp_path: Path, first: str, report: str) -> None:
    with pytest.raises(RecipeError) as error:
        load_recipe(written(tmp_path, f"{first}\n{GOOD}"), EmbedderRecipe)
    assert error.value.detail.startswith(report)


def test_all_mistakes_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    text = """
name = "x"
sed = 3
select_by = ["nothing"]
loss = { scale = 0, margin = "wide" }
network = { kind = "v1", colours = true }
[[data]]
kind = "rendered"
[[stages]]
steps = 5
size_px = 32
[[stages]]
steps = 0
size_px = 32
batch = "many"
"""
    with pytest.raises(RecipeError) as error:
        load_recipe(written(tmp_path, text), EmbedderRecipe)
    first, *lines = error.value.detail.split("\n")
    assert first == f"mine.toml: {len(lines)} mistakes:"
    assert sorted(line.strip() for line in lines) == [
        "data[0].kind: 'rendered' needs 'products'",
        "data[0].name: is missing",
        "loss.margin: must be a number, not 'wide'",
        "loss.scale: must be above 0, not 0",
        "network.kind: 'colours' and 'whitened' go with the kind v2, not 'v1'",
        "sed: is an unknown key; did you mean 'seed'?",
        "select_by: names no eval set of this recipe: 'nothing'",
        "stages[1].batch: must be a whole number, not 'many'",
        "stages[1].steps: must be 1 or more, not 0",
    ]


@pytest.mark.parametrize("key", ["name", "data", "stages"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    table = {
        "name": 'name = "x"',
        "data": '[[data]]\nkind = "rendered"\nname = "d"\nproducts = 1',
        "stages": "[[stages]]\nsteps = 1\nsize_px = 32",
    }
    rest = "\n".join(text for name, text in table.items() if name != key)
    with pytest.raises(RecipeError, match=f"mine.toml: {key}: is missing"):
        load_recipe(written(tmp_path, rest), EmbedderRecipe)


def test_a_missing_recipe_is_answered_with_the_bundled_ones(tmp_path: Path) -> None:
    for name in ("embedder-xxl", str(tmp_path / "none.toml")):
        with pytest.raises(RecipeError, match=r"no recipe .*embedder-s.*embedder-tiny"):
            load_recipe(name, EmbedderRecipe)


def test_a_recipe_that_is_no_text_is_reported(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecipeError, match=r"mine\.toml"):
        load_recipe(str(tmp_path / "mine.toml"), EmbedderRecipe)


def test_each_step_falls_in_its_stage(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, GOOD + "[[stages]]\nsteps = 2\nsize_px = 48\n"), EmbedderRecipe)
    assert recipe.steps == 7
    assert [recipe.stage_at(step).size_px for step in range(9)] == [32] * 5 + [48] * 4


LIST = '[[data]]\nkind = "list"\nname = "{}"\nfile = "{}.tsv"\n'


@pytest.mark.parametrize(
    ("more", "report"),
    [
        ([("a", ""), ("a", "")], "data: two sources have the name 'a'"),
        ([("synthetic", "")], "data: two sources have the name 'synthetic'"),
        ([("a", ""), ("b", "a"), ("c", "b")], "data: 'same_labels_as' of 'c' must name 'a', whose labels 'b' has"),
        ([("a", "b"), ("b", "a")], "data: 'same_labels_as' names no list before 'a': 'b'"),
    ],
)
def test_sources_of_one_name_and_chains_of_labels_are_refused(
    tmp_path: Path, more: list[tuple[str, str]], report: str
) -> None:
    lists = [LIST.format(name, name) + (f'same_labels_as = "{other}"\n' if other else "") for name, other in more]
    with pytest.raises(RecipeError) as error:
        load_recipe(written(tmp_path, GOOD + "".join(lists)), EmbedderRecipe)
    assert error.value.detail == f"mine.toml: {report}"


def test_several_lists_share_the_labels_of_one(tmp_path: Path) -> None:
    lists = [LIST.format(name, name) for name in ("a", "b", "c")]
    shared = 'same_labels_as = "a"\n'
    recipe = load_recipe(written(tmp_path, GOOD + lists[0] + lists[1] + shared + lists[2] + shared), EmbedderRecipe)
    assert [source.same_labels_as for source in recipe.data] == ["", "", "a", "a"]
