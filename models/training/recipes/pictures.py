"""What recipes of embedders, metric learning and binary codes share: sources of pictures, stages, eval sets and teachers."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Protocol

from models.tables import Count, Flag, Fraction, NotNegative, Positive, Whole, known, rule
from models.training.recipes.reading import SidePx, table


@table
class ViewSource:
    """Where views come from: products that the project renders, or photos named by a list file below the data folder."""

    kind: Annotated[str, known("rendered", "list")]
    name: str
    # rendered
    products: Whole = 0
    views: Count = 6
    first_seed: Whole = 0
    # list: "path<delimiter>label" lines, `ids`: with a third column last; crops: random crops a photo
    root: str = ""
    file: str = ""
    delimiter: str = "\t"
    ids: Flag = False
    crops: Count = 8
    holdout: Flag = False  # leave every second label, in sorted order, out of training and measure on those
    vectors: str = ""  # .npz with `path` and `embedding`: known embeddings of these very photos, a second target
    same_labels_as: str = ""  # a list before this one, with labels of its own: equal labels are then one class
    cut_out: Flag = False  # take what stands before a plain background without it, to be put on other backgrounds
    # of a batch, relative to the other sources; a class counts where it was first met
    sampling_weight: NotNegative = 1.0

    @rule("kind", "products")
    def _renders_something(self) -> Iterator[str]:
        if self.kind == "rendered" and self.products < 1:
            yield "'rendered' needs 'products'"


@table
class EvalSource:
    """Pictures never trained on, to measure recall@1 with."""

    # "rendered": products of other seeds; "held_out": a source's held-out labels, each photo is a query to the others; "lists"
    kind: Annotated[str, known("rendered", "held_out", "lists")]
    name: str
    products: Whole = 0
    root: str = ""
    file: str = ""
    gallery_file: str = ""
    delimiter: str = "\t"
    ids: Flag = False  # the lists have a third column

    @rule("kind", "products")
    def _renders_something(self) -> Iterator[str]:
        if self.kind == "rendered" and self.products < 1:
            yield "'rendered' needs 'products'"


@table
class Teacher:
    """A frozen network whose pooled features, with a colour histogram, are the embedding's targets."""

    model: str = ""  # any file OpenVINO reads; empty: no teacher
    pooled_before: str = ""  # friendly name of the layer whose input is the pooled feature
    size_px: Count = 224
    layout: Annotated[str, known("NHWC", "NCHW")] = "NHWC"
    feature_dims: Count = 384
    colour_dims: Count = 128
    colour_weight: NotNegative = 0.8


@table
class EmbedderTeacher:
    """An embedder that looks at the very views that the student sees: a bundled one, or an artifact folder below the data folder."""

    artifact: str
    weight: Positive = 1.0  # of its similarities among those of all teachers


@table
class Stage:
    """A stretch of training at one input size."""

    steps: Count
    size_px: SidePx
    batch: Count = 96


class PictureSources(Protocol):
    """What pool, batches and eval sets need to know of a recipe, whatever is trained with it."""

    @property
    def data(self) -> tuple[ViewSource, ...]: ...
    @property
    def stages(self) -> tuple[Stage, ...]: ...
    @property
    def eval(self) -> tuple[EvalSource, ...]: ...
    @property
    def select_by(self) -> tuple[str, ...]: ...
    @property
    def seed(self) -> int: ...
    @property
    def views_per_class(self) -> int: ...
    @property
    def hard_classes(self) -> float: ...
    @property
    def handheld(self) -> bool: ...
    @property
    def pool_px(self) -> int: ...
    @property
    def deploy_px(self) -> int: ...
    @property
    def teacher(self) -> Teacher: ...
    @property
    def teachers(self) -> tuple[EmbedderTeacher, ...]: ...
    @property
    def embedding_size(self) -> int: ...
    @property
    def steps(self) -> int: ...
    def stage_at(self, step: int) -> Stage: ...


@table
class Pictures:
    """PictureSources of a recipe that has other tables than an embedder's."""

    data: tuple[ViewSource, ...]
    stages: tuple[Stage, ...]
    eval: tuple[EvalSource, ...]
    select_by: tuple[str, ...]
    seed: Whole
    views_per_class: Count
    pool_px: Whole
    deploy_px: SidePx
    embedding_size: Count
    hard_classes: Fraction = 0.0
    handheld: Flag = False
    teacher: Teacher = Teacher()
    teachers: tuple[EmbedderTeacher, ...] = ()

    @property
    def steps(self) -> int:
        """All optimiser steps, over all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        """The stage that `step` (from 0) falls in."""
        return stage_at(self.stages, step)


def stage_at(stages: Sequence[Stage], step: int) -> Stage:
    """The stage that `step` (from 0) falls in; after the last one's end, the last one."""
    for stage in stages:
        if step < stage.steps:
            return stage
        step -= stage.steps
    return stages[-1]


@rule("data")
def sources_fit_together(recipe: Any) -> Iterator[str]:
    """The rule of every recipe whose `data` are ViewSources."""
    if not recipe.data:
        yield "needs a source"
    elif not any(source.sampling_weight for source in recipe.data):
        yield "every 'sampling_weight' is 0, so no picture would be sampled"
    before: dict[str, str] = {}  # lists, and whose labels they have
    names: set[str] = set()
    for source in recipe.data:
        if source.name in names:
            yield f"two sources have the name {source.name!r}"
        names.add(source.name)
        other = source.same_labels_as
        if other and other not in before:
            yield f"'same_labels_as' names no list before {source.name!r}: {other!r}"
        elif other and before[other]:
            yield f"'same_labels_as' of {source.name!r} must name {before[other]!r}, whose labels {other!r} has"
        if source.kind == "list":
            before[source.name] = other if other in before else ""


@rule("stages", "views_per_class")
def batches_hold_a_class(recipe: Any) -> Iterator[str]:
    """The rule of recipes with `views_per_class`."""
    return wrong_stages(recipe.stages, recipe.views_per_class)


def wrong_stages(stages: Sequence[Stage], views_per_class: int) -> Iterator[str]:
    """What is wrong with stages whose batches have so many pictures of a class."""
    if not stages:
        yield "needs a stage"
    for stage in stages:
        if stage.batch < views_per_class:
            yield f"a 'batch' of {stage.batch} has no room for a class of {views_per_class} ('views_per_class')"


@rule("select_by", "eval")
def selects_by_its_own(recipe: Any) -> Iterator[str]:
    """The rule of every recipe with `select_by`: it names eval sets of the recipe."""
    names = {source.name for source in recipe.eval}
    yield from (f"names no eval set of this recipe: {name!r}" for name in recipe.select_by if name not in names)
