"""How many deliberate mistakes the gallery linter finds among real photos, and how often it is wrong about others.

    python -m benchmarks.gallery_lint --data ../shared/data [--embedder shitu-embedder]

Without the data folder there is nothing to measure, and the exit status is 0. Into the drinks, grocery/train and grocery/val
(no photo of the last was trained on) 20 mistakes of each kind are put, in five runs: photos under a wrong label, photos of
something else (trash, caltech101, clothing), and copies under a second label and under their own: as they are, re-compressed,
resized to 60 %, cropped to 94 %, brightened. Found is what is in a finding of the levels error or warning (copies of the own
label: in any); wrong is a finding of those levels none of whose items is a mistake, and what is
reported without any mistake is another line.
"""

import hashlib
import io
import os
from collections import Counter

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.photo_data import Rows, embedded, has_photos, options
from infra.galleries.findings import Finding
from infra.galleries.lint import lint
from infra.galleries.neighbours import Found, search
from infra.galleries.store import Item, item_id
from models.artifacts.folders import resolve
from models.embedder import Embedder
from models.pictures.image import decode
from models.training.data.photos import Photo
from models.training.data.readers.lists import read_list

RUNS, EACH, UNKNOWNS = 5, 20, 60
SETS = (("drinks", "drinks", "labels.tsv", "\t"), ("grocery/train", "grocery", "train.txt", ", "), ("grocery/val", "grocery", "val.txt", ", "))  # fmt: skip
COPIES = ("as it is", "re-compressed", "resized", "cropped", "brightened")
LEVELS = {"error", "warning"}


def main() -> None:
    arguments = options(__doc__).parse_args()
    if not has_photos(arguments.data):
        return
    embed = Embedder(resolve(arguments.embedder), threads=1)
    rng, unknowns = np.random.default_rng(0), []
    for name in ("trash", "caltech101", "clothing"):
        photos = read_list(arguments.data / name, "labels.tsv", "\t")
        unknowns += [photos[at] for at in rng.permutation(len(photos))[:UNKNOWNS]]
    unknown_rows = embedded(embed, unknowns)
    for name, folder, file, separator in SETS:
        photos = read_list(arguments.data / folder, file, separator)
        measure(name, photos, embedded(embed, photos), unknown_rows, embed)


def measure(name: str, photos: list[Photo], rows: Rows, unknown_rows: Rows, embed: Embedder) -> None:
    """Prints what is found in a set as it is, and with mistakes in it."""
    labels = [photo.label for photo in photos]
    contents = [hashlib.sha256(photo.path.read_bytes()).hexdigest() for photo in photos]
    reported = Counter((one.kind, one.level) for one in linted(labels, contents, rows)[1])
    print(
        f"{name}, {len(labels)} photos as they are: "
        + ", ".join(f"{n} {' '.join(what)}" for what, n in reported.items())
    )
    counts, names = Counter(labels), sorted(set(labels))
    usual = [label for label in names if counts[label] >= 3]
    put: Counter[str] = Counter()
    found: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for seed in range(RUNS):
        rng = np.random.default_rng(seed)
        chosen = iter(rng.permutation([at for at, label in enumerate(labels) if counts[label] >= 3]).tolist())
        shown, bytes_of, more, mistakes = list(labels), list(contents), [rows], dict[int, str]()
        for _ in range(EACH):
            at = next(chosen)
            shown[at], mistakes[at] = other_than(labels[at], names, rng), "wrong label"
        for at in rng.permutation(len(unknown_rows))[:EACH].tolist():
            mistakes[len(shown)] = "something else"
            shown, bytes_of = [*shown, str(rng.choice(usual))], [*bytes_of, f"unknown {at}"]
            more.append(unknown_rows[at : at + 1])
        for change in COPIES:
            for turn in range(EACH):
                at, twice = next(chosen, None), turn < EACH // 2
                if at is None:
                    break
                if change == "as it is" and not twice:
                    continue  # the store takes no such copy
                label = other_than(labels[at], names, rng) if twice else labels[at]
                mistakes[len(shown)] = f"copy under {'a second' if twice else 'its own'} label, {change}"
                shown = [*shown, label]
                bytes_of = [*bytes_of, contents[at] if change == "as it is" else f"{change} {at}"]
                more.append(rows[at : at + 1] if change == "as it is" else embed([augmented(photos[at], change)]))
        items, findings = linted(shown, bytes_of, np.concatenate(more))
        ids = {items[at].id for at in mistakes}
        for at, what in mistakes.items():
            about = [one for one in findings if items[at].id in {item.id for item in one.items}]
            put[what] += 1
            found[what] += any(one.level in LEVELS or (one.kind == "near_duplicate" and "own" in what) for one in about)
        wrong.update(
            f"{one.kind} {one.level}"
            for one in findings
            if one.level in LEVELS and not ids & {item.id for item in one.items}
        )
    for what in put:
        print(f"  {what}: {found[what]} of {put[what]}")
    print(f"  wrong in {RUNS} runs: " + (", ".join(f"{n} {what}" for what, n in wrong.items()) or "none"))


def linted(labels: list[str], contents: list[str], rows: Rows) -> tuple[list[Item], list[Finding]]:
    items = [
        Item(item_id(content, label), label, "", content, None, "")
        for label, content in zip(labels, contents, strict=True)
    ]
    found = Found.nothing(len(items))
    search(labels, rows, found)
    return items, lint("benchmark", items, rows, found)


def other_than(label: str, names: list[str], rng: np.random.Generator) -> str:
    return str(rng.choice([name for name in names if name != label]))


def augmented(photo: Photo, change: str) -> NDArray[np.uint8]:
    picture, file = Image.fromarray(decode(photo.path.read_bytes())), io.BytesIO()
    width, height = picture.size
    if change == "cropped":
        sides = (int(width * 0.03), int(height * 0.03), int(width * 0.97), int(height * 0.97))
        return np.asarray(picture.crop(sides))
    if change == "brightened":
        return np.clip(np.asarray(picture) * 1.15, 0, 255).astype(np.uint8)
    if change == "resized":
        picture = picture.resize((max(32, width * 6 // 10), max(32, height * 6 // 10)))
    picture.save(file, "JPEG", quality=85 if change == "resized" else 70)
    return decode(file.getvalue())


if __name__ == "__main__":
    main()
