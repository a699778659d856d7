"""Distillation on the tiny metric recipe: each method ends better than it began."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from models.artifacts.folders import resolve
from models.training.engine.fit import fit
from models.training.engine.loop import Progress
from models.training.errors import TrainingError
from models.training.recipes.distill import DistillPlan, DistillRecipe, FrozenTeacher, load_plan
from models.training.recipes.metric import MetricRecipe
from models.training.recipes.pictures import Stage
from models.training.recipes.reading import RecipeError, load_recipe
from models.training.tasks.distill import DistillModule, DistillTask
from models.training.teachers.frozen import open_teacher
from tests.models.training.teacher_files import SIDE, teacher_files

STUDENT = replace(load_recipe("metric-tiny", MetricRecipe), evaluate_every=8, stages=(Stage(24, 32, 32),))
TEACHER = FrozenTeacher(str(resolve("shitu-embedder")))


def plan_of(method: str, student: MetricRecipe = STUDENT) -> DistillPlan:
    recipe = DistillRecipe("tiny", "metric-tiny", method, teacher=TEACHER if method == "ssld" else None)
    return DistillPlan("tiny", recipe, student, None if method == "ssld" else student)


def quiet(*_: object) -> None:
    """Hears nothing."""


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distill") / "run"
    fit(DistillTask, plan_of("dml"), None, folder, quiet, quiet, stop_after=1)
    return folder / "pool"


def folder_with(pool: Path, folder: Path) -> Path:
    folder.mkdir()
    (folder / "pool").symlink_to(pool)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dml", "udml"])
def test_two_peers_end_better_and_nearer_than_they_began(method: str, pool: Path, tmp_path: Path) -> None:
    lines: list[Progress] = []
    fit(
        DistillTask,
        plan_of(method, replace(STUDENT, eval=())),
        None,
        folder_with(pool, tmp_path / "run"),
        lines.append,
        quiet,
    )
    first, last = lines[0].losses, lines[-1].losses
    assert ("distance" in first) == (method == "udml")
    for part in ("student ce", "peer ce", "dml"):
        assert last[part] < 0.93 * first[part]


@pytest.mark.slow  # a file teaches the same way below; the page's distill-ssld takes this very teacher
def test_a_student_comes_to_compare_pictures_as_its_teacher_does(pool: Path, tmp_path: Path) -> None:
    lines: list[Progress] = []
    fit(DistillTask, plan_of("ssld"), None, folder_with(pool, tmp_path / "run"), lines.append, quiet)
    assert lines[0].losses.keys() == {"ssld"}
    assert lines[-1].losses["ssld"] < 0.85 * lines[0].losses["ssld"]


@pytest.mark.parametrize("compare", [pytest.param("relations", marks=pytest.mark.slow), "logits"])
def test_a_file_teaches_an_embedder(compare: str, pool: Path, tmp_path: Path) -> None:
    suffix = {"relations": "openvino", "logits": "onnx"}[compare]
    file = teacher_files(tmp_path / "teacher", STUDENT.data[0].products, softmax=compare == "logits")[suffix]
    table = FrozenTeacher(file.name, size_px=SIDE, layout="NCHW", normalized=True)
    recipe = DistillRecipe("tiny", "metric-tiny", "ssld", teacher=table, compare=compare)
    student = replace(STUDENT, stages=(Stage(12, 32, 16),), evaluate_every=4, eval=())
    lines: list[Progress] = []
    run = folder_with(pool, tmp_path / "run")
    fit(DistillTask, DistillPlan("tiny", recipe, student, None), file.parent, run, lines.append, quiet)
    assert lines[-1].losses["ssld"] < 0.9 * lines[0].losses["ssld"]


def test_labels_teach_nothing_in_ssld() -> None:
    plan = plan_of("ssld")
    paddle.seed(0)
    module = DistillModule(plan, classes=3)
    module.eval()
    x, vectors = paddle.rand([4, 3, 32, 32]), paddle.rand([4, 9])
    losses = [
        float(module.teacher_losses(x, paddle.to_tensor(labels), vectors)["ssld"])
        for labels in ([0, 0, 1, 2], [2, 1, 0, 0])
    ]
    assert losses[0] == losses[1]


def test_logits_of_other_classes_are_refused() -> None:
    plan = plan_of("ssld")
    plan = replace(plan, recipe=replace(plan.recipe, compare="logits"))
    module = DistillModule(plan, classes=3)
    with pytest.raises(TrainingError, match="relations"):
        module.teacher_losses(paddle.rand([2, 3, 32, 32]), paddle.to_tensor([0, 1]), paddle.rand([2, 9]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('method = "ssld"', "needs a"),
        ('method = "guess"', "must be one of"),
        ('method = "dml"\nteacher = { model = "x" }', "needs a"),
        ('method = "dml"\ntemperature = 0', "temperature: must be above 0, not 0"),
        ('method = "dml"\nweight = -1', "weight: must be 0 or more, not -1"),
        ('method = "udml"\ndistance_weight = -0.1', "distance_weight: must be 0 or more"),
        ('method = "ssld"\nweight = 0\nteacher = { model = "x" }', "learns nothing"),
        ('method = "ssld"\nteacher = { model = "" }', "teacher.model: must be text that is not empty"),
        ('method = "ssld"\nteacher = { model = "x", size_px = 0 }', "teacher.size_px: must be 1 or more, not 0"),
        (
            'method = "ssld"\nteacher = { model = "x", layout = "CHW" }',
            "teacher.layout: must be one of 'NHWC', 'NCHW', not 'CHW'",
        ),
    ],
)
def test_what_does_not_fit_together_is_reported_early(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'name = "x"\nstudent = "metric-tiny"\n{text}\n', encoding="utf-8")
    with pytest.raises(RecipeError, match=re.escape(said)):
        load_plan(str(path))


def test_the_bundled_teacher_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    table = load_plan("distill-ssld").recipe.teacher
    assert table is not None
    teacher = open_teacher(table, tmp_path, logits=False)
    assert teacher(np.zeros((2, 32, 32, 3), np.uint8)).shape == (2, 512)


@pytest.mark.parametrize("name", ["distill-tiny", "distill-ssld"])
def test_bundled_recipes_read(name: str) -> None:
    assert load_plan(name).student.steps > 0
