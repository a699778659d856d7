"""`shitu tune`: which threads, jobs at a time, precision and engine are fastest on this machine and still answer right."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from infra.runtime.machine import read_limits
from models.engines.openvino import computes_bf16
from models.errors import ModelError
from shitu.cli.options import DETECTOR, EMBEDDER, JSON, PRESENT, examples, gallery, out
from shitu.cli.searched import Passed, labelled_photos
from shitu.cli.terminal import errors

PHOTOS = 16  # that are recognised over and over
VIEW_SEED = 11


@dataclass(frozen=True)
class Way:
    """A way to run the networks, and what it came to."""

    engine: str
    precision: str
    threads: int
    jobs: int
    photos_per_s: float
    p50_ms: float
    p95_ms: float
    memory_mb: float
    photos_per_euro: float | None = None


@dataclass(frozen=True)
class Models:
    """The folders of a precision's networks; `detector` is None without one."""

    precision: str
    detector: Path | None
    embedder: Path


@click.command(epilog=examples("tune --gallery my-pictures", "tune --gallery my-pictures --price 0.10 --out var/tuned"))
@gallery("Folder with a sub-folder of pictures for each label, or a list of paths and labels: what must be answered as in fp32.", type=PRESENT, required=True)  # fmt: skip
@DETECTOR
@EMBEDDER
@click.option("--precision", "precisions", multiple=True, type=click.Choice(["bf16", "int8"]), help="Try only this one and fp32; may be repeated.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=5.0, show_default=True, help="How long each way is measured.")  # fmt: skip
@click.option("--price", type=click.FloatRange(0, min_open=True), metavar="EUR", help="Of this machine for an hour: reports photos per euro.")  # fmt: skip
@out("Folder for the settings and the programs; default: `tuned`.", default=Path("tuned"))
@JSON
def tune(
    gallery: Path,
    detector: str,
    embedder: str,
    precisions: tuple[str, ...],
    seconds: float,
    price: float | None,
    out: Path,
    as_json: bool,
) -> None:
    """Measure how this machine recognises fastest, and write the settings for it.

    Precisions of fewer bits are used only where they answer your gallery as fp32 does: 99.5 % of the labels on top, and
    the probabilities too. Nothing is changed but the folder --out.
    """
    passed = Passed()
    with errors():
        pictures = labelled_photos(gallery, passed)
        models, refused = chosen_models(pictures, detector, embedder, precisions, out)
        photos = [str(path) for path, _ in pictures[:PHOTOS]]
        ways = []
        for one in models:
            for engine in ("openvino", "paddle") if one.precision == "fp32" else ("openvino",):
                for threads, jobs in shapes(read_limits().cores):
                    try:
                        ways.append(measured(one, engine, threads, jobs, photos, seconds, price))
                    except ModelError as error:
                        refused.setdefault(f"{engine} {one.precision}", error.detail)
        if not ways:
            raise click.ClickException("Nothing could be measured: " + "; ".join(refused.values()))
    ways.sort(key=lambda way: (-way.photos_per_s, way.p95_ms))
    best = ways[0]
    used = next(one for one in models if one.precision == best.precision)
    lines = settings_of(best, used)
    out.mkdir(parents=True, exist_ok=True)
    report = {"ways": [asdict(way) for way in ways], "refused": refused, "settings": lines}
    (out / "tuning.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (out / "settings.env").write_text("".join(f"{name}={value}\n" for name, value in lines.items()), encoding="utf-8")
    passed.report()
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    click.echo(f"{'engine':<10}{'precision':<10}{'threads':>8}{'jobs':>6}{'photos/s':>10}{'p50 ms':>9}{'p95 ms':>9}{'MB':>7}" + (f"{'per euro':>11}" if price else ""))  # fmt: skip
    for way in ways:
        click.echo(f"{way.engine:<10}{way.precision:<10}{way.threads:>8}{way.jobs:>6}{way.photos_per_s:>10.1f}{way.p50_ms:>9.1f}{way.p95_ms:>9.1f}{way.memory_mb:>7.0f}" + (f"{way.photos_per_euro:>11.0f}" if price else ""))  # fmt: skip
    for name, why in refused.items():
        click.echo(f"not used: {name}: {why}")
    click.echo(f"The fastest is in {out / 'settings.env'}:")
    for name, value in lines.items():
        click.echo(f"  {name}={value}")
    if best.precision == "int8":
        click.echo("Its embeddings are others than those of fp32: enrol galleries again.")


def chosen_models(
    pictures: Sequence[tuple[Path, str]], detector: str, embedder: str, precisions: Sequence[str], work: Path
) -> tuple[list[Models], dict[str, str]]:
    """The networks in fp32 and in each precision that passes the gate, and why others don't."""
    from models.artifacts.folders import resolve
    from models.detector import Detector
    from models.embedder import Embedder
    from models.evaluation.precision_gate import agreement, enough, same_boxes
    from models.export.precisions import add_precisions, convert
    from models.pictures.augmented_view import augmented_view

    full = Models("fp32", None if detector == "none" else resolve(detector), resolve(embedder))
    wanted, refused = list(precisions or ("bf16", "int8")), dict[str, str]()
    if "bf16" in wanted and not computes_bf16():
        wanted.remove("bf16")
        refused["bf16"] = "this processor does not compute it"
    labels = [label for _, label in pictures]
    if wanted and not enough(labels):
        refused |= dict.fromkeys(
            wanted, "the gallery is too small to compare them: 10 pictures of 2 labels are the least"
        )
        wanted = []
    found = [full]
    images = [picture(path) for path, _ in pictures] if wanted else []
    views = [augmented_view(image, VIEW_SEED) for image in images]

    def rows(models: Models, precision: str) -> tuple[NDArray[np.float32], NDArray[np.float32], Any]:
        network = Embedder(models.embedder, "openvino", 1, precision)
        known = network(images)
        return known, np.concatenate([known, network(views)]), network

    def boxes(models: Models, precision: str) -> list[list[tuple[int, ...]]]:
        if models.detector is None:
            return []
        network = Detector(models.detector, "openvino", 1, precision)
        return [[one.box for one in network(image)] for image in images]

    if wanted:
        known, queries, network = rows(full, "fp32")
        full_boxes = boxes(full, "fp32")
    for precision in wanted:
        try:
            made = {}
            for part, folder in (("detector", full.detector), ("embedder", full.embedder)):
                if folder is not None:
                    made[part] = fresh(work / precision / part)
                    convert(folder, made[part])
                    add_precisions(made[part], [precision], images)
            one = Models(precision, made.get("detector"), made["embedder"])
            lesser, lesser_queries, _ = rows(one, precision)
            # bf16 shares the galleries of fp32: its queries are searched among what fp32 enrolled.
            against = known if precision == "bf16" else lesser
            alike = agreement(labels, (known, queries), (against, lesser_queries), network.calibration)
            again = same_boxes(full_boxes, boxes(one, precision))
        except ModelError as error:
            refused[precision] = error.detail
            continue
        reported = f"{alike.same_label:.2%} of the labels, {alike.same_decision:.2%} of the decisions and {again:.2%} of the boxes are as in fp32, probabilities move by {alike.moved:.3f}"
        if alike.passes and again >= 0.995:
            found.append(one)
        else:
            refused[precision] = reported
    return found, refused


def picture(path: Path) -> NDArray[np.uint8]:
    """Decoded."""
    from models.pictures.image import decode

    return decode(path.read_bytes())


def fresh(folder: Path) -> Path:
    """An empty folder: what an earlier run left there goes."""
    if folder.is_dir():
        for file in folder.iterdir():
            file.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def shapes(cores: int) -> list[tuple[int, int]]:
    """Threads of an inference and jobs at a time, that together take all cores, and one of each."""
    threads = [one for one in (1, 2, 4, 8, 16) if one <= cores]
    return sorted({(one, jobs) for one in threads for jobs in {1, cores // one}})


def measured(
    models: Models, engine: str, threads: int, jobs: int, photos: Sequence[str], seconds: float, price: float | None
) -> Way:
    """What one way comes to: OpenVINO's jobs are threads of a process, Paddle's are processes. Raises ModelError."""
    processes = jobs if engine == "paddle" else 1
    reported = {
        "detector": None if models.detector is None else str(models.detector),
        "embedder": str(models.embedder),
        "engine": engine,
        "precision": models.precision,
        "threads": threads,
        "jobs": 1 if engine == "paddle" else jobs,
        "photos": list(photos),
        "seconds": seconds,
    }
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "shitu.cli.tune_probe"]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    running = [subprocess.Popen(command, env=environment, text=True, **pipes) for _ in range(processes)]
    try:
        for one in running:
            _write(one, json.dumps(reported))
        for one in running:
            if _read(one) != "loaded":
                raise ModelError(_last_words(one), "engine_failed")
        for one in running:
            _write(one, "go")
        answers = [json.loads(_read(one) or "{}") for one in running]
        if not all(answers):
            raise ModelError("The process ended while it was measured.", "engine_failed")
    finally:
        for one in running:
            one.kill()
            one.communicate()
    took = [ms for answer in answers for ms in answer["ms"]]
    rate = sum(len(answer["ms"]) / answer["seconds"] for answer in answers)
    return Way(
        engine,
        models.precision,
        threads,
        jobs,
        round(rate, 2),
        round(float(np.median(took)), 1),
        round(float(np.quantile(took, 0.95)), 1),
        round(sum(answer["rss_bytes"] for answer in answers) / 1e6, 1),
        None if price is None else round(3600 * rate / price),
    )


def _write(process: Any, line: str) -> None:
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return  # its last words are read in turn


def _read(process: Any) -> str:
    return str(process.stdout.readline()).strip()


def _last_words(process: Any) -> str:
    lines = [line for line in str(process.stderr.read()).splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "The process ended without a word."


def settings_of(way: Way, models: Models) -> dict[str, str]:
    """The variables that make a worker run so."""
    found = {
        "SHITU_WORKER__ENGINE": way.engine,
        "SHITU_WORKER__PRECISION": way.precision,
        "SHITU_WORKER__THREADS": str(way.threads),
        "SHITU_WORKER__CONCURRENCY": str(way.jobs),
    }
    if way.precision != "fp32":
        found["SHITU_WORKER__EMBEDDER"] = str(models.embedder.absolute())
        if models.detector is not None:
            found["SHITU_WORKER__DETECTOR"] = str(models.detector.absolute())
    return found
