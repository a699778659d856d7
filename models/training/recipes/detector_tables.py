"""The tables of a detector's recipe: where its pictures come from, how they are augmented, its losses and its teacher."""

from dataclasses import dataclass
from typing import Annotated

from models.training.recipes.bounds import Count, NotNegative, Positive, Share, Whole, Within
from models.training.recipes.embedder import RecipeError

SOURCES = ("rendered", "cutouts", "collages", "voc", "coco", "photos")

DRAWN = ("rendered", "cutouts", "collages")


@dataclass(frozen=True)
class PictureSource:
    """Where pictures come from.

    "rendered": scenes of rendered products. "cutouts": scenes of products cut out of gallery photos on plain backgrounds, so
    that gallery pictures alone train a detector; half of them on photos, if `backgrounds` names a list. "collages": bodies
    of a COCO file's photos side by side. "voc" and "coco": annotated photos, every category a main body. "photos":
    a list's photos with the boxes of a teacher; `holdout` keeps every fifth of them from training, in the list's order.
    """

    kind: str
    name: str
    sampling_weight: NotNegative = 1.0  # of a batch, relative to the other sources
    # rendered, cutouts and collages: how many scenes
    count: Whole = 0
    first_seed: Whole = 0
    bare: Share = 0.0  # rendered: share of the scenes that hold clutter and no product
    # voc: annotations/*.xml in it, beside the folder `images`; else: the folder that `file` is in
    root: str = ""
    file: str = ""  # cutouts and photos: a list of `path<delimiter>label`; coco: the annotations' JSON
    delimiter: str = "\t"
    backgrounds: str = (
        ""  # cutouts: a list of photos below the data folder (tabs or commas), out of focus behind scenes
    )
    images: str = "images"  # coco and voc: the pictures' folder below `root`
    holdout: bool = False  # voc: leave every second photo, in sorted order, out of training
    teacher: str = (
        ""  # photos: below the data folder, a raw PicoDet of COCO, or a detector artifact or official archive
    )
    largest: Share = 1.0  # photos, coco and voc: one with a body above this share of it is passed over

    def __post_init__(self) -> None:
        if self.kind not in SOURCES:
            raise RecipeError(f"'kind' must be one of {', '.join(SOURCES)}, not {self.kind!r}")
        if self.kind in DRAWN and self.count < 1:
            raise RecipeError(f"the kind {self.kind!r} needs a 'count'")


@dataclass(frozen=True)
class Variation:
    """How far a training picture may be changed."""

    zoom: tuple[Positive, Positive] = (0.6, 1.7)
    aspect: Annotated[float, Within(1)] = 1.3
    flip: Share = 0.5
    mosaic: Share = 0.3
    close_up: Share = 0.0  # share of the pictures zoomed onto one of their objects
    gain: Share = 0.3
    grey: Share = 0.05
    blur: Share = 0.15
    noise: Share = 0.2

    def __post_init__(self) -> None:
        if self.zoom[0] > self.zoom[1]:
            raise RecipeError(f"'zoom' must have the lower number first, not {list(self.zoom)}")


@dataclass(frozen=True)
class DetectionLoss:
    """Weights of the parts, and the assigner's constants; the defaults are the official detector's."""

    varifocal_weight: NotNegative = 1.0
    distribution_weight: NotNegative = 0.25
    giou_weight: NotNegative = 2.0
    assigner: str = "simota"  # or "atss"
    candidates: Count = 10  # simota: of all levels together
    assign_iou_weight: NotNegative = 6.0
    centre_radius: NotNegative = 2.5
    atss_candidates: Count = 9  # of each level
    atss_anchor: Positive = 8.0  # an anchor's side, in strides

    def __post_init__(self) -> None:
        if self.assigner not in ("simota", "atss"):
            raise RecipeError(f"'assigner' must be one of simota, atss, not {self.assigner!r}")


TEACHERS = ("", "teacher", "self")


@dataclass(frozen=True)
class Distillation:
    """Whom the detector imitates, and how much."""

    kind: str = ""  # "teacher": a frozen one; "self": the moving average of its own weights; "": nobody
    teacher: str = ""  # a detector artifact or official archive, below the data folder or by name
    score_weight: NotNegative = 0.25
    distribution_weight: NotNegative = 0.05
    temperature: Positive = 10.0
    from_share: Share = 0.0  # of all steps, after which it begins: an average is worth imitating only later

    def __post_init__(self) -> None:
        if self.kind not in TEACHERS:
            raise RecipeError(f"'kind' must be one of teacher, self or empty, not {self.kind!r}")
        if (self.kind == "teacher") != bool(self.teacher):
            raise RecipeError("'teacher' goes with the kind teacher")
