"""What a second look by local features gains and costs: recall@1 without and with it, on photos.

    python -m benchmarks.verification --data FOLDER [--embedder shitu-embedder] [--first 5] [--queries 150] [--half held-out]

FOLDER holds `drinks/` and `grocery/` (docs/training.md). Drinks: the labels that training does not see, each photo searched
among all the others. Grocery: an even sample of val.txt searched in train.txt. The first `--first` items by similarity are
ordered again by similarity + rerank_bonus, without a calibration: a measure of the features alone, for the service orders
labels by their verified probability (models.recognition.second_look.standings). Milliseconds are of the processor on one thread: a query's description, and
unpacking and matching of its first items, whose features are stored.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import cv2
import numpy as np
from numpy.typing import NDArray

from models.artifacts.folders import resolve
from models.embedder import Embedder
from models.training.data.photos import Photo, held_out, read_rgb
from models.training.data.readers.labelled import read_photos
from models.verification import agree, describe, pack, rerank_bonus, unpack

GROUP = 32  # photos in memory at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--embedder", default="shitu-embedder", help="name or folder of an artifact")
    parser.add_argument("--first", type=int, default=5, help="items that are looked at twice")
    parser.add_argument("--queries", type=int, default=150, help="of grocery, evenly from its list; 0: all")
    parser.add_argument("--half", choices=("held-out", "given"), default="held-out", help="of the drinks' labels")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    embedder = Embedder(resolve(arguments.embedder))
    print(f"{embedder.name} {embedder.digest[:12]}, the first {arguments.first} items looked at twice, one thread")
    drinks, grocery = arguments.data / "drinks", arguments.data / "grocery"
    if (drinks / "labels.tsv").is_file():
        photos = read_photos(drinks, "labels.tsv")
        apart = held_out(photos)
        photos = [photo for photo in photos if (photo.label in apart) == (arguments.half == "held-out")]
        compare(f"drinks, {arguments.half}", photos, photos, embedder, arguments.first)
    else:
        print(f"drinks skipped: there is no {drinks / 'labels.tsv'}", file=sys.stderr)
    if (grocery / "val.txt").is_file():
        queries = read_photos(grocery, "val.txt", ", ")
        step = -(-len(queries) // arguments.queries) if arguments.queries else 1
        name = f"grocery, every {step}. of val" if step > 1 else "grocery, val"
        compare(name, queries[::step], read_photos(grocery, "train.txt", ", "), embedder, arguments.first)
    else:
        print(f"grocery skipped: there is no {grocery / 'val.txt'}", file=sys.stderr)


def compare(name: str, queries: Sequence[Photo], items: Sequence[Photo], embedder: Embedder, first: int) -> None:
    """Print recall@1 by similarity alone and with the second look, and how many features agree with which items."""
    gallery = embed(items, embedder)
    query_rows = gallery if queries is items else embed(queries, embedder)
    similarities = query_rows @ gallery.T
    if queries is items:
        np.fill_diagonal(similarities, -np.inf)
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :first]
    near = np.take_along_axis(similarities, nearest, axis=1)
    right = np.array(
        [[items[row].label == query.label for row in rows] for query, rows in zip(queries, nearest, strict=True)]
    )
    stored: dict[int, bytes] = {}
    for row in np.unique(nearest):
        stored[int(row)] = pack(describe(read_rgb(items[row].path)))
    inliers = np.zeros(nearest.shape, np.int64)
    describing, agreeing = [], []
    for number, query in enumerate(queries):
        image = read_rgb(query.path)
        started = time.thread_time()
        features = describe(image)
        described = time.thread_time()
        inliers[number] = [agree(features, unpack(stored[int(row)])).inliers for row in nearest[number]]
        describing.append((described - started) * 1e3)
        agreeing.append((time.thread_time() - described) * 1e3)
    again = (near + np.vectorize(rerank_bonus)(inliers)).argmax(axis=1)
    rows = np.arange(len(queries))
    print(f"\n{name}: {len(queries)} queries, {len(items)} items")
    print(
        f"  recall@1 {right[:, 0].mean():.3f} -> {right[rows, again].mean():.3f} (any of the first {first}: {right.any(axis=1).mean():.3f})"
    )
    print(
        f"  right before, wrong after {int((right[:, 0] & ~right[rows, again]).sum())}, the other way round {int((~right[:, 0] & right[rows, again]).sum())}"
    )
    for kind, chosen in (("right", inliers[right]), ("wrong", inliers[~right])):
        fractions = (
            " ".join(f">={least} {np.mean(chosen >= least):.3f}" for least in (4, 8, 12, 25)) if len(chosen) else ""
        )
        print(f"  {kind} items {len(chosen)}: inliers {fractions}")
    both = np.add(describing, agreeing)
    print(
        f"  ms a query: describe {np.median(describing):.1f}, {first} agrees {np.median(agreeing):.1f}, "
        f"both {np.median(both):.1f} (p95 {np.quantile(both, 0.95):.1f}); {np.mean([len(data) for data in stored.values()]):.0f} bytes an item"
    )


def embed(
    photos: Sequence[Photo], embedder: Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """(N, D), whole photos."""
    groups = (photos[start : start + GROUP] for start in range(0, len(photos), GROUP))
    return np.concatenate([embedder([read_rgb(photo.path) for photo in group]) for group in groups])


if __name__ == "__main__":
    main()
