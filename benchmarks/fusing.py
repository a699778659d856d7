"""What fusing the pictures of a label into one vector does to recall, to answers and to time.

    python -m benchmarks.fusing --data ../shared/data [--embedder shitu-embedder]

Without the data folder there is nothing to measure, and the exit status is 0. Each gallery is searched picture by picture
and fused, exactly and by Hamming distance with re-ranking of 100. `right`: the fraction of queries whose best label is
right; `answered`: that which is answered rightly at `min_precision` 0.9 by the gallery's own calibration, `wrongly` the
fraction of queries that is answered wrongly, `unknown` that of queries of the other data set that is answered at all.
`not fitted` is by the embedder's calibration, as after the choice until something is added.
`ms` is the median search of one query, one thread. The last rows are random unit vectors, for the time alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.photo_data import Rows, embedded, has_photos, options
from contracts.indexes import IndexChoice
from models.artifacts.folders import resolve
from models.embedder import Embedder
from models.galleries.binary_gallery import BinaryGallery
from models.galleries.calibration import Calibration, fit
from models.galleries.fused_gallery import FusedGallery
from models.galleries.gallery import Gallery
from models.training.data.readers.lists import read_list

MIN_PRECISION = 0.9
TOP = 5
MOST_TIMED = 200
PARTS = 5  # of the drinks: each part queries the others
UNFITTED = "fused, not fitted"
WAYS = {
    "pictures": IndexChoice(),
    "fused": IndexChoice(fuse=True),
    "pictures, hamming": IndexChoice(dist_type="hamming"),
    "fused, hamming": IndexChoice(dist_type="hamming", fuse=True),
    UNFITTED: IndexChoice(fuse=True),
}


@dataclass(frozen=True)
class Trial:
    """A gallery's items, and queries with their labels."""

    labels: list[str]
    rows: Rows
    queries: Rows
    truth: list[str]


def main() -> None:
    arguments = options(__doc__).parse_args()
    if not has_photos(arguments.data):
        return
    embed = Embedder(resolve(arguments.embedder), threads=1)
    print(f"{'gallery':<32}{'way':<19}{'vectors':>8}{'right':>8}{'answered':>10}{'wrongly':>9}{'unknown':>9}{'ms':>8}")
    for name, trials, unknowns in cases(embed, arguments.data):
        for way, choice in WAYS.items():
            found = np.array([measured(trial, unknowns, choice, embed, fitted=way != UNFITTED) for trial in trials])
            queries = [len(trial.truth) for trial in trials]
            vectors, right, answered, wrongly, unknown, ms = np.average(found, axis=0, weights=queries)
            report = f"{right:>8.3f}{answered:>10.3f}{wrongly:>9.3f}{unknown:>9.3f}{ms:>8.2f}"
            print(f"{name:<32}{way:<19}{vectors:>8.0f}{report}", flush=True)
    for pictures in (20_000, 100_000):
        rng = np.random.default_rng(0)
        rows = rng.standard_normal((pictures, embed.dim), np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        labels = [str(at % (pictures // 10)) for at in range(pictures)]
        for way, choice in list(WAYS.items())[:-1]:
            gallery = searchable(labels, rows, choice, None)
            name = f"random, 10 of a label: {pictures}"
            print(f"{name:<32}{way:<19}{vectors_of(gallery):>8}{took_ms(gallery, rows):>44.2f}", flush=True)


def cases(embed: Embedder, data: Path) -> Iterator[tuple[str, list[Trial], Rows]]:
    """Drinks of which each part queries the others, and groceries that other photos query; each with unknown queries."""
    drinks = read_list(data / "drinks", "labels.tsv", "\t")
    train, val = (read_list(data / "grocery", f"{name}.txt", ", ") for name in ("train", "val"))
    drinks_rows, train_rows, val_rows = (embedded(embed, photos) for photos in (drinks, train, val))
    names, classes = (np.array([photo.label for photo in photos]) for photos in (drinks, train))
    part = np.random.default_rng(0).permutation(len(drinks)) % PARTS
    trials = []
    for at in range(PARTS):
        kept = part != at
        queries = ~kept & np.isin(names, names[kept])
        trials.append(Trial(names[kept].tolist(), drinks_rows[kept], drinks_rows[queries], names[queries].tolist()))
    yield "drinks, each fifth queries", trials, val_rows
    for pictures in (3, 8, 1000):
        rng = np.random.default_rng(0)
        some = np.concatenate(
            [rng.permutation(np.flatnonzero(classes == one))[:pictures] for one in np.unique(classes)]
        )
        trial = Trial(classes[some].tolist(), train_rows[some], val_rows, [photo.label for photo in val])
        yield f"grocery/val, {'all' if pictures == 1000 else pictures} of a class", [trial], drinks_rows


def measured(trial: Trial, unknowns: Rows, choice: IndexChoice, embed: Embedder, *, fitted: bool) -> list[float]:
    """What stands in a row of the table; where nothing is fitted, the embedder's own calibration counts."""
    things = np.unique(trial.labels, return_inverse=True)[1].tolist() if choice.fuse else None
    calibration = embed.calibration
    if fitted:
        calibration = fit(trial.labels, trial.rows, None, embed.unknowns, calibration, things)
    threshold = calibration.threshold_for(MIN_PRECISION)
    gallery = searchable(trial.labels, trial.rows, choice, calibration)

    def answers(queries: Rows) -> tuple[list[str], list[bool]]:
        found = [one.labels for one in gallery.search_labels(queries, TOP)]
        sure = [calibration.probabilities(labels, 1)[0] >= threshold for labels in found]
        return [labels[0].label for labels in found], sure

    labels, sure = answers(trial.queries)
    right = np.array(labels) == np.array(trial.truth)
    unknown = np.mean(answers(unknowns)[1])
    return [
        vectors_of(gallery), right.mean(), (right & sure).mean(), (~right & sure).mean(), float(unknown),
        took_ms(gallery, trial.queries),
    ]  # fmt: skip


def searchable(labels: list[str], rows: Rows, choice: IndexChoice, calibration: Calibration | None) -> Gallery:
    """The gallery as a worker searches it."""
    items = [Item(str(at), label) for at, label in enumerate(labels)]
    if choice.fuse:
        return FusedGallery(Gallery(items, rows, calibration=calibration), choice)
    if choice.binary:
        return BinaryGallery(items, rows, calibration=calibration, rerank=choice.rerank)
    return Gallery(items, rows, calibration=calibration)


@dataclass(frozen=True)
class Item:
    """An item of these galleries."""

    id: str
    label: str


def vectors_of(gallery: Gallery) -> int:
    """How many vectors are searched."""
    return gallery.thing_count if isinstance(gallery, FusedGallery) else len(gallery)


def took_ms(gallery: Gallery, queries: Rows) -> float:
    """The median of single queries."""
    took = []
    for query in queries[:MOST_TIMED]:
        started = time.perf_counter()
        gallery.search_labels(query[None], TOP)
        took.append(1000 * (time.perf_counter() - started))
    return float(np.median(took))


if __name__ == "__main__":
    main()
