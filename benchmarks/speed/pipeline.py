"""Photo bytes in, recognitions out: the official network sizes against PaddleClas' procedure, and the bundled networks.

The official graphs get seeded parameters where there are none: speed is that of their sizes, answers mean nothing. Each
number of threads has a process of its own, for the math libraries read it once.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.rows import Context, Row, median, ratio

DETECTOR = "picodet_PPLCNet_x2_5_mainbody_lite_v1.0_infer"
EMBEDDER = "general_PPLCNetV2_base_pretrained_v1.0_infer"
MACS = {"detector": 9.058e9, "embedder": 0.829e9}  # of the official graphs at 640 and 224, by paddle.flops
EMBEDDINGS = 6
ITEMS = 1000
THRESHOLD = 0.026  # of seeded networks any score will do


def run(context: Context) -> list[Row]:
    """The rows for one thread and, where there are two cores, for two."""
    rows = []
    for threads in (1, 2) if (os.cpu_count() or 1) > 1 else (1,):
        command = [sys.executable, "-m", "benchmarks.speed.pipeline", str(threads), str(context.official or "")]
        report = subprocess.run(
            [*command, "quick" if context.quick else ""],
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)},
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
        rows += [Row(**one) for one in json.loads(report.splitlines()[-1])]
    return rows


def main() -> None:
    """One number of threads, in this process: rows as JSON on the last line."""
    threads, official, quick = int(sys.argv[1]), sys.argv[2], sys.argv[3:4] == ["quick"]
    import cv2

    cv2.setNumThreads(threads)
    rows = []
    if official and (Path(official) / DETECTOR / "inference.pdmodel").is_file():
        rows += official_rows(Path(official), threads, rounds=5 if quick else 30)
    else:
        print(f"official sizes skipped: no folder with {DETECTOR} (--official)", file=sys.stderr)
    rows += bundled_rows(threads, rounds=8 if quick else 40)
    print(json.dumps([asdict(row) for row in rows]))


@dataclass(frozen=True)
class Item:
    """As little as a gallery needs."""

    id: str
    label: str


def official_rows(official: Path, threads: int, rounds: int) -> list[Row]:
    """Both procedures on the same graphs, parameters, photos and threads."""
    from benchmarks.speed.floors import peak_gflops
    from models.engines.openvino import computes_bf16
    from shitu.paddleclas.reference import load_reference

    with tempfile.TemporaryDirectory() as work:
        folders = [with_parameters(official / name, Path(work)) for name in (DETECTOR, EMBEDDER)]
        vectors = unit_rows(ITEMS, 512)
        pipelines: dict[str, Any] = {
            "PaddleClas": load_reference(*folders, vectors, threads, THRESHOLD, EMBEDDINGS - 1)
        }
        pipelines["fp32"] = ours(folders, vectors, threads, "fp32")
        if computes_bf16():
            pipelines["bf16"] = ours([permitted(one, Path(work)) for one in folders], vectors, threads, "bf16")
    laps, totals = timed(pipelines, photos(), rounds)
    ops = 2 * (MACS["detector"] + EMBEDDINGS * MACS["embedder"])
    rows = []
    for name, total in totals.items():
        floor = None
        if name != "PaddleClas":
            floor = 1e3 * ops / (1e9 * peak_gflops(name, threads)) + median(laps[name]["decode"])
        label = "PaddleClas' procedure" if name == "PaddleClas" else f"ours in {name}"
        stages = ", ".join(f"{stage} {median(times):.1f}" for stage, times in laps[name].items())
        rows.append(Row(f"official sizes, {label}, {threads} thread(s)", median(total), "ms", floor=floor, note=stages))
        if floor is not None:
            rows.append(
                Row(
                    f"official sizes in {name}, {threads} thread(s): time over the floor",
                    median(total) / floor,
                    "x",
                    *(1.25, "at most"),
                    note="floor: operations over the measured peak, and decoding",
                )
            )
            rows.append(
                Row(
                    f"official sizes in {name}, {threads} thread(s): faster than PaddleClas",
                    ratio(totals["PaddleClas"], total),
                    "x",
                    *(1.3 if name == "fp32" else 2.8, "at least"),
                )
            )
    return rows


def bundled_rows(threads: int, rounds: int) -> list[Row]:
    """The networks that ship, with verification apart."""
    from benchmarks.speed.floors import network_macs, peak_gflops
    from models.artifacts.folders import resolve
    from models.engines.openvino import computes_bf16

    folders = [resolve(name) for name in ("shitu-detector", "shitu-embedder")]
    pipelines = {"fp32": ours(folders, unit_rows(ITEMS, 512), threads, "fp32")}
    if computes_bf16():
        with tempfile.TemporaryDirectory() as work:
            lesser = [permitted(one, Path(work)) for one in folders]
            pipelines["bf16"] = ours(lesser, unit_rows(ITEMS, 512), threads, "bf16")
    laps, totals = timed(pipelines, photos(), rounds)
    macs = 0
    for folder, times in zip(folders, (1, EMBEDDINGS), strict=True):
        from models.artifacts.folders import load_manifest

        spec = load_manifest(folder).input
        macs += times * network_macs(folder / "inference.onnx", None, (1, 3, spec.height, spec.width))
    rows = []
    for name, total in totals.items():
        floor = 2e3 * macs / (1e9 * peak_gflops(name, threads)) + median(laps[name]["decode"])
        stages = ", ".join(f"{stage} {median(times):.1f}" for stage, times in laps[name].items())
        goal: tuple[Any, ...] = (30.0, "at most") if threads == 1 else ()
        rows.append(
            Row(
                f"bundled networks in {name}, {threads} thread(s)", median(total), "ms", *goal, floor=floor, note=stages
            )
        )
    return rows


def ours(folders: list[Path], vectors: NDArray[np.float32], threads: int, precision: str) -> Any:
    """Our pipeline as a worker runs it: bytes in, the answer out, and each stage's milliseconds."""
    from models.detector import Detector
    from models.embedder import Embedder
    from models.galleries.gallery import Gallery
    from models.options import RecognizeOptions
    from models.pictures.image import decode
    from models.recognition.pipeline import Recognizer

    detector, embedder = (
        Detector(folders[0], "openvino", threads, precision),
        Embedder(folders[1], "openvino", threads, precision),
    )
    recognizer = Recognizer(detector, embedder)
    gallery = Gallery([Item(str(n), str(n % 200)) for n in range(len(vectors))], vectors, "bench", 1)
    options = RecognizeOptions(
        detection_threshold=THRESHOLD, max_detections=EMBEDDINGS - 1, whole_image="always", verify="never"
    )

    def recognize(image_bytes: bytes) -> tuple[Any, dict[str, float]]:
        started = perf_counter()
        image = decode(image_bytes)
        decoded_ms = 1e3 * (perf_counter() - started)
        found = recognizer(image, gallery, options)
        if len(found.recognitions) + len(found.dropped) != EMBEDDINGS:
            raise RuntimeError(f"{len(found.recognitions) + len(found.dropped)} parts instead of {EMBEDDINGS}")
        laps = {name: found.timings_ms[name] for name in ("detect", "embed", "search")}
        return found.to_dict(), {"decode": decoded_ms, **laps}

    return recognize


def timed(pipelines: dict[str, Any], sent: list[bytes], rounds: int) -> tuple[Any, dict[str, list[float]]]:
    """Milliseconds by pipeline and stage, and in all; pipelines take turns, photo by photo."""
    laps: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in pipelines}
    totals: dict[str, list[float]] = {name: [] for name in pipelines}
    for number in range(-3, rounds):
        for name, pipeline in pipelines.items():
            started = perf_counter()
            _, stages = pipeline(sent[number % len(sent)])
            total = 1e3 * (perf_counter() - started)
            if number >= 0:
                totals[name].append(total)
                for stage, took in stages.items():
                    laps[name][stage].append(took)
    return laps, totals


def photos() -> list[bytes]:
    from benchmarks.speed.photos import scene

    return [scene(number) for number in range(6)]


def unit_rows(count: int, dim: int) -> NDArray[np.float32]:
    rows = np.random.default_rng(0).normal(size=(count, dim)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def with_parameters(folder: Path, work: Path) -> Path:
    """A copy of an official folder; where its parameters are absent, with seeded ones."""
    from benchmarks.check_official_engines import seeded_parameters

    copy = Path(shutil.copytree(folder, work / folder.name))
    if not (copy / "inference.pdiparams").is_file():
        (copy / "inference.pdiparams").write_bytes(seeded_parameters((copy / "inference.pdmodel").read_bytes()))
    return copy


def permitted(folder: Path, work: Path) -> Path:
    """A copy whose manifest allows for bf16 unmeasured: this is about speed; `shitu tune` is about whether it may be used."""
    from models.export.precisions import convert

    copy = work / f"{folder.name}-bf16"
    convert(folder, copy)
    manifest = copy / "manifest.json"
    record = json.loads(manifest.read_bytes())
    manifest.write_text(json.dumps(record | {"precisions": {"bf16": {}}}), encoding="utf-8")
    return copy


if __name__ == "__main__":
    main()
