"""The pipeline alone, as a process of its own: no queue, no HTTP, no ledger. Numbers on stdin are photos to recognise.

It reads the galleries of a service's data folder as its worker does, and recognises the same photos: what a service makes of
these cores is a fraction of this.
"""

import sys
from pathlib import Path
from time import perf_counter

from benchmarks.speed.photos import distinct, scene
from infra.galleries.store import GalleryStore
from infra.objects.local import LocalStore
from infra.runtime.settings import ImageSettings, WorkerSettings
from models.options import RecognizeOptions
from models.pictures.image import decode
from worker.gallery_cache import GalleryCache
from worker.item_features import ItemFeatures
from worker.runtime import load_programs

SCENES = 8


def main() -> None:
    """Answers each number with the seconds that so many photos took."""
    data_dir, gallery, verify = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    objects = LocalStore(data_dir / "objects")
    store = GalleryStore(objects)
    features = ItemFeatures(store, objects, ImageSettings(), 1 << 28)
    cache = GalleryCache(store, 1 << 28, features)
    programs = load_programs(WorkerSettings())
    options = RecognizeOptions.from_dict({"verify": verify})
    scenes = [scene(number) for number in range(SCENES)]
    sent = 0
    print("ready", flush=True)
    for line in sys.stdin:
        started = perf_counter()
        for _ in range(int(line)):
            photo = distinct(scenes[sent % SCENES], sent)
            programs.recognizer(decode(photo), cache.current(gallery).gallery, options).to_dict()
            sent += 1
        print(perf_counter() - started, flush=True)


if __name__ == "__main__":
    main()
