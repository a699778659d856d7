"""Confusion tables: which label was answered for which, as counts, JSON, CSV, and a picture of the worst."""

import csv
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from models.evaluation.contact_sheets import INK, PAPER, font_of, shortened, written

NOT_FOUND, NOTHING_THERE = "(not found)", "(nothing there)"
MOST_SHOWN = 24  # labels in the picture: more can't be read
CELL_PX, TEXT_PX, LABEL_PX, GAP_PX = 34, 13, 150, 12
OTHERS = "(others)"
KEY = "a row for each thing as it is, a column for each answer"
NUMBERED = "label N: the Nth label in confusion.json"
GRID = (225, 225, 225)

Label = str | None
Pair = tuple[Label, Label]


@dataclass(frozen=True)
class Confusion:
    """How often each pair of (truth, answer) was seen. No answer: it was not found. No truth: nothing was there."""

    counts: dict[Pair, int]
    labels: tuple[str, ...]  # sorted
    unknowns: frozenset[str] = frozenset()  # labels that could not be answered: with them, no answer is right

    def is_right(self, pair: Pair) -> bool:
        """Whether the answer of a pair is the one wanted."""
        truth, answer = pair
        return answer is None if truth in self.unknowns else truth == answer

    def to_dict(self) -> dict[str, Any]:
        """The labels, and the pairs seen, mistakes first and most frequent first; null for none."""
        order = sorted(self.counts.items(), key=lambda e: (self.is_right(e[0]), -e[1], e[0][0] or "", e[0][1] or ""))
        pairs = [{"truth": truth, "answer": answer, "count": count} for (truth, answer), count in order]
        return {"labels": list(self.labels), "unknowns": sorted(self.unknowns), "pairs": pairs}


def count_pairs(pairs: Iterable[Pair], labels: Iterable[str] = (), unknowns: Iterable[str] = ()) -> Confusion:
    """The table of these (truth, answer) pairs; `labels` are those that it has in any case."""
    counts = Counter(pairs)
    seen = {label for pair in counts for label in pair if label is not None}
    return Confusion(dict(counts), tuple(sorted(seen.union(labels))), frozenset(unknowns))


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
        if not confusion.is_right(pair):
            mistakes.update({label: count for label in set(pair) if label is not None})
    return sorted(sorted(confusion.labels, key=lambda label: -mistakes[label])[:most])


def draw_confusion(confusion: Confusion, file: Path) -> None:
    """A table as a PNG: a row for each truth, a column for each answer; right answers green, mistakes red."""
    shown = shown_labels(confusion)
    names = written(confusion.labels)
    sides: list[Label] = [*shown, *([OTHERS] if len(shown) < len(names) else []), None]
    cells = _folded(confusion, set(shown))
    font, heading = font_of(TEXT_PX), font_of(TEXT_PX + 3)
    rows, columns = (
        [shortened(nobody if label is None else names.get(label, label), font, LABEL_PX) for label in sides]
        for nobody in (NOTHING_THERE, NOT_FOUND)
    )
    lines = [*_title(confusion, len(shown)), KEY, *([NUMBERED] if any(names[one] != one for one in names) else [])]
    label_px = 1 + round(max(font.getlength(text) for text in [*rows, *columns]))
    top, left = (len(lines) + 1) * (TEXT_PX + 6) + label_px + 2 * GAP_PX, 2 * GAP_PX + label_px
    side = CELL_PX * len(sides)
    width = max(left + side, GAP_PX + round(max(heading.getlength(line) for line in lines))) + GAP_PX
    picture = Image.new("RGB", (width, top + side + GAP_PX), PAPER)
    draw = ImageDraw.Draw(picture)
    for above, line in enumerate(lines):
        draw.text((GAP_PX, GAP_PX + above * (TEXT_PX + 6)), line, fill=INK, font=font if above else heading)
    for place, (row, column) in enumerate(zip(rows, columns, strict=True)):
        middle = CELL_PX * place + CELL_PX // 2
        draw.text((left - 6, top + middle), row, fill=INK, font=font, anchor="rm")
        across = Image.new("RGB", (label_px, TEXT_PX + 6), PAPER)
        ImageDraw.Draw(across).text((0, (TEXT_PX + 6) // 2), column, fill=INK, font=font, anchor="lm")
        upright = across.rotate(90, expand=True)
        picture.paste(upright, (left + middle - upright.width // 2, top - 6 - label_px))
    for row_place, truth in enumerate(sides):
        largest = max(cells[truth, answer] for answer in sides)
        for column_place, answer in enumerate(sides):
            count = cells[truth, answer]
            fraction = count / largest if count else 0.0
            fill = _shade(fraction, right=confusion.is_right((truth, answer))) if count else PAPER
            x, y = left + CELL_PX * column_place, top + CELL_PX * row_place
            draw.rectangle((x, y, x + CELL_PX, y + CELL_PX), fill=fill, outline=GRID)
            if count:
                number = str(count) if count < 10_000 else f"{count // 1000}k"
                ink = PAPER if fraction > 0.55 else INK
                draw.text((x + CELL_PX // 2, y + CELL_PX // 2), number, fill=ink, font=font, anchor="mm")
    picture.save(file)


def _title(confusion: Confusion, shown: int) -> list[str]:
    right = sum(count for pair, count in confusion.counts.items() if confusion.is_right(pair))
    lines = [f"{right} of {sum(confusion.counts.values())} right"]
    if shown < len(confusion.labels):
        lines.append(f"the {shown} most confused of {len(confusion.labels)} labels")
    return lines


def _folded(confusion: Confusion, shown: set[str]) -> Counter[Pair]:
    """The counts with all other labels as one. Their right answers are not counted: among them they would look like mistakes."""
    cells = Counter[Pair]()
    for (truth, answer), count in confusion.counts.items():
        pair = tuple(label if label is None or label in shown else OTHERS for label in (truth, answer))
        if pair != (OTHERS, OTHERS):
            cells[pair[0], pair[1]] += count
    return cells


def _shade(fraction: float, *, right: bool) -> tuple[int, int, int]:
    strong = (30, 130, 60) if right else (190, 40, 40)
    weight = 0.15 + 0.85 * fraction
    return (
        round(255 + (strong[0] - 255) * weight),
        round(255 + (strong[1] - 255) * weight),
        round(255 + (strong[2] - 255) * weight),
    )
