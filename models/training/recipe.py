"""Training recipes: a TOML file read into frozen dataclasses; a key, type or number that can't work is told before hours are lost."""

import dataclasses
import math
import tomllib
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from models.errors import ModelError
from models.training.bounds import Count, FourCounts, NotNegative, PartOfOne, Positive, Share, SidePx, Whole, Within

RECIPES_DIR = Path(__file__).resolve().parents[1] / "recipes"
R = TypeVar("R")


class RecipeError(ModelError):
    """A recipe names an unknown key, lacks one, or gives a value of the wrong type or out of bounds."""

    code = "recipe_invalid"


@dataclass(frozen=True)
class EmbedderNetwork:
    """Which ShiTu embedder, and how wide."""

    kind: str = "v2"  # "v2": PP-LCNetV2 + BNNeck; "v1": PP-LCNet + FC
    width: Positive = 0.5
    depths: FourCounts = (2, 2, 6, 2)
    embedding_size: Count = 512
    dropout: PartOfOne = 0.0
    colours: bool = False  # v2 only: add a colour histogram's features before the neck
    whitened: bool = False  # v2 only: a last linear map evens out the embedding's directions, fitted before each exam

    def __post_init__(self) -> None:
        _check("kind", self.kind, ("v1", "v2"))
        if (self.colours or self.whitened) and self.kind != "v2":
            raise RecipeError("'colours' and 'whitened' go with the kind v2")


@dataclass(frozen=True)
class ViewSource:
    """Where views come from: products that the project draws, or photos named by a list file below the data folder."""

    kind: str  # "rendered" or "list"
    name: str
    # rendered
    products: Whole = 0
    views: Count = 6
    first_seed: Whole = 0
    # list: "path<delimiter>label" lines, `ids`: with a third column behind; crops: random crops a photo
    root: str = ""
    file: str = ""
    delimiter: str = "\t"
    ids: bool = False
    crops: Count = 8
    holdout: bool = False  # leave every second label, in sorted order, out of training and measure on those
    vectors: str = ""  # .npz with `path` and `embedding`: known embeddings of these very photos, a second target
    share: NotNegative = 1.0  # of a batch, relative to the other sources

    def __post_init__(self) -> None:
        _check("kind", self.kind, ("rendered", "list"))
        if self.kind == "rendered" and self.products < 1:
            raise RecipeError("the kind 'rendered' needs 'products'")


@dataclass(frozen=True)
class Exam:
    """Pictures never trained on, to measure recall@1 with."""

    kind: str  # "rendered": products of other seeds; "held_out": a source's held-out labels, each photo asks the others; "lists"
    name: str
    products: Whole = 0
    root: str = ""
    file: str = ""
    gallery_file: str = ""
    delimiter: str = "\t"
    ids: bool = False  # the lists have a third column

    def __post_init__(self) -> None:
        _check("kind", self.kind, ("rendered", "held_out", "lists"))
        if self.kind == "rendered" and self.products < 1:
            raise RecipeError("the kind 'rendered' needs 'products'")


@dataclass(frozen=True)
class Teacher:
    """A frozen network whose pooled features, beside a colour histogram, are what the embedding is drawn towards."""

    model: str = ""  # any file OpenVINO reads; empty: no teacher
    pooled_before: str = ""  # friendly name of the layer whose input is the pooled feature
    size_px: Count = 224
    layout: str = "NHWC"
    feature_dims: Count = 384
    colour_dims: Count = 128
    colour_weight: NotNegative = 0.8

    def __post_init__(self) -> None:
        _check("layout", self.layout, ("NHWC", "NCHW"))


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one input size."""

    steps: Count
    size_px: SidePx
    batch: Count = 96


@dataclass(frozen=True)
class EmbedderLoss:
    """Weights and constants of the summed losses; names as in models.training.losses."""

    class_weight: NotNegative = 1.0
    class_ramp: Share = (
        0.0  # fraction of all steps over which the class loss grows from a tenth: a teacher is learnt first
    )
    margin: NotNegative = 0.2
    scale: Positive = 24.0
    distill_weight: NotNegative = 4.0
    vector_weight: NotNegative = 1.0
    triplet_weight: NotNegative = 0.0
    triplet_from: Share = 0.6  # fraction of all steps


@dataclass(frozen=True)
class Optimizer:
    """AdamW with linear warm-up and cosine decay, and an exponential moving average of the weights."""

    learning_rate: Positive = 2e-3
    weight_decay: NotNegative = 0.02
    warmup_steps: Whole = 500
    ema_decay: PartOfOne = 0.999
    clip_norm: NotNegative = 5.0


@dataclass(frozen=True)
class EmbedderRecipe:
    """Everything that decides what an embedder becomes, besides the pictures themselves."""

    name: str
    data: tuple[ViewSource, ...]
    stages: tuple[Stage, ...]
    exams: tuple[Exam, ...] = ()
    select_by: tuple[str, ...] = ()  # exams whose mean recall@1 decides which weights are kept; empty: all
    seed: Whole = 1
    views_per_class: Count = 2
    pool_px: SidePx = 128
    deploy_px: SidePx = 128
    evaluate_every: Count = 1000
    network: EmbedderNetwork = field(default_factory=EmbedderNetwork)
    teacher: Teacher = field(default_factory=Teacher)
    loss: EmbedderLoss = field(default_factory=EmbedderLoss)
    optimizer: Optimizer = field(default_factory=Optimizer)

    def __post_init__(self) -> None:
        if not self.data:
            raise RecipeError("'data' has no source")
        if not any(source.share for source in self.data):
            raise RecipeError("every 'share' is 0, so no picture would be drawn")
        if not self.stages:
            raise RecipeError("'stages' needs a stage")
        for stage in self.stages:
            if stage.batch < self.views_per_class:
                told = (
                    f"a 'batch' of {stage.batch} has no room for a class of {self.views_per_class} ('views_per_class')"
                )
                raise RecipeError(told)
        if self.network.colours:
            for size in (*(stage.size_px for stage in self.stages), self.deploy_px):
                if size % 16:
                    raise RecipeError(f"with 'colours', 'size_px' and 'deploy_px' are multiples of 16, not {size}")
        if strangers := [name for name in self.select_by if name not in {exam.name for exam in self.exams}]:
            raise RecipeError(f"'select_by' names no exam of this recipe: {strangers[0]!r}")

    @property
    def steps(self) -> int:
        """All optimiser steps, over all stages."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        """The stage that `step` (from 0) falls in."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]


def load_recipe(name_or_path: str, kind: type[R]) -> R:
    """Read a recipe by bundled name (`embedder-s`) or path. Raises RecipeError naming the key at fault."""
    path = Path(name_or_path)
    if not path.suffix:
        path = RECIPES_DIR / f"{name_or_path}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in RECIPES_DIR.glob("*.toml")))
        raise RecipeError(f"no recipe {name_or_path!r}; bundled ones: {known}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path.name}: {error}") from error
    return _build(kind, table, path.name)


def as_table(recipe: Any) -> dict[str, Any]:
    """The recipe as plain JSON values, for manifests and logs."""
    return dataclasses.asdict(recipe)


def _check(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise RecipeError(f"{key!r} must be one of {', '.join(known)}, not {value!r}")


def _build(kind: type[R], table: dict[str, Any], where: str) -> R:
    hints = typing.get_type_hints(kind, include_extras=True)
    if unknown := sorted(set(table) - set(hints)):
        raise RecipeError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(hints)}")
    values = {key: _convert(hints[key], value, f"{where}: {key}") for key, value in table.items()}
    if missing := [key for key in _required(kind) if key not in values]:
        raise RecipeError(f"{where}: the key {missing[0]!r} is missing")
    try:
        return kind(**values)
    except RecipeError as error:  # what the dataclass itself checks
        raise RecipeError(f"{where}: {error.detail}") from error


def _required(kind: Any) -> list[str]:
    missing = dataclasses.MISSING
    return [f.name for f in dataclasses.fields(kind) if f.default is missing and f.default_factory is missing]


def _convert(hint: Any, value: Any, where: str) -> Any:
    if types.NoneType in typing.get_args(hint):  # `X | None`: TOML has no null, so what is there is an X
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    if typing.get_origin(hint) is typing.Annotated:
        kind, bound = typing.get_args(hint)
        value = _convert(kind, value, where)
        if isinstance(bound, Within) and not bound.holds(value):
            raise RecipeError(f"{where}: must be {bound}, not {value!r}")
        return value
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return _build(typing.cast(type[Any], hint), value, where)
    if dataclasses.is_dataclass(hint):
        raise RecipeError(f"{where}: expected a table, got {value!r}")
    if typing.get_origin(hint) is tuple:
        return _convert_list(typing.get_args(hint), value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise RecipeError(f"{where}: expected {hint.__name__}, got {value!r}")
    if hint is float and not math.isfinite(value):
        raise RecipeError(f"{where}: must be a finite number, not {value!r}")
    return value


def _convert_list(items: tuple[Any, ...], value: Any, where: str) -> Any:
    """`items` as in `tuple[int, ...]` or `tuple[float, float]`."""
    if not isinstance(value, list):
        raise RecipeError(f"{where}: expected a list, got {value!r}")
    if items[-1] is not Ellipsis and len(value) != len(items):
        raise RecipeError(f"{where}: must be a list of {len(items)}, not {value!r}")
    return tuple(_convert(items[0], element, f"{where}[{index}]") for index, element in enumerate(value))
