"""What an artifact's manifest says of the distillation that made it, next to the student's recipe."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.errors import ArtifactError
from models.training.engine.checkpoint import Checkpoint
from models.training.recipes.classifier import ClassifierRecipe
from models.training.recipes.distill import FrozenTeacher
from models.training.recipes.reading import as_table
from models.training.teachers.frozen import describe_teacher

KEY = "distilled"


def distilled_embedder(run: Path, data: Path | None) -> dict[str, Any]:
    """The table KEY of an embedder's run: its distillation recipe and what its teacher is, or the peer's recipe.

    Empty for a run that was no distillation. `last.npz` records which it was. Raises ArtifactError for a damaged one.
    """
    if not (run / "last.npz").is_file():
        return {}
    plan = Checkpoint.load(run / "last.npz").progress.get("recipe", {})
    if "student" not in plan:  # see DistillPlan; other recipes have no such key
        return {}
    recipe = plan["recipe"]
    teacher = recipe["teacher"] and FrozenTeacher(**recipe["teacher"])
    return {KEY: recipe | {"teacher": _teacher_of(teacher, data), "peer": plan["peer"]}}


def distilled_classifier(recipe: ClassifierRecipe, data: Path | None) -> dict[str, Any]:
    """The table KEY of a classifier's run, by its recipe; empty if it was no distillation."""
    if recipe.distill is None:
        return {}
    return {KEY: as_table(recipe.distill) | {"teacher": _teacher_of(recipe.distill.teacher, data)}}


def _teacher_of(teacher: FrozenTeacher | None, data: Path | None) -> Mapping[str, Any] | None:
    """The recipe's table and, if the teacher is still there, which network it is."""
    if teacher is None:
        return None
    try:
        return as_table(teacher) | describe_teacher(teacher, data)
    except ArtifactError:
        return as_table(teacher)
