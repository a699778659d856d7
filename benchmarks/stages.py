"""How long each stage of a recognition takes on this machine, with the bundled networks.

    python -m benchmarks.stages [--photos 30] [--threads 1] [--items 1000] [--detector DIR] [--embedder DIR]

Photos are rendered scenes of 800x600 pixels, sent as JPEG; each stage's median and 95th percentile, in milliseconds, after a
warm-up. The gallery holds `--items` random unit vectors: a search costs the same whatever they are.
"""

import argparse
import io
import os
import time
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from PIL import Image

from models.artifacts.folders import resolve
from models.detector import Detector
from models.embedder import Embedder
from models.galleries.gallery import Gallery
from models.options import RecognizeOptions
from models.pictures.image import decode
from models.recognition.pipeline import Recognizer
from models.synth.designs import design_product
from models.synth.scenes import render_scene

STAGES = ("decode", "detect", "crop", "embed", "search", "total")
WARM_UP = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--detector", default="shitu-detector")
    parser.add_argument("--embedder", default="shitu-embedder")
    arguments = parser.parse_args()
    detector = Detector(resolve(arguments.detector), arguments.engine, arguments.threads)
    embedder = Embedder(resolve(arguments.embedder), arguments.engine, arguments.threads)
    recognizer = Recognizer(detector, embedder)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(arguments.items, embedder.dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gallery = Gallery([Item(str(n), str(n)) for n in range(arguments.items)], vectors, "bench", 1)
    options = RecognizeOptions()
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    counts = []
    for number in range(WARM_UP + arguments.photos):
        image_bytes = photo(number)
        started = time.perf_counter()
        image = decode(image_bytes)
        decoded_ms = (time.perf_counter() - started) * 1e3
        answer = recognizer(image, gallery, options)
        if number < WARM_UP:
            continue
        laps = {**answer.timings_ms, "decode": decoded_ms}
        laps["total"] = decoded_ms + answer.timings_ms["total"]
        counts.append(len(answer.recognitions) + len(answer.dropped))
        for stage in STAGES:
            times[stage].append(laps[stage])
    print(
        f"{detector.name} and {embedder.name} on {embedder.engine}, {arguments.threads} thread(s), {arguments.items} items,"
    )
    print(f"{arguments.photos} photos of 800x600 with {np.mean(counts):.1f} objects each; milliseconds")
    print(f"{'stage':<8}{'median':>9}{'p95':>9}")
    for stage in STAGES:
        print(f"{stage:<8}{np.median(times[stage]):>9.2f}{np.quantile(times[stage], 0.95):>9.2f}")


@dataclass(frozen=True)
class Item:
    """As little as a gallery needs."""

    id: str
    label: str


def photo(number: int) -> bytes:
    """A rendered scene with four products, as JPEG."""
    rng = np.random.default_rng([number, 9])
    designs = [(str(seed), design_product(int(seed))) for seed in rng.integers(0, 1 << 20, 4)]
    scene = render_scene(designs, (600, 800), rng, count=4, scale=(0.25, 0.5))
    buffer = io.BytesIO()
    Image.fromarray(scene.image).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
