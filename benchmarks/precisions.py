"""Size, speed and agreement of a model in each precision, on this machine.

    python -m benchmarks.precisions [--model shitu-embedder --model shitu-detector] [--threads 1] [--rounds 5]

Programs are made afresh from the fp32 one, calibrated with rendered pictures. Precisions take turns, round by round, so that
a busy machine slows all of them alike; the median of all runs is printed, of a batch of one, without pre-processing.
What a precision loses in its recipe's eval sets, `shitu export precisions MODEL --recipe NAME` measures.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from models.artifacts.folders import resolve
from models.engines.loader import Program, load_program
from models.engines.openvino import computes_bf16
from models.engines.program import STEMS
from models.export.precisions import PRECISIONS, add_precisions, convert

WARM_UP, RUNS = 5, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", help="name or folder, several times; default: the bundled two")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    made = [name for name in PRECISIONS if name != "bf16" or computes_bf16()]
    print(f"{arguments.threads} thread(s), OpenVINO; size is of the programs' files for it")
    print(f"{'model':<20}{'precision':<10}{'ms':>8}{'x fp32':>8}{'MB':>8}  agreement with fp32")
    for model in arguments.model or ["shitu-embedder", "shitu-detector"]:
        with tempfile.TemporaryDirectory() as work:
            folder = Path(work) / "model"
            convert(resolve(model), folder)
            manifest = add_precisions(folder, made)
            loaded = {
                name: load_program(folder, engine="openvino", threads=arguments.threads, precision=name)
                for name in ("fp32", *made)
            }
            times = raced(loaded, arguments.rounds)
            for name, milliseconds in times.items():
                entry = manifest.precisions.get(name, {}).get("agreement", {})
                agreed = "  ".join(f"{metric} {value}" for metric, value in entry.items())
                fraction = milliseconds / times["fp32"]
                size = size_mb(folder, name)
                print(f"{manifest.name:<20}{name:<10}{milliseconds:>8.2f}{fraction:>8.2f}{size:>8.2f}  {agreed}")


def raced(loaded: dict[str, Program], rounds: int) -> dict[str, float]:
    """The median time of a run of each program, in milliseconds."""
    times: dict[str, list[float]] = {name: [] for name in loaded}
    for number in range(rounds + 1):
        for name, program in loaded.items():
            (spec,) = program.inputs
            shape = [1 if size is None else size for size in spec.shape]
            pixels = np.random.default_rng(number).normal(size=shape).astype(np.float32)
            for _ in range(WARM_UP if number == 0 else RUNS):
                started = time.perf_counter()
                program.run({spec.name: pixels})
                if number:
                    times[name].append((time.perf_counter() - started) * 1e3)
    return {name: float(np.median(taken)) for name, taken in times.items()}


def size_mb(folder: Path, precision: str) -> float:
    """Of what OpenVINO reads: IR in two files, else ONNX or the old format."""
    stem = STEMS[precision]
    for endings in ((".xml", ".bin"), (".onnx",), (".pdmodel", ".pdiparams")):
        files = [folder / f"{stem}{ending}" for ending in endings]
        if all(file.is_file() for file in files):
            return sum(file.stat().st_size for file in files) / 1e6
    return float("nan")


if __name__ == "__main__":
    main()
