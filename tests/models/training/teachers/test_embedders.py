"""Embedders as teachers: they see the student's very views, and their similarities are weighed together."""

from pathlib import Path

import numpy as np
import pytest

from models.embedder import Embedder
from models.errors import ArtifactError
from models.training.data.embedder_batches import BatchMaker
from models.training.data.pool import build_pool, load_pool
from models.training.recipes.embedder import EmbedderNetwork, EmbedderRecipe
from models.training.recipes.pictures import EmbedderTeacher, Stage, ViewSource
from models.training.recipes.reading import RecipeError
from models.training.teachers.embedders import EmbedderTeachers

BUNDLED = EmbedderTeacher("shitu-embedder")


def recipe(*teachers: EmbedderTeacher, size: int = 512) -> EmbedderRecipe:
    return EmbedderRecipe(
        name="distilled",
        data=(ViewSource("rendered", "products", products=3, views=2),),
        stages=(Stage(steps=2, size_px=96, batch=4),),
        pool_px=96,
        network=EmbedderNetwork(embedding_size=size),
        teachers=teachers,
    )


def test_similarities_of_all_are_the_weighted_mean_of_theirs() -> None:
    rng = np.random.default_rng(0)
    views = [rng.integers(0, 256, (40, 40, 3)).astype(np.uint8) for _ in range(3)]
    seen = EmbedderTeachers(recipe(BUNDLED, EmbedderTeacher("shitu-embedder", weight=3.0)), None)(views)
    alone = Embedder("models/bundled/shitu-embedder", precision="fp32")(views)
    np.testing.assert_allclose(seen.targets, alone, atol=1e-6)
    np.testing.assert_allclose(seen.together @ seen.together.T, alone @ alone.T, atol=1e-5)


def test_a_batch_has_the_teachers_targets_for_larger_versions_of_its_views(tmp_path: Path) -> None:
    plan = recipe(BUNDLED)
    build_pool(plan, None, tmp_path / "pool", lambda *_: None)
    pool, teachers = load_pool(tmp_path / "pool"), EmbedderTeachers(plan, None)
    batch = BatchMaker(plan, pool, teachers=teachers)(0)
    assert batch.images.shape == (4, 96, 96, 3)
    assert batch.targets.shape == batch.relations.shape == (4, 512)
    again = BatchMaker(plan, pool, teachers=teachers)(0)
    np.testing.assert_array_equal(batch.targets, again.targets)
    # The student's picture is the teacher's view made smaller: seen again from it, the answer is near.
    seen = teachers(list(batch.images)).targets @ batch.targets.T
    assert seen.diagonal().mean() > 0.8
    assert BatchMaker(plan, pool)(0).relations.shape == (4, 0)


def test_a_teacher_of_another_length_or_none_at_all_is_reported() -> None:
    with pytest.raises(RecipeError, match="'embedding_size' is 64, but the first of 'teachers' has 512 dimensions"):
        EmbedderTeachers(recipe(BUNDLED, size=64), None)
    with pytest.raises(ArtifactError):
        EmbedderTeachers(recipe(EmbedderTeacher("nobody")), Path("nowhere"))
