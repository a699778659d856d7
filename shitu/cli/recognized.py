"""What `shitu recognize` prints of its answers, which are the JSON of docs/api.md wherever they come from."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from contracts.names import shown
from shitu.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

GUESSES = 3  # shown of a part that is not sure enough
ROOMY = 200  # columns of a terminal that has room for their items
WIDE = 110  # columns of a terminal that has room for all numbers

Json = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What was found in a photo, as JSON; with the option `compat` also as `paddleclas`."""

    path: Path | str  # or an address
    found: Json


def print_answers(answers: Sequence[Answer], shape: str) -> None:
    """As a table, as json, or in paddleclas' format."""
    if shape == "json":
        report = [{"photo": shown(answer.path), **answer.found} for answer in answers]
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))
        return
    if shape == "paddleclas":
        for answer in answers:
            click.echo(str(answer.found["paddleclas"]))
        return
    if not answers:
        return
    table = Table(caption=_decided(answers[0].found.get("decision")), caption_justify="left")
    parts = [part for answer in answers for part in (*answer.found["recognitions"], *answer.found["dropped"])]
    compared = any(part["verification"] for part in parts)
    narrow = sys.stdout.isatty() and shutil.get_terminal_size().columns < WIDE
    compared = compared and not narrow
    for column in ("photo", "box", "label", "probability", *["similarity", "confidence"] * (not narrow)):
        words = column in ("photo", "label")
        table.add_column(column, justify="left" if words else "right", overflow="fold", no_wrap=not words)
    if compared:
        table.add_column("inliers", justify="right")
    most = 1 if narrow else 3  # of the numbers: a narrow terminal has room for names and labels first
    for answer in answers:
        name = Text(shown(answer.path))
        if not answer.found["recognitions"]:
            table.add_row(name, "", f"— ({answer.found['reason']})", *[""] * most)
        for one in answer.found["recognitions"]:
            numbers = (likely(one["probability"]), f"{one['similarity']:.2f}", _confidence(one["confidence"]))
            label = Text(one["label"] + (f" ({shown(one['gallery'])})" if "gallery" in one else ""))
            table.add_row(name, _box(one["box"]), label, *numbers[:most], *[_inliers(one)] * compared)
        for part in answer.found["dropped"]:
            if part["reason"].startswith("below_") or part["reason"] == "unlike_whole_image":
                guesses = Text("? " + ", ".join(_guess(one) for one in part["candidates"][:GUESSES]))
                numbers = ("", "", _confidence(part["confidence"]))
                table.add_row(name, _box(part["box"]), guesses, *numbers[:most], *[_inliers(part)] * compared)
    print_table(table)


def _decided(decision: Mapping[str, Any] | None) -> str | None:
    """The threshold in force and how it came about."""
    if decision is None:
        return None
    if decision["similarity_threshold"] is not None:
        return f"answers from similarity {decision['similarity_threshold']:.2f} on"
    by = "the gallery's own pictures" if decision["calibration"] == "gallery" else "the embedder's evaluation"
    least = decision["probability_threshold"]
    if decision["calibration"] == "uncalibrated":
        return f"answers from probability {least:.3g} on, uncalibrated: binary codes alone (--rerank, or --threshold)"
    wanted = decision["min_precision"]
    return f"answers from probability {least:.3g} on, for a precision of {wanted:g}, calibrated by {by}"


def likely(probability: float) -> str:
    """Two digits; nothing is certain."""
    return f"{min(probability, 0.99):.2f}"


def _guess(one: Mapping[str, Any]) -> str:
    """A candidate, with the item to look at where there is room for it."""
    roomy = not sys.stdout.isatty() or shutil.get_terminal_size().columns >= ROOMY
    return f"{one['label']} {likely(one['probability'])}" + (f" ({one['item_id']})" if roomy else "")


def _inliers(part: Mapping[str, Any]) -> str:
    return "" if part["verification"] is None else str(part["verification"]["inliers"])


def _box(box: Sequence[int]) -> str:
    return ", ".join(map(str, box))


def _confidence(confidence: float | None) -> str:
    return "" if confidence is None else f"{confidence:.2f}"
