"""Eval sets: which pictures are queries and which are searched, and scores against loops."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation.eval_sets import (
    FIRST_EVAL_SEED,
    GALLERY_VIEWS,
    QUERY_VIEWS,
    EvalSet,
    evaluate,
    evaluate_colours,
    evaluate_teacher,
    load_eval_sets,
    score,
)
from models.training.data.photos import DatasetError
from models.training.data.pool import on_grey, product_views
from models.training.recipes.embedder import EmbedderRecipe
from models.training.recipes.pictures import EvalSource
from models.training.teachers.features import PooledFeatures
from tests.models.training.data.readers.pictures import cut_short
from tests.models.training.photo_data import write_photos
from tests.models.training.teachers.test_features import teacher_file
from tests.models.training.tiny import TINY

RENDERED = EvalSource("rendered", "rendered", products=3)
HELD_OUT = EvalSource("held_out", "shop", root="shop", file="labels.tsv")
LISTS = EvalSource("lists", "two lists", root="shop", file="queries.tsv", gallery_file="labels.tsv")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_photos(folder)
    (folder / "shop" / "queries.tsv").write_text("b0.png\tb\nc0.png\tno such label\nf1.png\tf", encoding="utf-8")
    return folder


def with_eval(*eval_sets: EvalSource) -> EmbedderRecipe:
    return replace(TINY, eval=eval_sets)


def first_pixel(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images[:, 0, 0].astype(np.float32)


def test_rendered_products_are_searched_on_grey_and_queried_on_colours() -> None:
    (split,) = load_eval_sets(with_eval(RENDERED), None, 24)
    views = GALLERY_VIEWS + QUERY_VIEWS
    assert split.images.shape == (3 * views, 24, 24, 3)
    assert split.labels.tolist() == np.repeat(np.arange(3), views).tolist()
    assert split.gallery.tolist() == ([True] * GALLERY_VIEWS + [False] * QUERY_VIEWS) * 3
    expected = on_grey(product_views(FIRST_EVAL_SEED + 1, views, 24)[0])
    np.testing.assert_array_equal(split.images[views], expected)
    again = load_eval_sets(with_eval(RENDERED), None, 24)[0]
    np.testing.assert_array_equal(split.images, again.images)


def test_no_recipe_trains_on_products_of_the_eval_sets() -> None:
    assert all(source.first_seed + source.products <= FIRST_EVAL_SEED for source in TINY.data)


def test_held_out_labels_query_each_other(data: Path) -> None:
    (split,) = load_eval_sets(with_eval(HELD_OUT), data, 16)
    assert split.labels.tolist() == [0, 0, 1, 1, 2, 2]  # b, d and f
    assert not split.gallery.any()
    assert evaluate_colours([split]) == {"shop": 1.0}


def test_one_list_queries_another_and_an_unknown_label_is_never_right(data: Path) -> None:
    (split,) = load_eval_sets(with_eval(LISTS), data, 16)
    assert split.gallery.tolist() == [False] * 3 + [True] * 12
    assert evaluate_colours([split])["two lists"] == pytest.approx(2 / 3)


def test_photos_are_left_out_without_the_data_folder(data: Path) -> None:
    recipe = with_eval(RENDERED, HELD_OUT, LISTS)
    assert [split.name for split in load_eval_sets(recipe, None, 16)] == ["rendered"]
    assert [split.name for split in load_eval_sets(recipe, data, 16)] == ["rendered", "shop", "two lists"]


def test_an_eval_set_without_a_query_is_reported(data: Path) -> None:
    (data / "shop" / "lonely.tsv").write_text("a0.png\ta\nb0.png\tb\nc0.png\tc\nd0.png\td", encoding="utf-8")
    with pytest.raises(DatasetError, match="'lonely' has no label with two photos"):
        load_eval_sets(with_eval(EvalSource("held_out", "lonely", root="shop", file="lonely.tsv")), data, 16)


def test_broken_photos_are_reported_all_at_once_and_before_anything_is_rendered(tmp_path: Path) -> None:
    write_photos(tmp_path)
    cut_short(tmp_path / "shop" / "b0.png", tmp_path / "shop" / "f1.png")
    endless = replace(RENDERED, products=10**9)
    with pytest.raises(DatasetError, match=r"2 bad picture\(s\): .*b0\.png: .*f1\.png: "):
        load_eval_sets(with_eval(endless, HELD_OUT), tmp_path, 16)
    (tmp_path / "shop" / "a0.png").unlink()
    with pytest.raises(DatasetError, match=r"no file a0\.png"):
        load_eval_sets(with_eval(endless, HELD_OUT), tmp_path, 16)


@pytest.mark.parametrize("seed", range(3))
def test_scores_do_not_depend_on_the_length_of_embeddings(seed: int) -> None:
    rng = np.random.default_rng(seed)
    embeddings, labels = rng.normal(size=(20, 4)).astype(np.float32), rng.integers(0, 3, 20)
    gallery = np.arange(20) % 4 == 0
    split = EvalSet("x", np.zeros((20, 1, 1, 3), np.uint8), labels, gallery)
    right = []
    for query in np.flatnonzero(~gallery):
        cosines = {
            g: embeddings[query] @ embeddings[g] / np.linalg.norm(embeddings[g]) for g in np.flatnonzero(gallery)
        }
        right.append(labels[max(cosines, key=lambda g: cosines[g])] == labels[query])
    assert score(embeddings, split) == pytest.approx(np.mean(right))
    longer = embeddings * rng.uniform(0.1, 10, (20, 1)).astype(np.float32)
    assert score(longer, split) == pytest.approx(np.mean(right))


def test_pictures_are_embedded_in_batches_and_in_order() -> None:
    images = np.random.default_rng(0).integers(0, 256, (150, 2, 2, 3), dtype=np.uint8)
    split = EvalSet("x", images, np.arange(150) // 2, np.arange(150) % 2 == 0)
    sizes = []

    def embed(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        sizes.append(len(batch))
        return first_pixel(batch)

    assert evaluate(embed, [split])["x"] == score(first_pixel(images), split)
    assert sum(sizes) == 150
    assert max(sizes) == 64


def test_a_teacher_takes_the_eval_set_itself(data: Path) -> None:
    teacher = PooledFeatures(data / "teacher.xml", teacher_file(data, "NHWC"))
    assert evaluate_teacher(teacher, load_eval_sets(with_eval(HELD_OUT), data, 16)) == {"shop": 1.0}
