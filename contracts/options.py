"""The options of a recognition and of an enrolment: names, kinds, ranges, defaults and what each means, declared once.

The web's validation and its OpenAPI schema, the ranges of the command line and of the page, and what the worker's models
check all come from here. A test holds the table of docs/api.md to it.
"""

from __future__ import annotations

import difflib
import math
import numbers
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from contracts.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Mapping

WholeImage = Literal["always", "fallback", "never"]
Verify = Literal["auto", "always", "never"]
Compat = Literal["paddleclas"]
Crop = Literal["whole", "main_body"]
Boxes = list[list[int]]  # each x1, y1, x2, y2 in pixels of the upright photo, x2 and y2 exclusive
MOST_BOXES = 100
FARTHEST_PX = 1_000_000  # from the photo's corner; what lies outside of the photo is cut off


def option(default: Any, description: str, lowest: float | None = None, highest: float | None = None) -> Any:
    """A field of a class of options: its default, its meaning, and for a number the ends of its range, both allowed."""
    return field(default=default, metadata={"description": description, "lowest": lowest, "highest": highest})


@dataclass(frozen=True)
class Option:
    """One declared option: a number from `lowest` to `highest` (`whole`: no fractions), one of `choices`, `boxes`, or a `flag`.

    `nullable`: None is allowed, too. `annotation` is its type without None.
    """

    name: str
    annotation: Any
    default: Any
    description: str
    nullable: bool
    choices: tuple[str, ...] = ()
    lowest: float = -math.inf
    highest: float = math.inf

    @property
    def whole(self) -> bool:
        return self.annotation is int

    @property
    def boxes(self) -> bool:
        return bool(self.annotation == Boxes)

    @property
    def flag(self) -> bool:
        return self.annotation is bool

    def require(self, value: object) -> None:
        """Raises OptionsError unless `value` is allowed."""
        if value is None and self.nullable:
            return
        if self.flag:
            if not isinstance(value, bool):
                raise OptionsError(self.name, f"must be true or false, not {value!r}")
            return
        if self.boxes:
            if faults := box_faults(value):
                raise OptionsError(
                    self.name, "; ".join(f"{place}: {fault}" if place else fault for place, fault in faults)
                )
        elif not self.choices:
            require_number(self.name, value, self.lowest, self.highest, self.whole)
        elif value not in self.choices:
            known = ", ".join((*["null"] * self.nullable, *self.choices))
            raise OptionsError(self.name, f"must be one of {known}, not {value!r}")


@dataclass(frozen=True)
class RecognizeOptions:
    """How a photo is recognised. What is left out takes its default.

    Raises OptionsError. `compat` "paddleclas" reproduces PaddleClas' PP-ShiTu: whole image always and suppressing too, only
    the nearest item, whose similarity alone decides: by the threshold given, or the embedder's own. Nothing is verified.
    """

    detection_threshold: float | None = option(
        None, "Least confidence of a detected object; null takes the detector's own.", 0, 1
    )
    max_detections: int = option(5, "At most so many objects, the most confident first.", 1, 100)
    min_precision: float = option(
        0.9, "Of the answers given, this fraction should be right; less sure ones are candidates.", 0.5, 0.999
    )
    similarity_threshold: float | None = option(
        None, "Least similarity of a recognition; given, it decides instead of `min_precision`.", -1, 1
    )
    verify: Verify = option(
        "auto",
        "Whether local features of the crop are compared with those of the best items' pictures: "
        "where the embeddings leave a doubt and time allows, always, or never.",
    )
    verify_top: int = option(5, "How many of the best items are compared so.", 1, 20)
    top_k: int = option(5, "Matches listed for each recognition.", 1, 100)
    whole_image: WholeImage = option(
        "fallback", "Whether the whole photo is looked up too: always, when no object is recognised, or never."
    )
    suppression_iou: float = option(
        0.05,
        "Of recognitions that overlap more, only the likeliest stays, whatever their labels (with `compat`, the most similar).",
        0,
        1,
    )
    compat: Compat | None = option(
        None, "Reproduces PaddleClas' processing, and adds `result.paddleclas` in its format."
    )
    boxes: Boxes | None = option(
        None,
        "Looks up just these parts of the photo and detects nothing: 1 to 100 boxes, each x1, y1, x2, y2 in whole pixels of "
        "the upright photo. What lies outside of the photo is cut off. Each is answered, however much they overlap.",
    )
    trace: bool = option(
        False,
        "Adds `result.trace`: every candidate box, every match, the thresholds, and why each part became what it did.",
    )

    def __post_init__(self) -> None:
        for name, declared in RECOGNIZE_OPTIONS.items():
            declared.require(getattr(self, name))
        for name in useless_with_boxes({name: getattr(self, name) for name in RECOGNIZE_OPTIONS}):
            raise OptionsError(name, USELESS)

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> RecognizeOptions:
        """The options in a JSON object; what is left out takes its default. Raises OptionsError, for unknown names too."""
        for name in options:
            if name not in RECOGNIZE_OPTIONS:
                close = difflib.get_close_matches(str(name), RECOGNIZE_OPTIONS, n=1)
                raise OptionsError(str(name), "no such option" + (f"; did you mean {close[0]}?" if close else ""))
        return cls(**options)


@dataclass(frozen=True)
class EnrollOptions:
    """How pictures are added to a gallery."""

    crop: Crop = option("whole", "Embed the whole picture, or its main body.")
    skip_near_duplicates: bool = option(
        False, "Leave a picture out that is nearly one of the same label, by their embeddings; reported either way."
    )
    activate: bool = option(
        True, "Put the version that is made in force at once; false: it is staged, to be activated later."
    )


@dataclass(frozen=True)
class DetectOptions:
    """How objects are detected, nothing else."""

    detection_threshold: float | None = option(
        None, "Least confidence of a detected object; null takes the detector's own.", 0, 1
    )
    max_detections: int = option(100, "At most so many objects, the most confident first.", 1, 100)


@dataclass(frozen=True)
class EmbedOptions:
    """What of a photo is embedded."""

    boxes: Boxes | None = option(
        None, "Embeds just these parts, pixel by pixel: 1 to 100 boxes; null: the whole photo."
    )


@dataclass(frozen=True)
class ClassifyOptions:
    """What of a photo is classified, and how many classes are listed."""

    top_k: int = option(5, "Classes listed for each part, the likeliest first.", 1, 100)
    boxes: Boxes | None = option(None, "Classifies just these parts: 1 to 100 boxes; null: the whole photo.")


@dataclass(frozen=True)
class NearestOptions:
    """Which items of a gallery are found by a picture."""

    limit: int = option(20, "At most so many items, the most similar first.", 1, 1000)
    version: int | None = option(None, "A version that is kept; null: the one in force.", 1, 1_000_000_000)


def declared_by(owner: type) -> dict[str, Option]:
    """The options of a class of them, by name."""
    hints = typing.get_type_hints(owner)
    found = {}
    for member in fields(owner):
        kinds = get_args(hints[member.name]) if isinstance(hints[member.name], types.UnionType) else ()
        if get_origin(hints[member.name]) is typing.Union:
            kinds = get_args(hints[member.name])
        (kind,) = [one for one in kinds if one is not type(None)] or [hints[member.name]]
        meta = member.metadata
        ends = {} if meta["lowest"] is None else {"lowest": meta["lowest"], "highest": meta["highest"]}
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        nullable = type(None) in kinds
        found[member.name] = Option(member.name, kind, member.default, meta["description"], nullable, choices, **ends)
    return found


USELESS = "this has no effect with boxes, where nothing is detected; leave one of them out"


def box_faults(boxes: object) -> list[tuple[str, str]]:
    """What is wrong with boxes, each fault with its place: `1` is the second of them, `` all. None: nothing is."""
    if not isinstance(boxes, Sequence) or isinstance(boxes, str) or not 1 <= len(boxes) <= MOST_BOXES:
        return [("", f"must be a list of 1 to {MOST_BOXES} boxes")]
    faults = []
    for place, box in enumerate(boxes):
        if not isinstance(box, Sequence) or isinstance(box, str) or len(box) != 4:
            faults.append((str(place), f"must be the four numbers x1, y1, x2, y2, not {box!r:.60}"))
        elif not all(isinstance(one, numbers.Integral) and not isinstance(one, bool) for one in box):
            faults.append((str(place), f"must be of whole numbers of pixels, not {box!r:.60}"))
        elif not all(abs(one) <= FARTHEST_PX for one in box):
            faults.append((str(place), f"has a corner more than {FARTHEST_PX} pixels away"))
        elif box[0] >= box[2] or box[1] >= box[3]:
            faults.append((str(place), f"is empty: x1 < x2 and y1 < y2 must hold, and it is {list(box)}"))
    return faults


def useless_with_boxes(options: Mapping[str, Any]) -> list[str]:
    """The names of options, other than at their defaults, that mean nothing where the caller gives the boxes."""
    if options.get("boxes") is None:
        return []
    about = ("detection_threshold", "max_detections", "whole_image", "suppression_iou", "compat")
    return [
        name for name in about if options.get(name, RECOGNIZE_OPTIONS[name].default) != RECOGNIZE_OPTIONS[name].default
    ]


def outside(box: Sequence[int], width: int, height: int) -> bool:
    """Whether no pixel of a photo of this size is in `box`."""
    return box[0] >= width or box[1] >= height or box[2] <= 0 or box[3] <= 0


def require_number(name: str, value: object, lowest: float, highest: float, whole: bool) -> None:
    """Raises OptionsError unless `value` is a number from `lowest` to `highest`; numpy's are numbers too."""
    is_number = isinstance(value, numbers.Integral if whole else numbers.Real) and not isinstance(value, bool)
    if not is_number or not lowest <= float(value) <= highest:  # type: ignore[arg-type]  # a Real has a float
        kind = "a whole number" if whole else "a number"
        end = f"to {highest:g}" if math.isfinite(highest) else "on"
        raise OptionsError(name, f"must be {kind} from {lowest:g} {end}, not {value!r}")


RECOGNIZE_OPTIONS = declared_by(RecognizeOptions)
ENROLL_OPTIONS = declared_by(EnrollOptions)
DETECT_OPTIONS = declared_by(DetectOptions)
EMBED_OPTIONS = declared_by(EmbedOptions)
CLASSIFY_OPTIONS = declared_by(ClassifyOptions)
NEAREST_OPTIONS = declared_by(NearestOptions)
