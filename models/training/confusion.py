"""Confusion tables: which label was answered for which, as counts, JSON, CSV, and a picture of the worst."""

import csv
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from models.training.sheets import INK, PAPER, font_of, shortened, written

NOT_FOUND, NOTHING_THERE = "(not found)", "(nothing there)"
MOST_SHOWN = 24  # labels in the picture: more can't be read
CELL_PX, TEXT_PX, LABEL_PX, GAP_PX = 34, 13, 150, 12
OTHERS = "(others)"

Label = str | None
Pair = tuple[Label, Label]


@dataclass(frozen=True)
class Confusion:
    """How often each pair of (truth, answer) was seen. No answer: it was not found. No truth: nothing was there."""

    counts: dict[Pair, int]

    @property
    def labels(self) -> list[str]:
        """All labels that are or were answered, sorted."""
        return sorted({label for pair in self.counts for label in pair if label is not None})

    def to_dict(self) -> dict[str, Any]:
        """The labels, and the pairs seen, mistakes first and most frequent first; null for none."""
        order = sorted(self.counts.items(), key=lambda e: (e[0][0] == e[0][1], -e[1], e[0][0] or "", e[0][1] or ""))
        pairs = [{"truth": truth, "answer": answer, "count": count} for (truth, answer), count in order]
        return {"labels": self.labels, "pairs": pairs}


def count_pairs(pairs: Iterable[Pair]) -> Confusion:
    """The table of these (truth, answer) pairs."""
    return Confusion(dict(Counter(pairs)))


def write_confusion(confusion: Confusion, folder: Path) -> None:
    """`confusion.json`, `confusion.csv` (all labels) and `confusion.png` (the most confused) in `folder`."""
    text = json.dumps(confusion.to_dict(), ensure_ascii=False, indent=2)
    (folder / "confusion.json").write_text(text + "\n", encoding="utf-8")
    columns: list[Label] = [*confusion.labels, None]
    with (folder / "confusion.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["truth \\ answer", *confusion.labels, NOT_FOUND])
        for truth in columns:
            name = NOTHING_THERE if truth is None else truth
            table.writerow([name, *(confusion.counts.get((truth, answer), 0) for answer in columns)])
    draw_confusion(confusion, folder / "confusion.png")


def shown_labels(confusion: Confusion, most: int = MOST_SHOWN) -> list[str]:
    """The labels with most mistakes, as truth or as answer; all if they are few. In sorted order."""
    mistakes = Counter[str]()
    for pair, count in confusion.counts.items():
        if pair[0] != pair[1]:
            mistakes.update({label: count for label in set(pair) if label is not None})
    return sorted(sorted(confusion.labels, key=lambda label: -mistakes[label])[:most])


def draw_confusion(confusion: Confusion, file: Path) -> None:
    """A table as a PNG: a row for each truth, a column for each answer; right answers green, mistakes red."""
    shown = shown_labels(confusion)
    folded = len(shown) < len(confusion.labels)
    names = {**written(confusion.labels), OTHERS: OTHERS}
    sides: list[Label] = [*shown, *([OTHERS] if folded else []), None]
    cells = _folded(confusion, set(shown))
    font, heading, small = font_of(TEXT_PX), font_of(TEXT_PX + 3), font_of(TEXT_PX - 2)
    of, right = (
        sum(confusion.counts.values()),
        sum(n for (truth, answer), n in confusion.counts.items() if truth == answer),
    )
    title = f"{right} of {of} right" + (
        f"; the {len(shown)} most confused of {len(confusion.labels)} labels" if folded else ""
    )
    top, left = 3 * GAP_PX + TEXT_PX + LABEL_PX, 2 * GAP_PX + LABEL_PX
    side = CELL_PX * len(sides)
    width = max(left + side + GAP_PX, 2 * GAP_PX + round(heading.getlength(title)))
    picture = Image.new("RGB", (width, top + side + GAP_PX), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((GAP_PX, GAP_PX), title, fill=INK, font=heading)
    draw.text((GAP_PX, top - TEXT_PX - 8), "row: is   column: answered", fill=INK, font=small)
    for place, label in enumerate(sides):
        row = shortened(NOTHING_THERE if label is None else names[label], font, LABEL_PX)
        middle = CELL_PX * place + CELL_PX // 2
        draw.text((left - 6, top + middle), row, fill=INK, font=font, anchor="rm")
        column = Image.new("RGB", (LABEL_PX, TEXT_PX + 6), PAPER)
        text = shortened(NOT_FOUND if label is None else names[label], font, LABEL_PX - 2)
        ImageDraw.Draw(column).text((0, (TEXT_PX + 6) // 2), text, fill=INK, font=font, anchor="lm")
        upright = column.rotate(90, expand=True)
        picture.paste(upright, (left + middle - upright.width // 2, top - 6 - LABEL_PX))
    for row_place, truth in enumerate(sides):
        largest = max((cells[truth, answer] for answer in sides), default=0)
        for column_place, answer in enumerate(sides):
            x, y = left + CELL_PX * column_place, top + CELL_PX * row_place
            count = cells[truth, answer]
            is_right = truth == answer and truth is not None
            fill = _shade(count / largest, right=is_right) if count else PAPER
            draw.rectangle((x, y, x + CELL_PX, y + CELL_PX), fill=fill, outline=(225, 225, 225))
            if count:
                ink = PAPER if count / largest > 0.55 else INK
                number = str(count) if count < 10_000 else f"{count // 1000}k"
                draw.text((x + CELL_PX // 2, y + CELL_PX // 2), number, fill=ink, font=font, anchor="mm")
    picture.save(file)


def _folded(confusion: Confusion, shown: set[str]) -> Counter[Pair]:
    """The counts with all other labels as one. Their right answers are not counted: among them they would look like mistakes."""
    cells = Counter[Pair]()
    for (truth, answer), count in confusion.counts.items():
        pair = tuple(label if label is None or label in shown else OTHERS for label in (truth, answer))
        if pair != (OTHERS, OTHERS):
            cells[pair[0], pair[1]] += count
    return cells


def _shade(share: float, *, right: bool) -> tuple[int, int, int]:
    strong = (30, 130, 60) if right else (190, 40, 40)
    weight = 0.15 + 0.85 * share
    return (
        round(255 + (strong[0] - 255) * weight),
        round(255 + (strong[1] - 255) * weight),
        round(255 + (strong[2] - 255) * weight),
    )
