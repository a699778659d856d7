"""The tables of a detector's recipe: where its pictures come from, how they are augmented, its losses and its teacher."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from models.tables import Count, Flag, Float, Fraction, NotNegative, Positive, Whole, known, rule
from models.training.recipes.reading import table

SOURCES = ("rendered", "cutouts", "collages", "voc", "coco", "photos")
SYNTHETIC = ("rendered", "cutouts", "collages")


@table
class PictureSource:
    """Where pictures come from.

    "rendered": scenes of rendered products. "cutouts": scenes of products cut out of gallery photos on plain backgrounds, so
    that gallery pictures alone train a detector; half of them on photos, if `backgrounds` names a list. "collages": objects
    of a COCO file's photos side by side. "voc" and "coco": annotated photos, every category a main body. "photos":
    a list's photos with the boxes of a teacher; `holdout` keeps every fifth of them from training, in the list's order.
    """

    kind: Annotated[str, known(*SOURCES)]
    name: str
    sampling_weight: NotNegative = 1.0  # of a batch, relative to the other sources
    # rendered, cutouts and collages: how many scenes
    count: Whole = 0
    first_seed: Whole = 0
    bare: Fraction = 0.0  # rendered: fraction of the scenes that hold clutter and no product
    # voc: annotations/*.xml in it, next to the folder `images`; else: the folder that `file` is in
    root: str = ""
    file: str = ""  # cutouts and photos: a list of `path<delimiter>label`; coco: the annotations' JSON
    delimiter: str = "\t"
    # cutouts: a list of photos below the data folder (tabs or commas), out of focus, as backgrounds of scenes
    backgrounds: str = ""
    images: str = "images"  # coco and voc: the pictures' folder below `root`
    holdout: Flag = False  # voc: leave every second photo, in sorted order, out of training
    # photos: below the data folder, a raw PicoDet of COCO, or a detector artifact or official archive
    teacher: str = ""
    largest: Fraction = 1.0  # photos, coco and voc: one with an object above this fraction of it is left out

    @rule("count", "kind")
    def _makes_scenes(self) -> Iterator[str]:
        if self.kind in SYNTHETIC and self.count < 1:
            yield f"{self.kind!r} needs a 'count' of 1 or more"


@table
class Variation:
    """How far a training picture may be augmented."""

    zoom: tuple[Positive, Positive] = (0.6, 1.7)
    aspect: Annotated[Float, Field(ge=1)] = 1.3
    flip: Fraction = 0.5
    mosaic: Fraction = 0.3
    close_up: Fraction = 0.0  # fraction of the pictures zoomed onto one of their objects
    gain: Fraction = 0.3
    grey: Fraction = 0.05
    blur: Fraction = 0.15
    noise: Fraction = 0.2

    @rule("zoom")
    def _zoom_is_in_order(self) -> Iterator[str]:
        if self.zoom[0] > self.zoom[1]:
            yield f"must have the lower number first, not {list(self.zoom)}"


@table
class DetectionLoss:
    """Weights of the parts, and the assigner's constants; the defaults are the official detector's."""

    varifocal_weight: NotNegative = 1.0
    distribution_weight: NotNegative = 0.25
    giou_weight: NotNegative = 2.0
    assigner: Annotated[str, known("simota", "atss")] = "simota"  # or "atss"
    candidates: Count = 10  # simota: of all levels together
    assign_iou_weight: NotNegative = 6.0
    centre_radius: NotNegative = 2.5
    atss_candidates: Count = 9  # of each level
    atss_anchor: Positive = 8.0  # an anchor's side, in strides


TEACHERS = ("", "teacher", "self")


@table
class Distillation:
    """What the detector imitates, and how much."""

    # "teacher": a frozen one; "self": the moving average of its own weights; "": nothing
    kind: Annotated[str, known(*TEACHERS)] = ""
    teacher: str = ""  # a detector artifact or official archive, below the data folder or by name
    score_weight: NotNegative = 0.25
    distribution_weight: NotNegative = 0.05
    temperature: Positive = 10.0
    from_fraction: Fraction = 0.0  # of all steps, after which it begins: an average is worth imitating only later

    @rule("teacher", "kind")
    def _teacher_is_named(self) -> Iterator[str]:
        if (self.kind == "teacher") != bool(self.teacher):
            yield "goes with the kind 'teacher', which needs it"
