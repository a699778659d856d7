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
from models.training.recipes.bounds import (
    Count,
    FourCounts,
    NotNegative,
    PartOfOne,
    Positive,
    Share,
    SidePx,
    Whole,
    Within,
)

RECIPES_DIR = Path(__file__).resolve().parents[2] / "recipes"
LITE_KINDS = ("lite0", "lite1", "lite2")
R = TypeVar("R")


class RecipeError(ModelError):
    """A recipe names an unknown key, lacks one, or gives a value of the wrong type or out of bounds."""

    code = "recipe_invalid"


@dataclass(frozen=True)
class EmbedderNetwork:
    """Which ShiTu embedder, and how wide."""

    kind: str = (
        "v2"  # "v2": PP-LCNetV2 + BNNeck; "v1": PP-LCNet + FC; "lite0", "lite1", "lite2": EfficientNet-Lite + FC
    )
    width: Positive = 0.5
    depths: FourCounts = (2, 2, 6, 2)
    embedding_size: Count = 512
    dropout: PartOfOne = 0.0
    colours: bool = False  # v2 only: add a colour histogram's features before the neck
    whitened: bool = (
        False  # v2 only: a last linear map evens out the embedding's directions, fitted before each evaluation
    )
    pretrained: str = ""  # lite only: the package that its weights come in, or a file of them below the data folder

    def __post_init__(self) -> None:
        _check("kind", self.kind, ("v1", "v2", *LITE_KINDS))
        if self.pretrained and self.kind not in LITE_KINDS:
            raise RecipeError("'pretrained' goes with the kinds " + ", ".join(LITE_KINDS))
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
    same_labels_as: str = ""  # a list before this one, with labels of its own: equal labels are then one class
    cut_out: bool = False  # take what stands before a plain background without it, to be put on others
    sampling_weight: NotNegative = (
        1.0  # of a batch, relative to the other sources; a class counts where it was first met
    )

    def __post_init__(self) -> None:
        _check("kind", self.kind, ("rendered", "list"))
        if self.kind == "rendered" and self.products < 1:
            raise RecipeError("the kind 'rendered' needs 'products'")


@dataclass(frozen=True)
class EvalSource:
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
class EmbedderTeacher:
    """An embedder that looks at the very views that the student sees: a bundled one, or an artifact folder below the data folder."""

    artifact: str
    weight: Positive = 1.0  # of its similarities among those of all teachers


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
    smoothing: Share = 0.0  # of the class loss: what of a label is spread over all classes
    distill_weight: NotNegative = 4.0
    vector_weight: NotNegative = 1.0
    relation_weight: NotNegative = 0.0  # similarities of pictures to each other drawn to those of their known vectors
    teacher_relation_weight: NotNegative = 0.0  # the same with the similarities that all `teachers` see together
    triplet_weight: NotNegative = 0.0
    triplet_from: Share = 0.6  # fraction of all steps


@dataclass(frozen=True)
class Optimizer:
    """AdamW with linear warm-up and cosine decay, and an exponential moving average of the weights."""

    learning_rate: Positive = 2e-3
    backbone_rate: NotNegative = 1.0  # the pretrained backbone's learning rate, relative to the neck's
    proxy_rate: NotNegative = 1.0  # that of the class proxies
    weight_decay: NotNegative = 0.02
    warmup_steps: Whole = 500
    ema_decay: PartOfOne = 0.999
    clip_norm: NotNegative = 5.0


@dataclass(frozen=True)
class WithinClasses:
    """How much the differences within one source's classes count: those are what whitening takes out."""

    name: str
    weight: Positive


@dataclass(frozen=True)
class WhitenedStart:
    """Start the neck and the class proxies from the pretrained features, whitened within classes. Without sources: at random."""

    sources: tuple[WithinClasses, ...] = ()
    ridge: Positive = 0.2  # of the mean eigenvalue, added to each


@dataclass(frozen=True)
class UnknownSource:
    """Pictures of other things, whose embeddings ship as queries that have no right answer."""

    root: str
    file: str = "labels.tsv"
    delimiter: str = "\t"
    most: Count = 400


@dataclass(frozen=True)
class EmbedderRecipe:
    """Everything that decides what an embedder becomes, besides the pictures themselves."""

    name: str
    data: tuple[ViewSource, ...]
    stages: tuple[Stage, ...]
    eval: tuple[EvalSource, ...] = ()
    unknowns: tuple[UnknownSource, ...] = ()
    select_by: tuple[str, ...] = ()  # eval sets whose mean recall@1 decides which weights are kept; empty: all
    seed: Whole = 1
    views_per_class: Count = 2
    hard_classes: Share = 0.0  # of a batch's classes: neighbours of its others, as flavours of one design are
    handheld: bool = False  # views have fingers, glare, low light and shake as well, and are seldom mirrored
    pool_px: SidePx = 128
    deploy_px: SidePx = 128
    evaluate_every: Count = 1000
    network: EmbedderNetwork = field(default_factory=EmbedderNetwork)
    teacher: Teacher = field(default_factory=Teacher)
    teachers: tuple[EmbedderTeacher, ...] = ()  # the first one's embeddings are the student's targets
    whitening: WhitenedStart = field(default_factory=WhitenedStart)
    loss: EmbedderLoss = field(default_factory=EmbedderLoss)
    optimizer: Optimizer = field(default_factory=Optimizer)

    def __post_init__(self) -> None:
        if not self.data:
            raise RecipeError("'data' has no source")
        if not any(source.sampling_weight for source in self.data):
            raise RecipeError("every 'sampling_weight' is 0, so no picture would be drawn")
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
        self._check_sources()
        if unknowns := [name for name in self.select_by if name not in {eval_set.name for eval_set in self.eval}]:
            raise RecipeError(f"'select_by' names no eval set of this recipe: {unknowns[0]!r}")

    def _check_sources(self) -> None:
        before: dict[str, str] = {}  # lists, and whose labels they have
        names: set[str] = set()
        for source in self.data:
            if source.name in names:
                raise RecipeError(f"two sources of 'data' have the name {source.name!r}")
            names.add(source.name)
            other = source.same_labels_as
            if other and other not in before:
                raise RecipeError(f"'same_labels_as' names no list before {source.name!r}: {other!r}")
            if other and before[other]:
                told = f"must name {before[other]!r}, whose labels {other!r} has"
                raise RecipeError(f"'same_labels_as' of {source.name!r} {told}")
            if source.kind == "list":
                before[source.name] = other
        if unknown := [part.name for part in self.whitening.sources if part.name not in names]:
            raise RecipeError(f"'whitening' names no source of this recipe: {unknown[0]!r}")
        if self.whitening.sources and self.network.kind not in LITE_KINDS:
            raise RecipeError("'whitening' goes with the kinds " + ", ".join(LITE_KINDS))

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
