"""What a newcomer sees: galleries of a few pictures a label, queried with other photos through `shitu recognize` as it ships.

    python -m benchmarks.newcomer [--data ../shared/data] [--rows groceries-1,drinks] [--json] [--detector DIR] [--embedder DIR]

Every row writes a gallery folder and a folder of queries, runs the command with its own defaults, and reads its JSON. The
classes are sampled with a fixed seed. Grocery queries are photos of `val`, drinks those of labels that no training saw; no
query is in its gallery. Without the data folder the rows of photos are skipped: a line says so, and the exit status is 0.

Counted for each object (a photo shows one, a scene several): **right**, **wrong** and **silent**, whether the surest answer
has its label, another, or there is none; **nearest**, whether the nearest item of all that was looked up for it has its
label, whatever was answered; **guesses**, whether its label is among the candidates; **stray**, answers for nothing.
"""

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.artifacts.folders import load_manifest, resolve
from models.boxes import iou
from models.synth.designs import design_product
from models.synth.products import packshot, random_view
from models.synth.scenes import render_scene
from models.training.data.photos import Photo, held_out

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared/data"
SEED = 0
FIRST_PRODUCT = 3_000_000  # rendered products that no network was trained on, chosen by or evaluated on
MATCH_IOU = 0.5

T = TypeVar("T")

Picture = Path | NDArray[np.uint8]
Answer = Mapping[str, Any]  # of one photo, as `shitu recognize --json` prints it


@dataclass(frozen=True)
class Query:
    """A photo and the labels of what it shows; without `boxes` (N, 4) it shows one thing, wherever."""

    picture: Picture
    labels: tuple[str, ...]
    boxes: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Trial:
    """A row before it is run: a gallery of labelled pictures, its queries, and options of the command."""

    name: str
    gallery: tuple[tuple[str, Picture], ...]
    queries: tuple[Query, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """How the objects of a trial's photos were answered; `guesses` is None where the command prints no candidates."""

    name: str
    labels: int
    pictures: int
    photos: int
    objects: int
    right: int
    wrong: int
    silent: int
    nearest: int
    guesses: int | None
    stray: int
    command_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rows", default=",".join(TRIALS), help="of " + ", ".join(TRIALS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--detector", default="shitu-detector")
    parser.add_argument("--embedder", default="shitu-embedder")
    arguments = parser.parse_args()
    names = arguments.rows.split(",")
    if unknown := set(names) - set(TRIALS):
        parser.error(f"there are no rows {', '.join(sorted(unknown))}; there are {', '.join(TRIALS)}")
    if not arguments.data.is_dir():
        skipped = [name for name in names if name not in WITHOUT_DATA]
        names = [name for name in names if name in WITHOUT_DATA]
        print(
            f"skipped {', '.join(skipped)}: there is no folder {arguments.data} with photos (--data)", file=sys.stderr
        )
    models = ("--embedder", arguments.embedder, "--detector", arguments.detector)
    rows = [run(TRIALS[name](arguments.data), models) for name in names]
    digests = {kind: load_manifest(resolve(getattr(arguments, kind))).digest for kind in ("detector", "embedder")}
    if arguments.json:
        print(json.dumps({"seed": SEED, **digests, "rows": [asdict(row) for row in rows]}, indent=2))
        return
    if rows:
        print(f"detector {digests['detector'][:12]}, embedder {digests['embedder'][:12]}, seed {SEED}")
        print(table(rows))


def run(trial: Trial, models: Sequence[str]) -> Row:
    """The trial through the command, in a temporary folder. Raises CalledProcessError if the command fails."""
    with tempfile.TemporaryDirectory() as folder:
        names = lay_out(trial, Path(folder))
        started = time.perf_counter()
        # The last of an option's values counts: a trial's own options come after the models'.
        command = [sys.executable, "-m", "shitu", "recognize", f"{folder}/photos", "--gallery", f"{folder}/gallery"]
        output = subprocess.run(
            [*command, "--json", *models, *trial.options], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        ).stdout
        return score(trial, json.loads(output), names, time.perf_counter() - started)


def lay_out(trial: Trial, folder: Path) -> dict[str, str]:
    """Writes `gallery` and `photos` below `folder`; a number replaces each label (some hold a slash): number -> label."""
    folders = {label: f"{n:04}" for n, label in enumerate(sorted({label for label, _ in trial.gallery}))}
    for n, (label, picture) in enumerate(trial.gallery):
        _write(picture, folder / "gallery" / folders[label] / f"{n:05}")
    for n, query in enumerate(trial.queries):
        _write(query.picture, folder / "photos" / f"{n:05}")
    return {number: label for label, number in folders.items()}


def _write(picture: Picture, stem: Path) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(picture, Path):
        shutil.copyfile(picture, stem.with_suffix(picture.suffix.lower()))
    else:
        Image.fromarray(picture).save(stem.with_suffix(".png"))


def score(trial: Trial, answers: Iterable[Answer], names: Mapping[str, str], command_s: float = 0.0) -> Row:
    """The row of a trial whose photos were answered so; `names` are labels by what replaces them in the answers."""
    counts: dict[str, int] = defaultdict(int)
    has_candidates = False
    by_query = {int(Path(answer["photo"]).stem): answer for answer in answers}
    for number, query in enumerate(trial.queries):
        answer = by_query[number]
        regions = [*answer["recognitions"], *answer["dropped"]]
        has_candidates |= any("candidates" in region for region in regions)
        used = []
        for at, label in enumerate(query.labels):
            box = None if query.boxes is None else query.boxes[at]
            answered, looked_up = _at(box, answer["recognitions"]), _at(box, regions)
            best = max(answered, key=_sureness, default=None)
            used.append(best)
            is_right = best is not None and names[best["label"]] == label
            counts["right"] += is_right
            counts["wrong"] += best is not None and not is_right
            counts["silent"] += best is None
            near = [region["matches"][0] for region in looked_up if region["matches"]]
            nearest = max(near, key=lambda match: float(match["similarity"]), default=None)
            counts["nearest"] += nearest is not None and names[nearest["label"]] == label
            guesses = {names[guess["label"]] for region in looked_up for guess in region.get("candidates", ())}
            counts["guesses"] += is_right or label in guesses
        stray = [one for one in answer["recognitions"] if not any(one is other for other in used)]
        counts["stray"] += sum(query.boxes is not None or names[one["label"]] not in query.labels for one in stray)
    return Row(
        trial.name,
        len({label for label, _ in trial.gallery}),
        len(trial.gallery),
        len(trial.queries),
        sum(len(query.labels) for query in trial.queries),
        counts["right"],
        counts["wrong"],
        counts["silent"],
        counts["nearest"],
        counts["guesses"] if has_candidates else None,
        counts["stray"],
        round(command_s, 1),
    )


def _at(box: NDArray[np.float32] | None, regions: Sequence[Answer]) -> list[Answer]:
    """The answers at a place; all of them where no place is known."""
    if box is None or not regions:
        return list(regions)
    overlaps = iou(np.array([region["box"] for region in regions], np.float32), box[None])[:, 0]
    return [region for region, overlap in zip(regions, overlaps, strict=True) if overlap >= MATCH_IOU]


def _sureness(answer: Answer) -> float:
    return float(answer.get("probability", answer["similarity"]))


HEADINGS = {
    "labels": "labels",
    "pictures": "pictures",
    "photos": "photos",
    "objects": "objects",
    "right": "right",
    "wrong": "wrong",
    "silent": "not answered",
    "nearest": "nearest right",
    "guesses": "in guesses",
    "stray": "stray",
}


def table(rows: Sequence[Row]) -> str:
    """The rows as text, and of all objects the fractions that are right and whose nearest item is."""
    width = max(len(row.name) for row in rows)
    lines = [" " * width + "".join(f"  {heading}" for heading in HEADINGS.values()) + "  right %  nearest %        s"]
    for row in rows:
        columns = [(heading, getattr(row, name)) for name, heading in HEADINGS.items()]
        cells = "".join(f"  {'–' if value is None else value:>{len(heading)}}" for heading, value in columns)
        right, nearest = (100 * count / max(1, row.objects) for count in (row.right, row.nearest))
        lines.append(f"{row.name:<{width}}{cells}{right:>9.1f}{nearest:>11.1f}{row.command_s:>9.1f}")
    return "\n".join(lines)


# The rows.


def some_groceries(data: Path, shots: int, classes: int = 15, photos: int = 42) -> Trial:
    """A few classes; of each its one packshot (`shots` 0) or that many photos of `train`, queried with photos of `val`."""
    rng = np.random.default_rng(SEED)
    names, packshots = grocery_classes(data)
    queries_by_label, train = grocery_photos(data, "val", names), grocery_photos(data, "train", names)
    chosen = _some(sorted(queries_by_label), classes, rng)
    queries = _in_turn(
        {label: _some(queries_by_label[label], len(queries_by_label[label]), rng) for label in chosen}, photos
    )
    gallery = [
        (label, picture)
        for label in chosen
        for picture in (_some(train[label], shots, rng) if shots else [packshots[label]])
    ]
    kind = f"{shots} photos each" if shots else "one packshot each"
    return Trial(f"{len(chosen)} groceries, {kind}", tuple(gallery), tuple(queries))


def all_groceries(data: Path, *, whole: bool) -> Trial:
    """Every class by its one packshot, queried with all natural photos of `val`: as whole photos, or with the detector."""
    names, packshots = grocery_classes(data)
    queries_by_label = grocery_photos(data, "val", names)
    queries = [Query(path, (label,)) for label in sorted(queries_by_label) for path in queries_by_label[label]]
    name = f"all {len(packshots)} groceries, one packshot each, {'whole photos' if whole else 'detector'}"
    return Trial(name, tuple(packshots.items()), tuple(queries), ("--detector", "none") if whole else ())


def some_drinks(data: Path, classes: int = 20, shots: int = 2, photos: int = 40) -> Trial:
    """Drinks of held-out labels: `shots` pictures of each in the gallery, queried with others of them."""
    rng = np.random.default_rng(SEED)
    lines = (data / "drinks/labels.tsv").read_text(encoding="utf-8").splitlines()
    listed = [Photo(data / "drinks" / path, path, label) for path, label in (line.split("\t") for line in lines)]
    pictures: dict[str, list[Path]] = defaultdict(list)
    for photo in listed:
        pictures[photo.label].append(photo.path)
    enough = [label for label in sorted(held_out(listed)) if len(pictures[label]) >= 2 * shots]
    sampled = {label: _some(pictures[label], 2 * shots, rng) for label in _some(enough, classes, rng)}
    gallery = [(label, path) for label, paths in sampled.items() for path in paths[:shots]]
    queries = _in_turn({label: paths[shots:] for label, paths in sampled.items()}, photos)
    return Trial(f"{len(sampled)} drinks, {shots} pictures each", tuple(gallery), tuple(queries))


def rendered_products(products: int = 250, views: int = 4, scenes: int = 60, objects: int = 4) -> Trial:
    """A gallery of a few views of many rendered products, queried with scenes of several: one neutral view, others random."""
    rng = np.random.default_rng(SEED)
    designs = [(str(n), design_product(FIRST_PRODUCT + n)) for n in range(0, 4 * products, 4)]
    gallery: list[tuple[str, Picture]] = []
    for label, design in designs:
        gallery.append((label, packshot(design, 256)))
        gallery += [(label, packshot(design, 256, view=random_view(rng))) for _ in range(views - 1)]
    queries = []
    for _ in range(scenes):
        shown = [designs[n] for n in rng.choice(products, objects, replace=False)]
        scene = render_scene(shown, (480, 640), rng, count=objects, scale=(0.25, 0.5))
        queries.append(Query(scene.image, scene.labels, scene.boxes))
    return Trial(f"{products} rendered products, {views} views each", tuple(gallery), tuple(queries))


def grocery_classes(data: Path) -> tuple[dict[str, str], dict[str, Path]]:
    """The names of the grocery classes by number, and their packshots by name. Raises ValueError for a name given twice."""
    with (data / "grocery/classes.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.reader(file))[1:]
    names = {number: name for name, number, *_ in lines}
    packshots = {line[0]: data / "grocery" / line[4].lstrip("/") for line in lines}
    if len(packshots) != len(lines):
        raise ValueError("classes.csv has a class name twice: pictures of two classes would be one label")
    return names, packshots


def grocery_photos(data: Path, split: str, names: Mapping[str, str]) -> dict[str, list[Path]]:
    """The photos of a split (`train`, `val`) by the names of their classes."""
    found: dict[str, list[Path]] = defaultdict(list)
    for line in (data / f"grocery/{split}.txt").read_text(encoding="utf-8").splitlines():
        path, fine, _ = line.split(", ")
        found[names[fine]].append(data / "grocery" / path)
    return dict(found)


def _some(things: Sequence[T], count: int, rng: np.random.Generator) -> list[T]:
    """`count` of the things, or all if there are fewer, in an order that the generator decides."""
    return [things[n] for n in rng.permutation(len(things))[:count]]


def _in_turn(photos: Mapping[str, Sequence[Path]], most: int) -> list[Query]:
    """At most so many queries: one photo of each label, then a second of each, and so on."""
    longest = max(map(len, photos.values()), default=0)
    turns = [(label, paths[n]) for n in range(longest) for label, paths in photos.items() if n < len(paths)]
    return [Query(path, (label,)) for label, path in turns[:most]]


TRIALS: dict[str, Callable[[Path], Trial]] = {
    "groceries-1": lambda data: some_groceries(data, 0),
    "groceries-5": lambda data: some_groceries(data, 5),
    "drinks": some_drinks,
    "groceries-whole": lambda data: all_groceries(data, whole=True),
    "groceries-detector": lambda data: all_groceries(data, whole=False),
    "rendered": lambda _: rendered_products(),
}
WITHOUT_DATA = ("rendered",)

if __name__ == "__main__":
    main()
