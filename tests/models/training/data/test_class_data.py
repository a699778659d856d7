"""Classes are numbered alike in training and eval sets, and whatever is wrong with the data is reported at once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.training.data.class_data import gather
from models.training.data.photos import DatasetError
from models.training.recipes.classifier import ClassifierRecipe, ClassSampler, ClassSource
from models.training.recipes.reading import RecipeError, load_recipe
from tests.models.training.data.readers.pictures import cut_short


def quiet(*_: object) -> None:
    """Hears nothing."""


def recipe(*data: ClassSource, **keys: object) -> ClassifierRecipe:
    return ClassifierRecipe("r", "PPLCNet_x0_25", data, epochs=1, **keys)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """train/ of three labels with two pictures each, their list and an eval set's."""
    for label, shade in (("tea", 10), ("cola", 120), ("milk", 240)):
        (tmp_path / "train" / label).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((9, 12, 3), shade + i, np.uint8)).save(tmp_path / "train" / label / f"{i}.png")
    ids = {"cola": 0, "tea": 2, "milk": 1}
    lines = [f"train/{label}/{i}.png {ids[label]}\n" for label in ids for i in range(2)]
    (tmp_path / "train.txt").write_text("".join(lines))
    (tmp_path / "val.txt").write_text("train/tea/0.png 2\ntrain/milk/1.png 1\n")
    (tmp_path / "map.txt").write_text("0 cola\n2 black tea\n")
    return tmp_path


def test_folders_are_numbered_in_sorted_order(photos: Path) -> None:
    folders = ClassSource("folders", "shelf", root="train")
    found = gather(recipe(folders, eval=(replace(folders, name="again"),), class_num=4), photos, quiet)
    assert found.names == ("cola", "milk", "tea", "")
    assert list(found.training.labels) == list(found.eval["again"].labels) == [0, 0, 1, 1, 2, 2]
    assert found.training.read(5).tolist() == np.full((9, 12, 3), 11).tolist()


def test_lists_give_class_ids_and_a_class_map_their_names(photos: Path) -> None:
    source = ClassSource("list", "train", file="train.txt")
    val = ClassSource("list", "val", file="val.txt")
    found = gather(recipe(source, eval=(val,), class_map="map.txt"), photos, quiet)
    assert found.names == ("cola", "", "black tea")
    assert list(found.training.labels) == [0, 0, 2, 2, 1, 1]
    assert list(found.eval["val"].labels) == [2, 1]
    assert gather(recipe(source), photos, quiet).names == ("", "", "")


def test_wrong_classes_are_reported_all_at_once(photos: Path) -> None:
    (photos / "bad.txt").write_text("train/tea/0.png 2\ntrain/tea/1.png 7\ntrain/cola/0.png cola\n")
    source = ClassSource("list", "bad", file="bad.txt")
    with pytest.raises(DatasetError, match=r"bad\.txt: 2 picture\(s\) .*tea/1\.png: no class '7'.*no class 'cola'"):
        gather(recipe(source, class_num=3), photos, quiet)
    val = ClassSource("list", "val", file="val.txt")
    (photos / "few.txt").write_text("train/cola/0.png 0\n")
    with pytest.raises(DatasetError, match=r"val\.txt: 2 picture"):
        gather(recipe(ClassSource("list", "few", file="few.txt"), eval=(val,)), photos, quiet)
    with pytest.raises(DatasetError, match="3 classes, 'class_num' is 2"):
        gather(recipe(ClassSource("folders", "shelf", root="train"), class_num=2), photos, quiet)
    with pytest.raises(DatasetError, match="needs a data folder"):
        gather(recipe(val), None, quiet)
    with pytest.raises(DatasetError, match="class map"):
        gather(recipe(val, class_map="none.txt"), photos, quiet)


def test_broken_pictures_of_training_and_eval_sets_are_reported_at_once(photos: Path) -> None:
    cut_short(photos / "train" / "cola" / "1.png", photos / "train" / "tea" / "0.png")
    few = ClassSource("list", "few", file="few.txt")
    (photos / "few.txt").write_text("train/cola/0.png 0\ntrain/cola/1.png 0\ntrain/milk/0.png 2\n")
    val = ClassSource("list", "val", file="val.txt")
    folders = ClassSource("folders", "shelf", root="train")
    for plan in (recipe(few, eval=(val,)), recipe(folders)):
        with pytest.raises(DatasetError, match=r"2 bad picture\(s\): .*cola/1\.png: .*tea/0\.png: "):
            gather(plan, photos, quiet)
    (photos / "train" / "milk" / "1.png").unlink()
    with pytest.raises(DatasetError, match=r"val\.txt: .*no file train/milk/1\.png"):
        gather(recipe(few, eval=(val,)), photos, quiet)


def test_rendered_products_are_classes_and_eval_sets_see_other_views_of_them() -> None:
    source = ClassSource("rendered", "synthetic", products=3, views=2, seed_step=4, rendered_px=24)
    found = gather(recipe(source, eval=(replace(source, name="other", skip_views=2, views=1),)), None, quiet)
    assert found.names == ("product 0", "product 4", "product 8")
    assert list(found.training.labels) == [0, 0, 1, 1, 2, 2]
    assert list(found.eval["other"].labels) == [0, 1, 2]
    trained_on = [found.training.read(i) for i in range(6)]
    assert trained_on[0].shape == (24, 24, 3)
    for i in range(3):
        assert all((found.eval["other"].read(i) != view).any() for view in trained_on)
    with pytest.raises(DatasetError, match="product 12, which no source renders"):
        gather(recipe(source, eval=(replace(source, products=4),)), None, quiet)


@pytest.mark.parametrize(
    "name", ["classifier-tiny", "pplcnet-x1_0-imagenet", "pplcnetv2-base-imagenet", "resnet50_vd-imagenet"]
)
def test_bundled_recipes_are_valid(name: str) -> None:
    plan = load_recipe(name, ClassifierRecipe)
    assert plan.name == name
    if name != "classifier-tiny":
        assert (plan.class_num, plan.smoothing, plan.eval[0].file) == (1000, 0.1, "val_list.txt")


def test_what_a_recipe_can_t_mean_is_an_error() -> None:
    rendered = ClassSource("rendered", "synthetic", products=2)
    with pytest.raises(RecipeError, match="did you mean PPLCNet_x1_0"):
        replace(recipe(rendered), network="PPLCNet_x10")
    with pytest.raises(RecipeError, match="of one kind"):
        recipe(rendered, ClassSource("list", "more", file="x"))
    with pytest.raises(RecipeError, match="class_map: goes with lists"):
        recipe(rendered, class_map="x")
    with pytest.raises(RecipeError, match="names no eval set"):
        recipe(rendered, select_by=("val",))
    with pytest.raises(RecipeError, match="kind: 'rendered' needs 'products'"):
        ClassSource("rendered", "synthetic")
    with pytest.raises(RecipeError, match="sizes of 32 pixels"):
        ClassSampler(scales=(224, 16))
