"""What a demo found and missed: each product's outcome, whether that is enough, the table, and the pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw
from rich.table import Table

from infra.pictures.drawing import SMALLEST_PX, WHITE
from infra.pictures.fonts import font_for
from models.synth.scenes import Scene
from shitu.cli.annotate import annotate
from shitu.cli.tables import print_table

LEAST_RIGHT = 11  # of the 12 products
MATCH_IOU = 0.5
GUESSES = 3  # shown of a detection that was not answered
MISSED_COLOUR = (70, 70, 70)

Kind = Literal["right", "wrong", "unsure", "missed"]
KINDS: dict[Kind, str] = {
    "right": "right",
    "wrong": "taken for another",
    "unsure": "without an answer",
    "missed": "not found",
}


@dataclass(frozen=True)
class Answer:
    """One photo's job as the service reported it, and what really is in the photo."""

    scene: Scene
    job: Mapping[str, Any]
    webhook: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The photo's file name."""
        return str(self.job["request"]["image"]["name"])


@dataclass(frozen=True)
class Outcome:
    """What became of a product in a photo. `detection` is the recognition, or the dropped detection, at its place, if any."""

    photo: str
    label: str
    box: tuple[float, ...]
    kind: Kind
    detection: Mapping[str, Any] | None


def outcomes(answer: Answer) -> list[Outcome]:
    """Each product of a photo: what was answered at its place, or else what was found there and dropped, or nothing."""
    recognitions, dropped = (list(answer.job["result"].get(key, ())) for key in ("recognitions", "dropped"))
    found = []
    for box, label in zip(answer.scene.boxes, answer.scene.labels, strict=True):
        kind: Kind
        if detection := _take(box, recognitions):
            kind = "right" if detection["label"] == label else "wrong"
        else:
            detection = _take(box, dropped)
            kind = "unsure" if detection else "missed"
        found.append(Outcome(answer.name, label, tuple(map(float, box)), kind, detection))
    return found


def strays(answer: Answer) -> list[Mapping[str, Any]]:
    """The recognitions that are at no product's place."""
    taken = [outcome.detection for outcome in outcomes(answer)]
    return [one for one in answer.job["result"]["recognitions"] if not any(one is detection for detection in taken)]


def machinery_faults(answers: Sequence[Answer], refused: Sequence[str] = ()) -> list[str]:
    """What is wrong with the machinery, whatever the networks say: webhooks that report another result, or are not to be believed."""
    lines = [
        f"{answer.name}: the webhook has another result than the poll"
        for answer in answers
        if answer.webhook["data"]["result"] != answer.job["result"]
    ]
    return lines + [f"a webhook was refused: {reason}" for reason in refused]


def shortfall(found: Sequence[Outcome], faults: Sequence[str]) -> list[str]:
    """Why the demo fails: too few products right, or any fault of the machinery. Empty if it does not."""
    right = sum(outcome.kind == "right" for outcome in found)
    few = [f"{right} of {len(found)} products are right; it takes {LEAST_RIGHT}"] if right < LEAST_RIGHT else []
    return [*few, *faults]


def summary(found: Sequence[Outcome]) -> str:
    """How many products became what: `11 of 12 products right, 1 not found`."""
    counts = {kind: sum(outcome.kind == kind for outcome in found) for kind in KINDS}
    others = [f"{count} {KINDS[kind]}" for kind, count in counts.items() if count and kind != "right"]
    return ", ".join([f"{counts['right']} of {len(found)} products right", *others])


def guesses(detection: Mapping[str, Any]) -> list[str]:
    """The best guesses at a dropped detection, each with its probability, or its similarity where there is none."""
    report = detection.get("candidates") or detection.get("matches", ())[:1]
    return [f"{one['label']} {one.get('probability', one['similarity']):.2f}" for one in report[:GUESSES]]


def show(answers: Sequence[Answer]) -> None:
    """The table: every product with its outcome, and below them what was answered elsewhere."""
    table = Table(title="What the service found and missed")
    for column in (
        "image",
        "product",
        "outcome",
        "box",
        "similarity",
        "confidence",
        "decode / detect / embed / search ms",
    ):
        table.add_column(column, justify="left" if column in ("image", "product", "outcome") else "right")
    for answer in answers:
        name, times = answer.name, answer.job["result"]["timings_ms"]
        stages = " / ".join(f"{times[stage]:.1f}" for stage in ("decode", "detect", "embed", "search"))
        for outcome in outcomes(answer):
            table.add_row(name, outcome.label, _reported(outcome), *_numbers(outcome.detection), stages)
            name = stages = ""
        for one in strays(answer):
            table.add_row("", "—", f"{one['label']} answered where no product is", *_numbers(one), "")
        table.add_section()
    print_table(table)


def _reported(outcome: Outcome) -> str:
    if outcome.kind == "wrong" and outcome.detection is not None:
        return f"taken for {outcome.detection['label']}"
    if outcome.kind == "unsure" and outcome.detection is not None:
        guess = next(iter(guesses(outcome.detection)), "none")
        return f"no answer; best guess: {guess}"
    return KINDS[outcome.kind]


def _numbers(detection: Mapping[str, Any] | None) -> tuple[str, str, str]:
    """Box, similarity and confidence."""
    if detection is None:
        return "", "", ""
    similarity = detection.get(
        "similarity", next((match["similarity"] for match in detection.get("matches", ())), None)
    )
    written, sure = ("" if value is None else f"{value:.2f}" for value in (similarity, detection["confidence"]))
    return ", ".join(f"{value:.0f}" for value in detection["box"]), written, sure


def picture(answer: Answer) -> Image.Image:
    """The photo with its answers drawn over it, and in grey what was missed: best guesses, the right label, or that nothing was found."""
    image = annotate(answer.scene.image, answer.job["result"]["recognitions"])
    draw = ImageDraw.Draw(image)
    size = max(SMALLEST_PX, round(min(image.size) / 36))
    for outcome in outcomes(answer):
        if outcome.kind == "right":
            continue
        box = outcome.box if outcome.detection is None else tuple(map(float, outcome.detection["box"]))
        if outcome.kind == "wrong":
            lines = [f"is {outcome.label}"]
        elif outcome.detection is None:
            lines = [f"not found: {outcome.label}"]
        else:
            lines = [f"is {outcome.label}", *(f"? {guess}" for guess in guesses(outcome.detection))]
        if outcome.kind != "wrong":
            edge, line = (box[0], box[1], box[2] - 1, box[3] - 1), max(2, size // 6)
            draw.rectangle(edge, outline=WHITE, width=line + 2)  # on dark photos grey alone would not show
            draw.rectangle(edge, outline=MISSED_COLOUR, width=line)
        _write(draw, image, box, lines, size)
    return image


def _write(
    draw: ImageDraw.ImageDraw, image: Image.Image, box: Sequence[float], lines: Sequence[str], size: int
) -> None:
    """The lines on grey at the foot of a box, within the picture."""
    text = "\n".join(lines)
    font = font_for(text.replace("\n", " "), size) or font_for("?", size)
    left, top, right, bottom = draw.multiline_textbbox((0, 0), text, font=font)
    pad = size // 4
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x, y = (
        max(0.0, min(at, whole - own))
        for at, whole, own in ((box[0], image.width, width), (box[3], image.height, height))
    )
    draw.rectangle((x, y, x + width, y + height), fill=MISSED_COLOUR)
    draw.multiline_text((x + pad - left, y + pad - top), text, fill=WHITE, font=font)


def _take(box: Any, detections: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Removes from `detections` the one that fits a box best, and gives it; None if none fits."""
    best = max(detections, key=lambda detection: overlap(box, detection["box"]), default=None)
    if best is None or overlap(box, best["box"]) < MATCH_IOU:
        return None
    detections.remove(best)
    return best


def overlap(first: Any, second: Any) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    areas = [float((box[2] - box[0]) * (box[3] - box[1])) for box in (first, second)]
    return shared / max(sum(areas) - shared, 1e-9)
