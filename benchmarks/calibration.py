"""How true the probabilities of answers are, on galleries that the fit never saw.

    python -m benchmarks.calibration --data ../shared/data [--embedder shitu-embedder] [--min-precision 0.9]

Without the data folder there is nothing to measure, and the exit status is 0. Fitted on drinks that the embedder never
trained on (every second label), on every second class of grocery/train, and on that class's packshots; measured on the other
labels. A gallery's own fit is what an enrolment makes; `embedder` is the fit that it starts from, `threshold` the rule of a
similarity alone. 30 % of the queries are taken to be unknown: half of them unrelated pictures, half things like those in
the gallery but with a label that is not in it.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

from benchmarks.photo_data import has_photos, options
from models.artifacts.folders import resolve
from models.embedder import Embedder
from models.evaluation.calibrate_embedder import PhotoSet, labelled_rows, of_labels
from models.evaluation.evaluate import silent
from models.evaluation.fit_calibration import LabelledRows, fit_embedder, query_gallery
from models.evaluation.open_set_rates import calibration_error
from models.evaluation.retrieval import embed_photos
from models.galleries.calibration import Calibration, domain, features, fit, from_threshold, query_weights
from models.galleries.calibration_queries import LEFT_OUT, REAL, UNRELATED
from models.galleries.logistic import sigmoid
from models.training.data.photos import Photo, held_out
from models.training.data.readers.lists import read_list

UNKNOWN_FOLDERS = ("clothing", "caltech101", "trash")
EACH = 300  # pictures of each folder
REPEATS = 3  # galleries of few pictures are sampled so many times


@dataclass(frozen=True)
class Trial:
    """A gallery: rows of a set that are enrolled; the set's other rows are its queries."""

    name: str
    known: LabelledRows
    enrolled: NDArray[np.int64]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--min-precision", type=float, default=0.9)
    arguments = parser.parse_args()
    if not has_photos(arguments.data):
        return
    embed = Embedder(resolve(arguments.embedder), threads=1)
    unknowns = unknown_rows(arguments.data, embed)
    drinks, grocery, packshots = (labelled_rows(one, embed, silent) for one in photo_sets(arguments.data))
    fitted = fit_embedder(
        [of_labels(one, 0) for one in (drinks, grocery, packshots)], unknowns[::2], embed.similarity_threshold
    )
    rest = [of_labels(one, 1) for one in (drinks, grocery, packshots)]
    print(f"embedder's fit: weights {np.round(fitted.weights, 2)}, min_precision {arguments.min_precision}")
    print(f"{'gallery':<34}{'by':<11}{'ECE':>7}{'precision':>11}{'right':>8}{'of':>7}{'unrelated':>11}{'like':>7}")
    totals: dict[str, list[list[float]]] = {}
    for name, trials in grouped(trials_of(*rest)):
        rows: dict[str, list[list[float]]] = {}
        for trial in trials:
            for by, calibration in calibrations(trial, unknowns[::2], fitted, embed).items():
                rows.setdefault(by, []).append(measured(trial, unknowns[1::2], calibration, arguments.min_precision))
        for by, found in rows.items():
            mean = np.nanmean(found, axis=0).tolist()
            totals.setdefault(by, []).append(mean)
            print(line(name, by, mean))
    for by, found in totals.items():
        print(line("mean of the galleries", by, np.nanmean(found, axis=0).tolist()))


def calibrations(
    trial: Trial, unknowns: NDArray[np.float32], fitted: Calibration, embed: Embedder
) -> dict[str, Calibration]:
    """Whose calibration is used."""
    labels = [str(label) for label in trial.known.labels[trial.enrolled].tolist()]
    views = None if trial.known.views is None else trial.known.views[trial.enrolled]
    own = fit(labels, trial.known.rows[trial.enrolled], views, unknowns, fitted)
    return {"gallery": own, "embedder": fitted, "threshold": from_threshold(embed.similarity_threshold)}


def measured(trial: Trial, unknowns: NDArray[np.float32], by: Calibration, min_precision: float) -> list[float]:
    """ECE, precision of the answers, known queries answered rightly, recall@1, unknown ones answered: unrelated and alike."""
    seen = domain(query_gallery(trial.known, trial.enrolled, unknowns, np.random.default_rng(5)), REAL)
    weights, right = query_weights(seen), seen.right > 0
    probabilities = sigmoid(features(seen, by.rival) @ np.array(by.weights))
    given = probabilities >= by.threshold_for(min_precision)
    real = seen.kinds == REAL
    amount = float(weights[given].sum())
    return [
        calibration_error(probabilities, right, weights),
        float((weights * right)[given].sum()) / amount if amount else float("nan"),
        float((given & right)[real].mean()),
        float(right[real].mean()),
        float(given[seen.kinds == UNRELATED].mean()),
        float(given[seen.kinds == LEFT_OUT].mean()),
    ]


def trials_of(drinks: LabelledRows, grocery: LabelledRows, packshots: LabelledRows) -> Iterator[Trial]:
    """The galleries that are searched."""
    rng = np.random.default_rng(7)
    for pictures in (1, 2, 3):
        for _ in range(REPEATS):
            yield Trial(f"drinks, {pictures} a label", drinks, few(drinks, pictures, rng))
    half = np.unique(drinks.labels)[::2]
    for _ in range(REPEATS):
        some = few(drinks, 2, rng)
        yield Trial("drinks, 2 a label, half of them", drinks, some[np.isin(drinks.labels[some], half)])
    for pictures in (1, 3, 5):
        for _ in range(REPEATS):
            yield Trial(f"grocery/val v train, {pictures} a class", grocery, few(grocery, pictures, rng))
    yield Trial("grocery/val v train, all", grocery, few(grocery, 1000, rng))
    yield Trial("grocery photos v one packshot", packshots, few(packshots, 1, rng))


def few(known: LabelledRows, pictures: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """So many of each label's rows that may be enrolled."""
    may = np.ones(len(known.labels), bool) if known.gallery is None else known.gallery
    each = [
        rng.permutation(np.flatnonzero(may & (known.labels == label)))[:pictures] for label in np.unique(known.labels)
    ]
    return np.concatenate(each)


def grouped(trials: Iterator[Trial]) -> list[tuple[str, list[Trial]]]:
    """By name, in their order."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.name, []).append(trial)
    return list(groups.items())


def photo_sets(data: Path) -> list[PhotoSet]:
    """Drinks never trained on; grocery/train as gallery and val as queries; packshots as gallery and val as queries."""
    listed = read_list(data / "drinks", "labels.tsv", "\t")
    untrained = held_out(listed)
    drinks = [photo for photo in listed if photo.label in untrained]
    train, val = (read_list(data / "grocery", f"{name}.txt", ", ") for name in ("train", "val"))
    with (data / "grocery" / "classes.csv").open(encoding="utf-8") as file:
        classes = list(csv.DictReader(file))
    iconic = [
        Photo(
            data / "grocery" / one["Iconic Image Path (str)"].lstrip("/"),
            one["Class Name (str)"],
            one["Class ID (int)"],
        )
        for one in classes
    ]
    return [
        PhotoSet("drinks", drinks),
        PhotoSet("grocery", [*train, *val], len(train)),
        PhotoSet("packshots", [*iconic, *val, *train[::4]], len(iconic)),
    ]


def unknown_rows(data: Path, embed: Embedder) -> NDArray[np.float32]:
    """Unrelated pictures, in mixed order."""
    photos = []
    for folder in UNKNOWN_FOLDERS:
        listed = read_list(data / folder, "labels.tsv", "\t")
        photos += listed[:: max(1, len(listed) // EACH)]
    order = np.random.default_rng(1).permutation(len(photos)).tolist()
    return embed_photos(embed, [photos[at] for at in order], "unknown", silent)


def line(name: str, by: str, found: list[float]) -> str:
    error, precision, right, of, unrelated, like = found
    return f"{name:<34}{by:<11}{error:>7.3f}{precision:>11.3f}{right:>8.3f}{of:>7.3f}{unrelated:>11.3f}{like:>7.3f}"


if __name__ == "__main__":
    main()
