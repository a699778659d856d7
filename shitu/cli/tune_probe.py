"""One way to run the networks, measured in a process of its own: `python -m shitu.cli.tune_probe`, JSON in, JSON out.

As many threads as there are jobs at a time recognise the same photos over and over, each with programs of its own, as a
worker's do. The first line on standard output says that they are loaded; a line on standard input starts them.
"""

import json
import sys
import threading
from pathlib import Path
from time import perf_counter

import numpy as np

from infra.runtime.machine import resident_bytes
from models.detector import Detector
from models.embedder import Embedder
from models.galleries.gallery import Gallery
from models.options import RecognizeOptions
from models.pictures.image import decode
from models.recognition.pipeline import Recognizer


class _Item:
    def __init__(self, label: str) -> None:
        self.id = self.label = label


def main() -> None:
    """Measures what the first line says."""
    report = json.loads(sys.stdin.readline())
    photos = [Path(path).read_bytes() for path in report["photos"]]
    how = (report["engine"], report["threads"], report["precision"])
    recognizers = []
    for _ in range(report["jobs"]):
        detector = None if report["detector"] is None else Detector(report["detector"], *how)
        recognizers.append(Recognizer(detector, Embedder(report["embedder"], *how)))
    dim = recognizers[0].embedder.dim
    rows = np.random.default_rng(0).normal(size=(100, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    gallery = Gallery([_Item(str(n)) for n in range(len(rows))], rows)
    options = RecognizeOptions(verify="never")
    for recognizer in recognizers:
        recognizer(decode(photos[0]), gallery, options)
    print("loaded", flush=True)
    sys.stdin.readline()
    took: list[list[float]] = [[] for _ in recognizers]
    until = perf_counter() + report["seconds"]

    def run(place: int) -> None:
        while True:
            began = perf_counter()
            photo = photos[len(took[place]) % len(photos)]
            recognizers[place](decode(photo), gallery, options).to_dict()
            took[place].append(1e3 * (perf_counter() - began))
            if perf_counter() >= until:
                return

    began = perf_counter()
    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(recognizers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = perf_counter() - began
    answer = {"ms": [one for part in took for one in part], "seconds": seconds, "rss_bytes": resident_bytes() or 0}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
