"""Recipes of distillation: a student's own recipe, and what it learns from.

`ssld`: from a frozen teacher and without labels (Cui et al., arXiv:2103.05959). `dml`: two networks learn from labels and
from each other's logits. `udml`: from each other's features too, as PP-ShiTu's documents have it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from models.tables import Count, Flag, NotNegative, Positive, Text, known, rule
from models.training.recipes.metric import MetricRecipe
from models.training.recipes.pictures import Teacher
from models.training.recipes.reading import RecipeError, load_recipe, table

METHODS = ("ssld", "dml", "udml")
COMPARED = ("relations", "logits")


@table
class FrozenTeacher:
    """A network that the engine runs: an artifact or official archive, or any file that OpenVINO reads; see `Teacher`.

    A folder says itself how pictures are prepared, and its own output is taken. The other keys are for a file.
    """

    model: Text
    pooled_before: str = ""  # the layer whose input is taken; empty: the file's first output
    size_px: Count = 224
    layout: Annotated[str, known("NHWC", "NCHW")] = "NHWC"
    normalized: Flag = False  # pixels / 255, less ImageNet's mean, over its deviation, as PaddleClas; else 0 to 255

    @property
    def file(self) -> Teacher:
        """The same as the embedder recipe's table."""
        return Teacher(self.model, self.pooled_before, self.size_px, self.layout)


@rule("teacher", "method")
def ssld_has_a_teacher(recipe: Any) -> Iterator[str]:
    """The rule of every table with `method` and `teacher`."""
    if (recipe.method == "ssld") != (recipe.teacher is not None):
        yield "'ssld' needs a table 'teacher', and the other methods have none"


@rule("peer", "method")
def ssld_has_no_peer(recipe: Any) -> Iterator[str]:
    """And of one with `peer`."""
    if recipe.method == "ssld" and recipe.peer:
        yield "'ssld' has none"


@rule("weight", "method")
def ssld_learns_something(recipe: Any) -> Iterator[str]:
    """And of one with `weight`."""
    if recipe.method == "ssld" and not recipe.weight:
        yield "'ssld' with a weight of 0 learns nothing"


@table
class DistillRecipe:
    """What a student learns from. `student` and `peer` name metric recipes; pictures, stages and eval sets are the student's."""

    name: str
    student: str
    method: Annotated[str, known(*METHODS)]
    peer: str = ""  # dml, udml: the other network; empty: the student's own recipe
    teacher: FrozenTeacher | None = None  # ssld
    # ssld: similarities within the batch, or logits where teacher and student know the same classes
    compare: Annotated[str, known(*COMPARED)] = "relations"
    temperature: Positive = 0.1  # of the relations
    weight: NotNegative = 1.0  # of the comparison
    distance_weight: NotNegative = 1.0  # udml

    _ssld_has_a_teacher = ssld_has_a_teacher
    _ssld_has_no_peer = ssld_has_no_peer
    _ssld_learns_something = ssld_learns_something


@dataclass(frozen=True)
class DistillPlan:
    """A recipe with the recipes that it names."""

    name: str
    recipe: DistillRecipe
    student: MetricRecipe
    peer: MetricRecipe | None


def load_plan(name_or_path: str) -> DistillPlan:
    """Read a distillation recipe and those that it names. Raises RecipeError."""
    recipe = load_recipe(name_or_path, DistillRecipe)
    student = load_recipe(recipe.student, MetricRecipe)
    peer = None if recipe.method == "ssld" else load_recipe(recipe.peer or recipe.student, MetricRecipe)
    for plan in (student, peer):
        needs_logits = recipe.method != "ssld" or recipe.compare == "logits"
        if plan is not None and needs_logits and plan.head.kind == "none":
            raise RecipeError(f"{recipe.name}: {plan.name} has no head, so it gives no logits to compare")
    return DistillPlan(recipe.name, recipe, student, peer)
