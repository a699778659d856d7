"""How several pictures of one label count together: the nearest, their mean, both as served, or a vote of ten.

    python -m benchmarks.label_scores --data ../shared/data [--embedder shitu-embedder]

Without the data folder there is nothing to measure, and the exit status is 0. The fraction of queries whose best label is
right: drinks query each other, each without itself; grocery/val queries so many pictures of each class of grocery/train.
"""

import os
from collections.abc import Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.photo_data import Rows, embedded, has_photos, options
from models.artifacts.folders import resolve
from models.embedder import Embedder
from models.galleries.label_scores import LabelScores
from models.training.data.photos import Photo
from models.training.data.readers.lists import read_list

VOTES, WARMTH = 10, 0.05  # a vote weighs exp(similarity / WARMTH)
PICTURES = (1, 2, 3, 5, 8, 15, 1000)


def main() -> None:
    arguments = options(__doc__).parse_args()
    if not has_photos(arguments.data):
        return
    embed = Embedder(resolve(arguments.embedder), threads=1)
    drinks = read_list(arguments.data / "drinks", "labels.tsv", "\t")
    train, val = (read_list(arguments.data / "grocery", f"{name}.txt", ", ") for name in ("train", "val"))
    drinks_rows, gallery, queries = (embedded(embed, photos) for photos in (drinks, train, val))
    print(f"{'gallery':<32}{'nearest':>9}{'mean':>9}{'served':>9}{'vote':>9}")
    alone = right_labels(drinks_rows, labels_of(drinks), drinks_rows, labels_of(drinks), own=True)
    print(line("drinks query each other", alone))
    classes = np.array(labels_of(train))
    for pictures in PICTURES:
        rng = np.random.default_rng(0)
        some = np.concatenate(
            [rng.permutation(np.flatnonzero(classes == one))[:pictures] for one in np.unique(classes)]
        )
        found = right_labels(queries, labels_of(val), gallery[some], classes[some].tolist(), own=False)
        print(line(f"grocery/val, {'all' if pictures == 1000 else pictures} of a class", found))


def right_labels(queries: Rows, truth: Sequence[str], items: Rows, labels: Sequence[str], *, own: bool) -> list[float]:
    """The fraction of right first labels, in each way; queries whose label has no other picture are left out."""
    served, everything = LabelScores(labels, items), np.arange(len(items))
    codes, names = served.codes, np.array(served.names)
    right: list[list[bool]] = []
    for at, (query, label) in enumerate(zip(queries, truth, strict=True)):
        kept = everything != (at if own else -1)
        if label not in names[codes[kept]]:
            continue
        similarities = items @ query
        nearest = names[codes[kept][similarities[kept].argmax()]]
        sums = np.zeros((len(names), items.shape[1]), np.float32)
        np.add.at(sums, codes[kept], items[kept])
        lengths = np.linalg.norm(sums, axis=1)
        mean = names[np.where(lengths > 0, sums @ query / np.maximum(lengths, 1e-9), -np.inf).argmax()]
        first = served.score(query, everything, similarities, at if own else None)[0].label
        voters = np.flatnonzero(kept)[np.argsort(-similarities[kept])[:VOTES]]
        votes = np.bincount(codes[voters], np.exp(similarities[voters] / WARMTH), len(names))
        right.append([one == label for one in (nearest, mean, first, names[votes.argmax()])])
    return [float(fraction) for fraction in np.mean(right, axis=0)]


def labels_of(photos: Sequence[Photo]) -> list[str]:
    return [photo.label for photo in photos]


def line(name: str, found: Sequence[float]) -> str:
    return f"{name:<32}" + "".join(f"{fraction:>9.3f}" for fraction in found)


if __name__ == "__main__":
    main()
