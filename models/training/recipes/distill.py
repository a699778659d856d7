"""Recipes of distillation: a student's own recipe, and what it learns from.

`ssld`: from a frozen teacher and without labels (Cui et al., arXiv:2103.05959). `dml`: two networks learn from labels and
from each other's logits. `udml`: from each other's features too, as PP-ShiTu's documents have it.
"""

from dataclasses import dataclass

from models.training.recipes.bounds import Count, NotNegative, Positive
from models.training.recipes.embedder import RecipeError, Teacher, load_recipe
from models.training.recipes.metric import MetricRecipe

METHODS = ("ssld", "dml", "udml")
COMPARED = ("relations", "logits")


@dataclass(frozen=True)
class FrozenTeacher:
    """A network that the engine runs: an artifact or official archive, or any file that OpenVINO reads; see `Teacher`.

    A folder says itself how pictures are prepared, and its own output is taken. The other keys are for a file.
    """

    model: str
    pooled_before: str = ""  # the layer whose input is taken; empty: the file's first output
    size_px: Count = 224
    layout: str = "NHWC"
    normalized: bool = False  # pixels / 255, less ImageNet's mean, over its deviation, as PaddleClas; else 0 to 255

    def __post_init__(self) -> None:
        if not self.model:
            raise RecipeError("'model' names no teacher")
        _ = self.file  # checks the layout

    @property
    def file(self) -> Teacher:
        """The same as the embedder recipe's table."""
        return Teacher(self.model, self.pooled_before, self.size_px, self.layout)


@dataclass(frozen=True)
class DistillRecipe:
    """What a student learns from. `student` and `peer` name metric recipes; pictures, stages and eval sets are the student's."""

    name: str
    student: str
    method: str
    peer: str = ""  # dml, udml: the other network; empty: the student's own recipe
    teacher: FrozenTeacher | None = None  # ssld
    compare: str = (
        "relations"  # ssld: similarities within the batch, or logits where teacher and student know the same classes
    )
    temperature: Positive = 0.1  # of the relations
    weight: NotNegative = 1.0  # of the comparison
    distance_weight: NotNegative = 1.0  # udml

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise RecipeError(f"'method' must be one of {', '.join(METHODS)}, not {self.method!r}")
        if self.compare not in COMPARED:
            raise RecipeError(f"'compare' must be one of {', '.join(COMPARED)}, not {self.compare!r}")
        if (self.method == "ssld") != (self.teacher is not None):
            raise RecipeError("'ssld' needs a [teacher], and the other methods have none")
        if self.method == "ssld" and self.peer:
            raise RecipeError("'ssld' has no 'peer'")
        if self.method == "ssld" and not self.weight:
            raise RecipeError("'ssld' with a 'weight' of 0 learns nothing")


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
