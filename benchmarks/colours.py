"""How many answers change because a photo was saved in another colour space, with its profile read and without.

    python -m benchmarks.colours --data ../shared/data --profiles p3.jpg adobe.jpg cmyk.jpg [--photos 100] [--embedder shitu-embedder]

Without the data folder there is nothing to measure, and the exit status is 0. `--profiles`: pictures with an embedded ICC
profile each, of which only the profile is taken. Photos of drinks and grocery are saved in that space, losslessly and with
the profile; the answer is the label of the nearest of all other pictures, as sRGB. `changed` is the share of photos with another
answer than their sRGB original has, `similarity` that of a photo's two embeddings.
"""

import argparse
import io
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from models.artifacts import resolve
from models.embedder import Embedder
from models.image import decode

SIDE = 448  # of the photos that are measured: twice what the embedder sees
EACH = 8  # pictures of a label that are looked up in


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--profiles", type=Path, nargs="+", default=[])
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--embedder", default="shitu-embedder")
    arguments = parser.parse_args()
    if arguments.data is None or not (arguments.data / "drinks").is_dir():
        print("skipped: no data folder with drinks/ and grocery/ (--data)")
        return
    embed = Embedder(resolve(arguments.embedder), threads=1)
    labels, photos = some_photos(arguments.data)
    rows = np.concatenate([embed(photos[start : start + 32]) for start in range(0, len(photos), 32)])
    asked = np.random.default_rng(0).permutation(len(photos))[: arguments.photos]
    before = [answer(rows[i], rows, labels, i) for i in asked]
    for file in arguments.profiles:
        with Image.open(file) as picture:
            icc = picture.info["icc_profile"]
        saved = [in_space(photos[i], icc) for i in asked]
        for managed in (False, True):
            started = time.perf_counter()
            views = [decode(data, colour_managed=managed) for data in saved]
            decode_ms = 1000 * (time.perf_counter() - started) / len(saved)
            found = np.concatenate([embed(views[start : start + 32]) for start in range(0, len(views), 32)])
            changed = np.mean([answer(found[n], rows, labels, i) != before[n] for n, i in enumerate(asked)])
            similarity = np.mean(np.sum(found * rows[asked], axis=1))
            how = "profile applied" if managed else "profile ignored"
            print(
                f"{file.stem:24} {how}: changed {changed:6.1%}, similarity {similarity:.4f}, decoding {decode_ms:.1f} ms"
            )


def some_photos(data: Path) -> tuple[list[str], list[NDArray[np.uint8]]]:
    """Labels and pictures: all folders of drinks, and of grocery's photos the first of each class."""
    found: dict[str, list[Path]] = {}
    for folder in (data / "drinks" / "images", data / "grocery" / "train"):
        for file in sorted(folder.rglob("*.jpg")):
            found.setdefault(str(file.parent.relative_to(data)), []).append(file)
    labels, photos = [], []
    for label, files in found.items():
        for file in files[:EACH]:
            with Image.open(file) as picture:
                shrunk = picture.convert("RGB")
            shrunk.thumbnail((SIDE, SIDE))
            labels.append(label)
            photos.append(np.asarray(shrunk))
    return labels, photos


def answer(row: NDArray[np.float32], rows: NDArray[np.float32], labels: list[str], own: int) -> str:
    """The label of the most similar picture but the photo's own."""
    similarities = rows @ row
    similarities[own] = -2
    return labels[int(similarities.argmax())]


def in_space(photo: NDArray[np.uint8], icc: bytes) -> bytes:
    """A TIFF of the photo's colours in the space of `icc`."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    mode = {"RGB ": "RGB", "CMYK": "CMYK", "GRAY": "L"}[target.profile.xcolor_space]
    converted = ImageCms.profileToProfile(
        Image.fromarray(photo), ImageCms.createProfile("sRGB"), target, ImageCms.Intent.PERCEPTUAL, outputMode=mode
    )
    file = io.BytesIO()
    if converted is None:
        raise SystemExit("The profile can't be written to.")
    converted.save(file, "TIFF", icc_profile=icc)
    return file.getvalue()


if __name__ == "__main__":
    main()
