"""The curve of a run as a picture: losses and eval metrics over the steps."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def draw_curve(log: Path, picture: Path) -> None:
    """Draw `curve.jsonl` into a PNG: losses on the left, eval sets on the right."""
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, title, key in ((left, "loss", "losses"), (right, "eval", "eval")):
        series: dict[str, list[tuple[int, float]]] = {}
        for line in lines:
            for name, value in _values(line.get(key, {})):
                series.setdefault(name, []).append((line["step"], value))
        for name, points in series.items():
            axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 20 else None)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if series:
            axes.legend(fontsize="small")
    figure.savefig(picture)


def _values(table: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from ((f"{name} {inner}", float(number)) for inner, number in value.items())
        else:
            yield name, float(value)
