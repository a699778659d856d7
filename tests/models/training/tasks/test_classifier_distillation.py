"""Classifiers distilled from a frozen teacher, or two from each other: each method ends better than it began."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import paddle
import pytest

from models.export.classifier import export_classifier
from models.export.network import Origin
from models.nets.named import build
from models.training.data.class_batches import ClassBatch
from models.training.engine.fit import fit
from models.training.engine.inputs import normalize
from models.training.engine.loop import Progress
from models.training.errors import TrainingError
from models.training.recipes.classifier import ClassDistill, ClassifierRecipe
from models.training.recipes.distill import FrozenTeacher
from models.training.recipes.reading import RECIPES_DIR, RecipeError, load_recipe
from models.training.tasks.classifier import ClassifierTask
from models.training.tasks.classifier_distillation import (
    ClassifierModule,
    as_pictures,
    open_class_teacher,
    with_features,
)
from tests.models.training.teacher_files import SIDE, teacher_files

SHORT = replace(load_recipe("classifier-tiny", ClassifierRecipe), epochs=6, evaluate_every=1)
NETWORK = "PPLCNet_x0_25"


def quiet(*_: object) -> None:
    """Hears nothing."""


def run(
    distill: ClassDistill, out: Path, stops: tuple[int | None, ...] = (None,), recipe: ClassifierRecipe = SHORT
) -> list[Progress]:
    lines: list[Progress] = []
    for stop_after in stops:
        fit(ClassifierTask, replace(recipe, distill=distill), None, out, lines.append, quiet, stop_after=stop_after)
    return lines


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of six classes that has learnt for a step."""
    folder = tmp_path_factory.mktemp("teacher")
    fit(ClassifierTask, replace(SHORT, eval=()), None, folder / "run", quiet, quiet, stop_after=1)
    return export_classifier(SHORT, folder / "run" / "best.npz", folder / "artifact", Origin(["rendered"], {}, {}))


def test_an_artifact_teaches_without_labels(teacher: Path, tmp_path: Path) -> None:
    recipe = replace(SHORT, eval=(), evaluate_every=1)
    lines = run(ClassDistill("ssld", FrozenTeacher(str(teacher))), tmp_path, (2,), recipe)
    assert [line.losses.keys() for line in lines] == [{"ssld"}]


@pytest.mark.slow  # the embedder's student learns in `make test`, by the same `fit` and the same kind of loss
def test_a_student_comes_to_answer_as_its_teacher(tmp_path: Path) -> None:
    fit(ClassifierTask, SHORT, None, tmp_path / "teacher", quiet, quiet)
    teacher = export_classifier(
        SHORT, tmp_path / "teacher" / "best.npz", tmp_path / "artifact", Origin(["rendered"], {}, {})
    )
    lines = run(ClassDistill("ssld", FrozenTeacher(str(teacher))), tmp_path / "student")
    assert lines[0].losses.keys() == {"ssld"}
    assert lines[-1].losses["ssld"] < 0.8 * lines[0].losses["ssld"]


@pytest.mark.slow  # the embedder's task learns from a file in `make test`, by the same teacher
@pytest.mark.parametrize("suffix", ["onnx", "openvino"])
def test_a_file_teaches_a_classifier(suffix: str, tmp_path: Path) -> None:
    file = teacher_files(tmp_path / "teacher", 6, softmax=suffix == "onnx")[suffix]
    table = FrozenTeacher(str(file), size_px=SIDE, layout="NCHW", normalized=True)
    # Longer than SHORT: after 6 epochs the loss is 0.76 to 0.95 of the first, by the seed; after 12, 0.48 to 0.65.
    lines = run(ClassDistill("ssld", table), tmp_path / "run", recipe=replace(SHORT, epochs=14, eval=()))
    assert lines[-1].losses["ssld"] < 0.8 * lines[0].losses["ssld"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dml", "udml"])
def test_two_peers_end_better_than_they_began(method: str, tmp_path: Path) -> None:
    lines = run(ClassDistill(method, weight=0.3), tmp_path, recipe=replace(SHORT, epochs=14, evaluate_every=2))
    first, last = lines[0].losses, lines[-1].losses
    assert ("distance" in first) == (method == "udml")
    assert last["ce"] < 0.93 * first["ce"]
    assert last["peer ce"] < 0.93 * first["peer ce"]


def test_labels_teach_nothing_in_ssld(teacher: Path) -> None:
    recipe = replace(SHORT, distill=ClassDistill("ssld", FrozenTeacher(str(teacher))))
    module = ClassifierModule(recipe, 6, open_class_teacher(recipe.distill, 6, None))
    module.eval()
    pixels = np.random.default_rng(0).normal(size=(3, 3, 48, 48)).astype(np.float32)
    losses = []
    for labels in (np.array([0, 1, 2]), np.array([2, 2, 0])):
        losses.append(float(module(ClassBatch(pixels, labels, labels, 1.0))["ssld"]))
    assert losses[0] == losses[1]


def test_a_teacher_of_other_classes_is_refused(teacher: Path) -> None:
    for model, logits in ((str(teacher), 6), ("shitu-embedder", 512)):
        with pytest.raises(TrainingError, match=f"gives {logits} logits a picture, the data have 4 classes"):
            open_class_teacher(ClassDistill("ssld", FrozenTeacher(model)), 4, None)


def test_features_are_what_the_last_layer_sees() -> None:
    network = build(NETWORK, 5)
    network.eval()
    logits, features = with_features(network, paddle.rand([2, 3, 32, 32]))
    np.testing.assert_allclose(logits.numpy(), network.fc(features).numpy(), rtol=1e-5)


def test_a_teacher_sees_the_very_pictures() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3)).astype(np.uint8)
    np.testing.assert_array_equal(as_pictures(normalize(images)), images)


@pytest.mark.parametrize(
    ("table", "report"),
    [
        ('method = "guess"', "distill.method: must be one of 'ssld', 'dml', 'udml', not 'guess'"),
        ('method = "ssld"', "'ssld' needs a table 'teacher'"),
        ('method = "ssld"\nteacher = "x"', "distill.teacher: must be a table, not 'x'"),
        ('method = "ssld"\nteacher.model = ""', "distill.teacher.model: must be text that is not empty"),
        (
            'method = "ssld"\nteacher = { model = "x", size_px = 0 }',
            "distill.teacher.size_px: must be 1 or more, not 0",
        ),
        ('method = "ssld"\nteacher.model = "x"\nweight = 0', "learns nothing"),
        ('method = "ssld"\nteacher.model = "x"\npeer = "PPLCNet_x0_25"', "distill.peer: 'ssld' has none"),
        ('method = "dml"\nteacher.model = "x"', "the other methods have none"),
        ('method = "dml"\npeer = "x"', "distill.peer: there is no network 'x'"),
        ('method = "dml"\nweight = -0.5', "distill.weight: must be 0 or more, not -0.5"),
        ('method = "udml"\ndistance_weight = -1', "distill.distance_weight: must be 0 or more, not -1"),
    ],
)
def test_what_does_not_fit_together_is_reported(table: str, report: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text((RECIPES_DIR / "classifier-tiny.toml").read_text() + f"\n[distill]\n{table}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=re.escape(report)):
        load_recipe(str(path), ClassifierRecipe)
