"""How many answers change because a photo was saved in another colour space, with its profile read and without.

    python -m benchmarks.colours --data ../shared/data --profiles p3.jpg adobe.jpg cmyk.jpg [--photos 100] [--embedder shitu-embedder]

Without the data folder there is nothing to measure, and the exit status is 0. `--profiles`: pictures with an embedded ICC
profile each, of which only the profile is taken. Photos of drinks and grocery are saved in that space, losslessly and with
the profile; a label's first picture is enrolled, and others are queries. `changed` is the fraction of photos with another answer
than their sRGB original has, `right` that of right ones, `similarity` that of a photo's two embeddings.
"""

import io
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from benchmarks.photo_data import has_photos, options
from models.artifacts.folders import resolve
from models.embedder import Embedder
from models.pictures.image import decode

SIDE = 448  # of the photos that are measured: twice what the embedder sees
Labelled = tuple[str, NDArray[np.uint8]]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--profiles", type=Path, nargs="+", default=[])
    parser.add_argument("--photos", type=int, default=100)
    arguments = parser.parse_args()
    if not has_photos(arguments.data):
        return
    embed = Embedder(resolve(arguments.embedder), threads=1)
    enrolled, queries = some_photos(arguments.data, arguments.photos)
    labels = np.array([label for label, _ in enrolled])
    wanted = np.array([label for label, _ in queries])
    gallery = rows_of(embed, [photo for _, photo in enrolled])
    plain = rows_of(embed, [photo for _, photo in queries])
    before = labels[(plain @ gallery.T).argmax(axis=1)]
    print(f"{len(labels)} pictures enrolled, {len(wanted)} queries; as sRGB {np.mean(before == wanted):.1%} right")
    for file in arguments.profiles:
        with Image.open(file) as picture:
            icc = picture.info["icc_profile"]
        saved = [in_space(photo, icc) for _, photo in queries]
        for managed in (False, True):
            started = time.perf_counter()
            views = [decode(data, colour_managed=managed) for data in saved]
            decode_ms = 1000 * (time.perf_counter() - started) / len(saved)
            found = rows_of(embed, views)
            answers = labels[(found @ gallery.T).argmax(axis=1)]
            similarity = np.mean(np.sum(found * plain, axis=1))
            print(
                f"{file.stem:24} profile {'applied' if managed else 'ignored'}: changed {np.mean(answers != before):6.1%}, "
                f"right {np.mean(answers == wanted):6.1%}, similarity {similarity:.4f}, decoding {decode_ms:.1f} ms"
            )


def some_photos(data: Path, number: int) -> tuple[list[Labelled], list[Labelled]]:
    """Each label's first picture, and so many of the others: of drinks, and of grocery's photos."""
    found: dict[str, list[Path]] = {}
    for folder in (data / "drinks" / "images", data / "grocery" / "train"):
        for file in sorted(folder.rglob("*.jpg")):
            found.setdefault(str(file.parent.relative_to(data)), []).append(file)
    others = [(label, file) for label, files in found.items() for file in files[1:]]
    chosen = np.random.default_rng(0).permutation(len(others))[:number]
    first = [(label, shrunk(files[0])) for label, files in found.items()]
    return first, [(others[i][0], shrunk(others[i][1])) for i in chosen]


def shrunk(file: Path) -> NDArray[np.uint8]:
    """A photo of at most SIDE pixels a side."""
    with Image.open(file) as picture:
        photo = picture.convert("RGB")
    photo.thumbnail((SIDE, SIDE))
    return np.asarray(photo)


def rows_of(embed: Embedder, photos: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(N, D), some at a time."""
    return np.concatenate([embed(photos[start : start + 32]) for start in range(0, len(photos), 32)])


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
