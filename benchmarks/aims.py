"""What `shitu evaluate` measured, as a table: before, now, the baselines, and the aim of each figure.

    shitu evaluate --data ../shared/data --baselines --out eval
    python -m benchmarks.aims eval/metrics.json

`before` is the embedder and the detector that shipped until the ones of today, measured by the same command then. Exits 1
where an aim is missed.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Aim:
    """A figure of metrics.json by its group and name; `before` and `least` None: not measured, no aim."""

    group: str
    name: str
    title: str
    before: float | None = None
    least: float | None = None


AIMS = (
    Aim("embedder", "drinks_held_out", "recall@1, drinks of products never trained on", 0.82, 0.97),
    Aim("embedder", "drinks_held_out verified", "the same with a second look", None, 0.985),
    Aim("embedder", "grocery_val", "recall@1, grocery/val against its training photos", 0.48, 0.86),
    Aim("embedder", "packshot_val", "recall@1, grocery/val against one packshot a class", 0.10, 0.55),
    Aim("embedder", "rendered", "recall@1, rendered products", 0.91, 0.93),
    Aim("detector", "raccoon_held_out AP50", "AP50, raccoon's held-out half", 0.54, 0.60),
    Aim("detector", "scenes AP50", "AP50, rendered scenes", 0.93),
)
BASELINES = ("pretrained features", "colour histograms", "untrained network")


def table(metrics: Mapping[str, Mapping[str, Any]]) -> tuple[str, list[str]]:
    """The table in Markdown, and the titles of the aims that are missed. Raises KeyError for a figure that is not there."""
    lines = [f"| figure | before | now | {' | '.join(BASELINES)} | aim | |", "|---" * (len(BASELINES) + 5) + "|"]
    missed = []
    for aim in AIMS:
        now = float(metrics[aim.group][aim.name])
        baselines = [metrics.get(one, {}).get(aim.name) if aim.group == "embedder" else None for one in BASELINES]
        word = "" if aim.least is None else "met" if now >= aim.least else "missed"
        if word == "missed":
            missed.append(aim.title)
        cells = [aim.title, *map(shown, (aim.before, now, *baselines, aim.least)), word]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines), missed


def shown(value: float | None) -> str:
    """Three digits."""
    return "" if value is None else f"{value:.3f}"


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metrics", type=Path)
    try:
        found, missed = table(json.loads(parser.parse_args().metrics.read_bytes()))
    except (OSError, ValueError) as error:
        parser.error(f"the file of metrics can't be read: {error}")
    except KeyError as error:
        parser.error(f"it has no figure {error}: evaluate with --data and both artifacts")
    print(found)
    if missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
