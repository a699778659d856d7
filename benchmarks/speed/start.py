"""From a process' start to its first result, without caches and with them; and what `import shitu` costs.

The machine's page cache is warm in all of them: no benchmark may drop it. `cold` has an empty cache of compiled programs.
"""

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.speed.photos import item, scene
from benchmarks.speed.rows import Context, Row, interleaved, median

FIRST = """
import sys
from pathlib import Path
from shitu import Detector, Embedder, Gallery, Recognizer, resolve
import numpy as np
from types import SimpleNamespace
photo, picture = (Path(one).read_bytes() for one in sys.argv[1:3])
detector, embedder = Detector(resolve("shitu-detector")), Embedder(resolve("shitu-embedder"))
gallery = Gallery([SimpleNamespace(id="1", label="one")], embedder([picture]))
Recognizer(detector, embedder)(photo, gallery).to_dict()
"""


def run(context: Context) -> list[Row]:
    """Processes that take turns."""
    rounds = 3 if context.quick else 10
    with tempfile.TemporaryDirectory() as folder:
        photo, picture = Path(folder, "photo.jpg"), Path(folder, "picture.jpg")
        photo.write_bytes(scene(0))
        picture.write_bytes(item(0, 0))
        files = [str(photo), str(picture)]
        places = iter(range(10_000))
        cached = str(Path(folder, "kept"))
        first = interleaved(
            {
                "cold": lambda: python(FIRST, *files, cache=str(Path(folder, f"cold-{next(places)}"))),
                "cached": lambda: python(FIRST, *files, cache=cached),
            },
            rounds,
        )
        kept = processor_ms(FIRST, *files, cache=cached, rounds=rounds)
        nothing, shitu = (processor_ms(code, cache=cached, rounds=rounds) for code in ("pass", "import shitu"))
        imports = interleaved({"python": lambda: python("pass"), "shitu": lambda: python("import shitu")}, 3 * rounds)
    added = median([one - other for one, other in zip(imports["shitu"], imports["python"], strict=True)])
    return [
        Row("process start to first result, no cache of programs", median(first["cold"]) / 1e3, "s"),
        Row(
            "process start to first result, cached",
            median(first["cached"]) / 1e3,
            "s",
            1.5,
            "at most",
            note=f"the interpreter alone takes {median(imports['python']):.0f} ms",
        ),
        Row(
            "the same, processor time of all threads", kept / 1e3, "s", note="what a busy machine does not change much"
        ),
        Row("import shitu", added, "ms", 50, "at most", note="minus an interpreter that imports nothing"),
        Row("import shitu, processor time", shitu - nothing, "ms", note="likewise"),
    ]


def processor_ms(code: str, *arguments: str, cache: str, rounds: int) -> float:
    """The median of the processor's time that such a process uses."""
    used = []
    for _ in range(rounds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python(code, *arguments, cache=cache)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(1e3 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return median(used)


def python(code: str, *arguments: str, cache: str = "") -> float:
    """Runs it in a new interpreter; seconds."""
    started = perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"XDG_CACHE_HOME": cache} if cache else {})}
    subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True)
    return perf_counter() - started
