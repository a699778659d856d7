"""The table of `models/descriptors.py`, from photos: which coefficients of RootSIFT's transform vary most, and how.

    python -m benchmarks.fit_descriptors --data FOLDER [--kept 40]

FOLDER holds `drinks/` (labels.tsv; the half of the products that training may see is used) and `grocery/` (every tenth of
train.txt). Prints the rows to paste: row, column and direction frequency, mean and standard deviation times 10,000.
"""

import argparse
from pathlib import Path

import numpy as np

from models.descriptors import coefficients
from models.training.data.photos import held_out, read_rgb
from models.training.data.readers.labelled import read_photos
from models.verification import find_places, working_picture

GROCERY_STEP = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kept", type=int, default=40)
    arguments = parser.parse_args()
    drinks = read_photos(arguments.data / "drinks", "labels.tsv")
    kept_apart = held_out(drinks)
    photos = [photo for photo in drinks if photo.label not in kept_apart]
    photos += read_photos(arguments.data / "grocery", "train.txt", ", ")[::GROCERY_STEP]
    parts = []
    for photo in photos:
        _, sift = find_places(working_picture(read_rgb(photo.path)))
        parts.append(np.sqrt(sift / np.maximum(sift.sum(axis=1, keepdims=True), 1e-9)))
    roots = np.concatenate(parts)
    values = np.tensordot(roots, coefficients(), axes=1)  # (N, 4, 4, 8)
    deviations, means = values.std(axis=0), values.mean(axis=0)
    order = np.argsort(-deviations.ravel(), kind="stable")[: arguments.kept]
    fraction = (deviations.ravel()[order] ** 2).sum() / (deviations**2).sum()
    print(f"# {len(roots)} descriptors of {len(photos)} photos; {fraction:.3f} of their variance is kept")
    rows = [
        (*(int(part) for part in np.unravel_index(place, means.shape)), round(float(means.flat[place]) * 1e4),
         round(float(deviations.flat[place]) * 1e4))
        for place in order
    ]  # fmt: skip
    for start in range(0, len(rows), 4):
        print("    " + " ".join(f"{row}," for row in rows[start : start + 4]))


if __name__ == "__main__":
    main()
