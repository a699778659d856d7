"""The pool: what views it holds, labels and targets of each, and when it is made again, kept or refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.training.data.photos import DatasetError
from models.training.data.pool import Pool, build_pool, fit, load_pool, on_grey, product_views
from models.training.errors import TrainingError
from models.training.recipes.embedder import EmbedderRecipe
from models.training.recipes.pictures import Stage, Teacher, ViewSource
from tests.models.training.data.readers.pictures import write_picture
from tests.models.training.photo_data import COLOURS, write_photos
from tests.models.training.teachers.test_features import teacher_file

RENDERED = ViewSource("rendered", "rendered", products=2, views=3, first_seed=10)
SHOP = ViewSource("list", "shop", root="shop", file="labels.tsv", crops=4, holdout=True, vectors="shop/known.npz")
RECIPE = EmbedderRecipe("pool", (RENDERED, SHOP), (Stage(1, 16, 4),), pool_px=16)


def quiet(_what: str, _done: int, _of: int) -> None:
    """Hears no progress."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_photos(folder)
    return folder


@pytest.fixture(scope="module")
def pool_folder(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "pool"
    recipe = replace(RECIPE, teacher=teacher_file(data, "NHWC"))
    build_pool(recipe, data, folder, quiet)
    return folder


@pytest.fixture(scope="module")
def pool(pool_folder: Path) -> Pool:
    return load_pool(pool_folder)


def test_rendered_products_come_first_each_its_own_class(pool: Pool) -> None:
    assert pool.views.shape == (6 + 3 * 2 * 4, 16, 16, 4)
    assert pool.labels[:6].tolist() == [0, 0, 0, 1, 1, 1]
    assert pool.sources.tolist() == [0] * 6 + [1] * 24
    for product in range(2):
        expected = product_views(10 + product, 3, 16)
        np.testing.assert_array_equal(pool.views[3 * product : 3 * product + 3], expected)


def test_photos_follow_but_for_the_labels_held_out(pool: Pool) -> None:
    assert pool.classes == 5
    assert pool.labels[6:].tolist() == [2] * 8 + [3] * 8 + [4] * 8  # a, c and e; b, d and f are held out
    assert (pool.views[6:, ..., 3] == 255).all()
    for label, at in (("a", 6), ("c", 14), ("e", 22)):
        np.testing.assert_array_equal(pool.views[at, 8, 8, :3], COLOURS[label])


def test_the_first_crop_is_the_whole_photo(pool: Pool) -> None:
    # The second photo of each label has a white corner, which crops may miss but the whole photo shows.
    whole = pool.views[10, ..., :3].astype(int)
    assert (whole[0, 0] - COLOURS["a"] > 20).any()


def test_known_vectors_go_to_half_the_crops_of_their_photos(pool: Pool) -> None:
    assert pool.has_vector[6:14].tolist() == [1, 1, 0, 0, 1, 1, 0, 0]
    assert pool.has_vector.sum() == 4
    np.testing.assert_allclose(pool.vectors[6], [0.6, 0.8], rtol=1e-6)
    np.testing.assert_allclose(pool.vectors[10], [0, 1], rtol=1e-6)
    assert not pool.vectors[pool.has_vector == 0].any()


def test_each_view_has_the_teachers_target(pool: Pool) -> None:
    assert pool.targets.shape == (30, 5)
    np.testing.assert_allclose(np.linalg.norm(pool.targets, axis=1), 1, rtol=1e-5)
    similar = pool.targets @ pool.targets.T
    assert similar[14, 15] > similar[14, 22]  # two crops of one plain photo, and a photo of another colour


def test_photos_stand_behind_cut_outs(pool: Pool) -> None:
    assert pool.backgrounds.shape == (24, 16, 16, 3)


def test_a_finished_pool_is_kept_and_an_interrupted_one_made_again(data: Path, tmp_path: Path) -> None:
    folder, reported = tmp_path / "pool", []
    build_pool(RECIPE, data, folder, lambda *step: reported.append(step))
    assert reported[-1] == ("views of shop", 30, 30)
    before = (folder / "views.npy").stat().st_mtime_ns
    reported.clear()
    build_pool(RECIPE, data, folder, lambda *step: reported.append(step))
    assert not reported
    assert (folder / "views.npy").stat().st_mtime_ns == before
    first = np.array(load_pool(folder).views)
    (folder / "pool.json").unlink()
    build_pool(RECIPE, data, folder, lambda *step: reported.append(step))
    assert reported
    np.testing.assert_array_equal(load_pool(folder).views, first)
    assert load_pool(folder).targets.shape == (30, 0)


def test_another_recipes_pool_is_refused_but_other_steps_and_sampling_weights_are_no_other_pool(
    data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pool"
    only_rendered = replace(RECIPE, data=(RENDERED,))
    build_pool(only_rendered, None, folder, quiet)
    build_pool(
        replace(only_rendered, stages=(Stage(9, 32, 8),), data=(replace(RENDERED, sampling_weight=0.1),)),
        None,
        folder,
        quiet,
    )
    for other in (
        RECIPE,
        replace(only_rendered, pool_px=24),
        replace(only_rendered, data=(replace(RENDERED, views=4),)),
    ):
        with pytest.raises(TrainingError, match="was made from another recipe"):
            build_pool(other, data, folder, quiet)
    # One of an older version does not say what it was made from.
    (folder / "pool.json").write_text(json.dumps({"views": 6, "classes": 2}), encoding="utf-8")
    build_pool(only_rendered, None, folder, quiet)


def test_without_photos_grounds_are_made_of_the_products(tmp_path: Path) -> None:
    build_pool(replace(RECIPE, data=(RENDERED,)), None, tmp_path / "pool", quiet)
    assert load_pool(tmp_path / "pool").backgrounds.shape == (6, 16, 16, 3)


@pytest.mark.parametrize(
    ("recipe", "has_data", "reported"),
    [
        (RECIPE, False, "source 'shop' needs a data folder"),
        (replace(RECIPE, data=(RENDERED,), teacher=Teacher("t.xml")), False, "teacher 't.xml' needs a data folder"),
        (replace(RECIPE, data=(replace(SHOP, file="none.tsv"),)), True, r"no list file .*none\.tsv"),
        (replace(RECIPE, data=(replace(SHOP, vectors="shop/labels.tsv"),)), True, "is no .npz with"),
        (replace(RECIPE, data=(replace(SHOP, vectors="shop/gone.npz"),)), True, "is no .npz with"),
    ],
)
def test_what_is_missing_is_reported(
    data: Path, tmp_path: Path, recipe: EmbedderRecipe, has_data: bool, reported: str
) -> None:
    with pytest.raises(DatasetError, match=reported):
        build_pool(recipe, data if has_data else None, tmp_path / "pool", quiet)
    assert not (tmp_path / "pool" / "pool.json").exists()


def test_several_processes_render_the_same(tmp_path: Path) -> None:
    recipe = replace(RECIPE, data=(replace(RENDERED, views=2),))
    for processes in (1, 2):
        build_pool(recipe, None, tmp_path / str(processes), quiet, processes)
    one, two = load_pool(tmp_path / "1"), load_pool(tmp_path / "2")
    np.testing.assert_array_equal(one.views, two.views)


def test_a_cut_out_on_grey_and_in_a_square() -> None:
    view = np.zeros((2, 2, 4), np.uint8)
    view[0] = (100, 50, 0, 255)
    view[1, 0] = (100, 50, 0, 127)
    seen = on_grey(view)
    assert seen[0, 0].tolist() == [100, 50, 0]
    assert seen[1, 1].tolist() == [235, 235, 235]
    assert seen[1, 0, 0] == pytest.approx((100 * 127 + 235 * 128) / 255, abs=1)
    assert fit(np.zeros((30, 10, 3), np.uint8), 12).shape == (12, 12, 3)


def test_all_broken_photos_are_named_before_a_view_is_made(tmp_path: Path) -> None:
    write_photos(tmp_path)
    for name in ("a0", "e1", "b0"):  # `b` is held out: nobody trains on it
        (tmp_path / "shop" / f"{name}.png").write_bytes(b"broken")
    seen: list[str] = []
    with pytest.raises(DatasetError, match=r"2 bad picture\(s\): .*a0\.png: .*e1\.png: ") as error:
        build_pool(RECIPE, tmp_path, tmp_path / "pool", lambda what, _done, _of: seen.append(what))
    assert "b0.png" not in error.value.detail
    assert set(seen) == {"pictures checked"}


def test_folders_of_labels_need_no_list(tmp_path: Path) -> None:
    for label in "xy":
        for number in range(2):
            write_picture(tmp_path / "shelf" / label / f"{number}.png", number)
    recipe = replace(RECIPE, data=(ViewSource("list", "shelf", root="shelf", crops=2),))
    build_pool(recipe, tmp_path, tmp_path / "pool", quiet)
    pool = load_pool(tmp_path / "pool")
    assert pool.labels.tolist() == [0] * 4 + [1] * 4
