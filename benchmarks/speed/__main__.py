"""Speed of the pipeline, the service and their parts on this machine, compared with peers, floors and targets.

    python -m benchmarks.speed [SUITE ...] [--quick] [--official ../shared/official]

Each suite prints its table and keeps it in benchmarks/results/SUITE.json; all of them are plotted in benchmarks/results/speed.svg
and written into docs/performance.md.
`--quick` takes fewer rounds and smaller sizes: a few minutes for all. `--official` names the folder of unpacked official
archives; those without parameters get seeded ones.
"""

import argparse
import importlib
import os
import sys
from pathlib import Path
from time import perf_counter

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from benchmarks.speed.page import PAGE, written  # noqa: E402
from benchmarks.speed.rows import RESULTS, SUITES, Context, draw, keep, kept, table  # noqa: E402 - after the variables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"some of {', '.join(SUITES)}; default: all")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--official", type=Path, default=Path("../shared/official"))
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.suites if name not in SUITES]:
        parser.error(f"there is no suite {unknown[0]!r}; take some of {', '.join(SUITES)}")
    context = Context(arguments.quick, arguments.official if arguments.official.is_dir() else None)
    for name in arguments.suites or SUITES:
        started = perf_counter()
        rows = importlib.import_module(f"benchmarks.speed.{name}").run(context)
        keep(name, rows, context)
        print(table(name, rows))
        print(f"  ({perf_counter() - started:.0f} s)", flush=True)
    results = [report for name in SUITES if (report := kept(name)) is not None]
    draw(results, RESULTS / "speed.svg")
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), results), encoding="utf-8")
    missed = [
        f"{name}: {row['name']}"
        for name in SUITES
        for row in (kept(name) or {"rows": []})["rows"]
        if row["met"] is False
    ]
    print(f"missed: {'; '.join(missed) if missed else 'none'}", file=sys.stderr)


if __name__ == "__main__":
    main()
