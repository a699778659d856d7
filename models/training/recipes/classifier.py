"""What a classifier's recipe holds: network, pictures by class, how they are changed and dealt out, and the optimiser."""

from dataclasses import dataclass
from typing import Annotated

from models.nets.names import UnknownNetworkError, require_known
from models.training.recipes.bounds import Count, NotNegative, PartOfOne, Positive, Share, SidePx, Whole, Within
from models.training.recipes.distill import FrozenTeacher
from models.training.recipes.embedder import RecipeError

KINDS = ("list", "folders", "rendered")
Part = Annotated[float, Within(0, 1, above=True)]


def _require_network(key: str, name: str) -> None:
    try:
        require_known(name)
    except UnknownNetworkError as error:
        raise RecipeError(f"{key!r}: {error.detail}") from error


@dataclass(frozen=True)
class ClassSource:
    """Pictures with their classes. All sources and eval sets of a recipe are of one kind, which numbers the classes.

    `list`: lines "path<delimiter>class id" in `file`, below `root`. `folders`: a folder of pictures for each class below
    `root`, numbered in sorted order. `rendered`: `views` pictures of each of `products` products that the project draws,
    each a class of its own. Four seeds in turn are flavours of one product; a `seed_step` of 4 or more tells them apart
    easily. The first `skip_views` of a product are passed over, which makes an eval set on views never trained on.
    """

    kind: str
    name: str
    root: str = ""
    file: str = ""
    delimiter: str = " "
    products: Whole = 0
    views: Count = 6
    skip_views: Whole = 0
    first_seed: Whole = 0
    seed_step: Count = 1
    rendered_px: SidePx = 48

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise RecipeError(f"'kind' must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.kind == "rendered" and self.products < 1:
            raise RecipeError(f"the source {self.name!r} draws nothing: it needs 'products'")


@dataclass(frozen=True)
class ClassSampler:
    """Every picture once an epoch. `batch` is over all processes, at the first of `scales` (sizes in pixels).

    With several scales each batch has one by lot, and as many pictures as have the pixels of a batch at the first: the
    multi-scale sampler of PP-LCNetV2 (Mehta and Rastegari, "MobileViT", arXiv:2110.02178, section 3.2).
    """

    batch: Count = 256
    scales: tuple[SidePx, ...] = (224,)
    divisor: Count = 32  # sizes are rounded down to multiples of it

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) < self.divisor:
            raise RecipeError(f"'scales' needs sizes of {self.divisor} pixels ('divisor') or more")


@dataclass(frozen=True)
class ClassAugment:
    """A random part of the picture, stretched to a square and mirrored or not; `mixup_alpha` 0 mixes no pictures."""

    area: tuple[Part, Part] = (0.08, 1.0)  # of the picture, least and most
    aspect: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    flip: Share = 0.5
    mixup_alpha: NotNegative = 0.0  # Zhang et al., "mixup", arXiv:1710.09412

    def __post_init__(self) -> None:
        for key, pair in (("area", self.area), ("aspect", self.aspect)):
            if pair[0] > pair[1]:
                raise RecipeError(f"{key!r} must be two numbers, the lower first")


@dataclass(frozen=True)
class ClassOptimizer:
    """Momentum 0.9 with L2, or AdamW; linear warm-up and cosine decay by step; no average with `ema_decay` 0."""

    kind: str = "momentum"
    learning_rate: Positive = 0.1
    weight_decay: NotNegative = 3e-5
    decay_norms: bool = False  # whether batch norms are decayed too
    warmup_epochs: NotNegative = 0.0
    ema_decay: PartOfOne = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("momentum", "adamw"):
            raise RecipeError(f"'kind' must be momentum or adamw, not {self.kind!r}")


@dataclass(frozen=True)
class ClassDistill:
    """What the classifier learns from besides labels, or instead of them; see models.training.tasks.classifier_distillation."""

    method: str  # ssld, dml, udml
    teacher: FrozenTeacher | None = None  # ssld: of the same classes
    peer: str = ""  # dml, udml: another network's published name; empty: the student's own
    weight: NotNegative = 1.0  # of the comparison of logits
    distance_weight: NotNegative = 1.0  # udml: of the features'

    def __post_init__(self) -> None:
        if self.method not in ("ssld", "dml", "udml"):
            raise RecipeError(f"'method' must be one of ssld, dml, udml, not {self.method!r}")
        if (self.method == "ssld") != (self.teacher is not None):
            raise RecipeError("'ssld' needs a table 'teacher', and the other methods have none")
        if self.method == "ssld" and self.peer:
            raise RecipeError("'ssld' has no 'peer'")
        if self.method == "ssld" and not self.weight:
            raise RecipeError("'ssld' with a 'weight' of 0 learns nothing")
        if self.peer:
            _require_network("peer", self.peer)


@dataclass(frozen=True)
class ClassifierRecipe:
    """Everything that decides what a classifier becomes, besides the pictures themselves."""

    name: str
    network: str  # by its published name
    data: tuple[ClassSource, ...]
    epochs: Count
    class_num: Whole = 0  # 0: as many as the data have
    class_map: str = ""  # of lists: the file that names the classes, below the data folder
    eval: tuple[ClassSource, ...] = ()
    select_by: tuple[str, ...] = ()  # eval sets whose mean top-1 decides which weights are kept; empty: all
    sampler: ClassSampler = ClassSampler()
    augment: ClassAugment = ClassAugment()
    optimizer: ClassOptimizer = ClassOptimizer()
    distill: ClassDistill | None = None
    smoothing: PartOfOne = 0.1
    seed: Whole = 1
    deploy_px: SidePx = 224
    evaluate_every: Count = 1  # epochs

    def __post_init__(self) -> None:
        _require_network("network", self.network)
        if self.distill is not None and self.distill.teacher and self.augment.mixup_alpha:
            raise RecipeError("a frozen teacher takes pictures, not mixtures: no 'mixup_alpha' with it")
        if not self.data:
            raise RecipeError("'data' has no source")
        if len({source.kind for source in (*self.data, *self.eval)}) > 1:
            raise RecipeError("'data' and 'eval' must be of one kind, which numbers the classes")
        if self.class_map and self.data[0].kind != "list":
            raise RecipeError("'class_map' goes with lists; other kinds name their classes themselves")
        if unknowns := [name for name in self.select_by if name not in {eval_set.name for eval_set in self.eval}]:
            raise RecipeError(f"'select_by' names no eval set of this recipe: {unknowns[0]!r}")
