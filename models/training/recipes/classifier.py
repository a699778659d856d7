"""What a classifier's recipe holds: network, pictures by class, how they are augmented and sampled, and the optimiser."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from models.nets.names import UnknownNetworkError, require_known
from models.tables import Count, Flag, Float, Fraction, FractionBelowOne, NotNegative, Positive, Whole, known, rule
from models.training.recipes.distill import FrozenTeacher, ssld_has_a_teacher, ssld_has_no_peer, ssld_learns_something
from models.training.recipes.pictures import selects_by_its_own
from models.training.recipes.reading import SidePx, table

KINDS = ("list", "folders", "rendered")
Part = Annotated[Float, Field(gt=0, le=1)]


def _unknown_network(name: str) -> Iterator[str]:
    try:
        require_known(name)
    except UnknownNetworkError as error:
        yield error.detail


@table
class ClassSource:
    """Pictures with their classes. All sources and eval sets of a recipe are of one kind, which numbers the classes.

    `list`: lines "path<delimiter>class id" in `file`, below `root`. `folders`: a folder of pictures for each class below
    `root`, numbered in sorted order. `rendered`: `views` pictures of each of `products` products that the project renders,
    each a class of its own. Four seeds in turn are flavours of one product; with a `seed_step` of 4 or more they differ
    clearly. The first `skip_views` of a product are skipped, which makes an eval set on views never trained on.
    """

    kind: Annotated[str, known(*KINDS)]
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

    @rule("kind", "products")
    def _renders_something(self) -> Iterator[str]:
        if self.kind == "rendered" and self.products < 1:
            yield "'rendered' needs 'products'"


@table
class ClassSampler:
    """Every picture once an epoch. `batch` is over all processes, at the first of `scales` (sizes in pixels).

    With several scales each batch has a random one, and as many pictures as have the pixels of a batch at the first: the
    multi-scale sampler of PP-LCNetV2 (Mehta and Rastegari, "MobileViT", arXiv:2110.02178, section 3.2).
    """

    batch: Count = 256
    scales: tuple[SidePx, ...] = (224,)
    divisor: Count = 32  # sizes are rounded down to multiples of it

    @rule("scales", "divisor")
    def _sizes_are_large_enough(self) -> Iterator[str]:
        if not self.scales or min(self.scales) < self.divisor:
            yield f"needs sizes of {self.divisor} pixels ('divisor') or more"


@table
class ClassAugment:
    """A random part of the picture, stretched to a square and mirrored or not; `mixup_alpha` 0 mixes no pictures."""

    area: tuple[Part, Part] = (0.08, 1.0)  # of the picture, least and most
    aspect: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    flip: Fraction = 0.5
    mixup_alpha: NotNegative = 0.0  # Zhang et al., "mixup", arXiv:1710.09412

    @rule("area")
    def _area_is_in_order(self) -> Iterator[str]:
        if self.area[0] > self.area[1]:
            yield f"must have the lower number first, not {list(self.area)}"

    @rule("aspect")
    def _aspect_is_in_order(self) -> Iterator[str]:
        if self.aspect[0] > self.aspect[1]:
            yield f"must have the lower number first, not {list(self.aspect)}"


@table
class ClassOptimizer:
    """Momentum 0.9 with L2, or AdamW; linear warm-up and cosine decay by step; no average with `ema_decay` 0."""

    kind: Annotated[str, known("momentum", "adamw")] = "momentum"
    learning_rate: Positive = 0.1
    weight_decay: NotNegative = 3e-5
    decay_norms: Flag = False  # whether batch norms are decayed too
    warmup_epochs: NotNegative = 0.0
    ema_decay: FractionBelowOne = 0.0


@table
class ClassDistill:
    """What the classifier learns from besides labels, or instead of them; see models.training.tasks.classifier_distillation."""

    method: Annotated[str, known("ssld", "dml", "udml")]  # ssld, dml, udml
    teacher: FrozenTeacher | None = None  # ssld: of the same classes
    peer: str = ""  # dml, udml: another network's published name; empty: the student's own
    weight: NotNegative = 1.0  # of the comparison of logits
    distance_weight: NotNegative = 1.0  # udml: of the features'

    _ssld_has_a_teacher = ssld_has_a_teacher
    _ssld_has_no_peer = ssld_has_no_peer
    _ssld_learns_something = ssld_learns_something

    @rule("peer")
    def _peer_is_a_network(self) -> Iterator[str]:
        return _unknown_network(self.peer) if self.peer else iter(())


@table
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
    smoothing: FractionBelowOne = 0.1
    seed: Whole = 1
    deploy_px: SidePx = 224
    evaluate_every: Count = 1  # epochs

    @rule("network")
    def _network_exists(self) -> Iterator[str]:
        return _unknown_network(self.network)

    @rule("augment", "distill")
    def _teachers_take_no_mixtures(self) -> Iterator[str]:
        if self.distill is not None and self.distill.teacher and self.augment.mixup_alpha:
            yield "a frozen teacher takes pictures, not mixtures: no 'mixup_alpha' with it"

    @rule("data", "eval")
    def _sources_are_of_one_kind(self) -> Iterator[str]:
        if not self.data:
            yield "needs a source"
        if len({source.kind for source in (*self.data, *self.eval)}) > 1:
            yield "'data' and 'eval' must be of one kind, which numbers the classes"

    @rule("class_map", "data")
    def _only_lists_have_a_class_map(self) -> Iterator[str]:
        if self.class_map and any(source.kind != "list" for source in self.data):
            yield "goes with lists; other kinds name their classes themselves"

    _selects_by_its_own = selects_by_its_own
