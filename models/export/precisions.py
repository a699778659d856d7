"""Adds programs of fewer bits to an artifact, and writes in its manifest how far their answers are from the full ones.

fp16 stores half the bytes, int8 a quarter. bf16 adds no file: the fp32 programs carry no precision of their own, so one
that may be computed in bf16 needs only the measured permission, and the engine uses it where the processor can.
"""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.artifacts.folders import load_manifest, write_manifest
from models.artifacts.manifest import ClassOutput, DetectionOutput, HashOutput, ImageInput, Manifest, Output
from models.boxes import suppress
from models.detector import SUPPRESSION_IOU, decode_heads
from models.engines.loader import load_program
from models.engines.openvino import computes_bf16
from models.errors import ArtifactError
from models.evaluation.detection_metrics import average_precision
from models.export.calibration_pictures import prepared, split, synthetic_pictures
from models.export.quantize import openvino_network, save_fp16, save_fp32, save_int8

Array = NDArray[np.float32]
Answers = dict[str, Array]  # by the names of the program's outputs
Answer = Callable[[Array], Answers]
PRECISIONS = ("fp16", "bf16", "int8")
LEAST = 0.8  # of agreement; a program below it is not the network any more
HELD = ("cosine_mean", "same_class", "AP50")  # the metrics of agreement that must reach LEAST
MOST_LOST = 0.05  # of an eval set's metric, without a warning
FEW_PICTURES = 20  # fewer do not show a network's usual ranges
SURE = 0.3  # the score of a box that a program of fewer bits must find again


def add_precisions(
    folder: Path,
    precisions: Sequence[str],
    pictures: Sequence[NDArray[np.uint8]] | None = None,
    eager: Answer | None = None,
) -> Manifest:
    """Put the artifact in `folder` into `precisions` too, and return its manifest.

    `pictures` (RGB, default: synthetic ones) calibrate int8, and are what all are compared on, with the `eager` network's
    answers, or without one with those of the fp32 program. Raises ArtifactError for an unknown precision, for bf16 on a
    processor that can't measure it, and for a program that agrees by less than LEAST.
    """
    manifest = load_manifest(folder)
    given = manifest.input
    if unknown := [name for name in precisions if name not in PRECISIONS]:
        raise ArtifactError(f"There is no precision {unknown[0]!r}; take some of {', '.join(PRECISIONS)}.")
    require_measurable(precisions)
    shown = synthetic_pictures(manifest.task, given.height) if pictures is None else pictures
    calibrating, compared = split(shown)
    about: dict[str, dict[str, Any]] = {name: dict(entry) for name, entry in manifest.precisions.items()}
    with tempfile.TemporaryDirectory(dir=folder) as work:
        _copy_fp32(folder, Path(work))
        expected = _one_by_one(eager or _answer(Path(work), given, "fp32"), compared, given)
        for precision in precisions:
            made: dict[str, Any] = {}
            if precision == "fp16":
                save_fp16(openvino_network(Path(work)), Path(work))
            elif precision == "int8":
                made = save_int8(openvino_network(Path(work)), calibrating, given, Path(work))
                made["calibrated_with"] = "rendered pictures" if pictures is None else "given pictures"
            got = _one_by_one(_answer(Path(work), given, precision), compared, given)
            about[precision] = {
                **made,
                "compared_with": "fp32 program" if eager is None else "eager network",
                "pictures": len(compared),
                "agreement": agreement(expected, got, manifest.output, given),
            }
            _require(precision, about[precision]["agreement"])
            about[precision]["warnings"] = cautions(precision, about[precision])
        for file in sorted(Path(work).glob("inference_*")):
            shutil.move(file, folder / file.name)
    return _rewrite(folder, manifest, about)


def measurable() -> tuple[str, ...]:
    """Those of PRECISIONS that this processor can measure."""
    return tuple(name for name in PRECISIONS if name != "bf16" or computes_bf16())


def require_measurable(precisions: Sequence[str]) -> None:
    """Raise ArtifactError for bf16 on a processor that does not compute it: to be asked before anything is written."""
    if "bf16" in precisions and "bf16" not in measurable():
        raise ArtifactError(
            "This processor does not compute bf16, so its difference can't be measured here. "
            "Leave out bf16, or export on a processor with avx512_bf16 or amx_bf16."
        )


def agreement(
    expected: Sequence[Answers], got: Sequence[Answers], output: Output, given: ImageInput
) -> dict[str, float]:
    """How alike the answers to single pictures are; 1 is the same, and the first metric is the one that counts."""
    if isinstance(output, DetectionOutput):
        return _same_boxes(expected, got, output, given)
    a, b = (np.concatenate([answer[output.name] for answer in side]) for side in (expected, got))
    if isinstance(output, ClassOutput):
        same = a.argmax(axis=1) == b.argmax(axis=1)
        return _rounded({"same_class": same.mean(), "probability_off_by": np.abs(a - b).max()})
    cosines = (a * b).sum(axis=1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)
    found = {"cosine_mean": cosines.mean(), "cosine_least": cosines.min()}
    if isinstance(output, HashOutput):
        found["same_bits"] = ((a > 0) == (b > 0)).mean()
    return _rounded(found)


def cautions(precision: str, about: Mapping[str, Any]) -> list[str]:
    """What to know before a program of fewer bits is used, from what its manifest says of it; mostly nothing."""
    warnings = [
        f"{precision} loses {lost:.4g} in the eval set {name!r}: {about['metrics'][name] + lost:.4g} in fp32, "
        f"{about['metrics'][name]:.4g} in {precision}"
        for name, lost in about.get("lost", {}).items()
        if lost > MOST_LOST
    ]
    if not set(HELD) & set(about.get("agreement", {})):
        warnings.append(
            f"{precision} was not compared: the full network is sure of nothing in the pictures kept for that"
        )
    calibrating = about.get("calibration_pictures", FEW_PICTURES)
    if calibrating < FEW_PICTURES:
        warnings.append(f"{precision} was calibrated with {calibrating} pictures; give at least {FEW_PICTURES}")
    return warnings


def convert(model: Path, folder: Path) -> Manifest:
    """A copy of a model folder as an artifact; an official archive's program becomes OpenVINO IR, cut before decoding.

    Raises ArtifactError, EngineError.
    """
    manifest = load_manifest(model)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ArtifactError(f"The folder {str(folder)!r} is not empty.")
    if manifest.official:
        save_fp32(openvino_network(model, _cut_at(manifest.output)), folder)
    else:
        for name in manifest.files:
            shutil.copyfile(model / name, folder / name)
    return _rewrite(folder, manifest, {name: dict(entry) for name, entry in manifest.precisions.items()})


def _copy_fp32(folder: Path, work: Path) -> None:
    for file in folder.glob("inference.*"):
        shutil.copyfile(file, work / file.name)


def _cut_at(output: Output) -> list[str]:
    if isinstance(output, DetectionOutput):
        return [name for head in output.heads for name in (head.scores, head.distances)]
    return []


def _answer(folder: Path, given: ImageInput, precision: str) -> Answer:
    program = load_program(folder, engine="openvino", precision=precision)
    return lambda pixels: program.run({given.name: pixels})


def _one_by_one(answer: Answer, pictures: Sequence[NDArray[np.uint8]], given: ImageInput) -> list[Answers]:
    return [answer(prepared(picture, given)) for picture in pictures]


def _same_boxes(
    expected: Sequence[Answers], got: Sequence[Answers], output: DetectionOutput, given: ImageInput
) -> dict[str, float]:
    """Average precision of the boxes found, where the sure ones of the full network count as the truth."""
    found, truth, off = [], [], 0.0
    for a, b in zip(expected, got, strict=True):
        boxes, scores = _found(a, output, given)
        truth.append(boxes[scores >= SURE])
        found.append(_found(b, output, given))
        off = max([off, *(float(np.abs(a[head.scores] - b[head.scores]).max()) for head in output.heads)])
    metrics = {**average_precision(found, truth), "score_off_by": off}
    return _rounded({name: value for name, value in metrics.items() if np.isfinite(value)})  # NaN: nothing was sure


def _found(answers: Answers, output: DetectionOutput, given: ImageInput) -> tuple[Array, Array]:
    boxes, scores = decode_heads(answers, output, given.height, given.width)
    kept = suppress(boxes, scores, SUPPRESSION_IOU)
    return boxes[kept], scores[kept]


def _require(precision: str, metrics: dict[str, float]) -> None:
    name, value = next(iter(metrics.items()))
    if name in HELD and value < LEAST:
        raise ArtifactError(f"The {precision} program answers otherwise than the network ({name} {value:.2f}).")


def _rounded(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: round(float(value), 5) for name, value in metrics.items()}


def _rewrite(folder: Path, manifest: Manifest, precisions: dict[str, dict[str, Any]]) -> Manifest:
    return write_manifest(
        folder,
        name=manifest.name,
        task=manifest.task,
        network=manifest.network,
        input=asdict(manifest.input),
        output=asdict(manifest.output),
        thresholds=manifest.thresholds,
        recipe=manifest.recipe,
        data=manifest.data,
        metrics=manifest.metrics,
        licence=manifest.licence,
        precisions=precisions,
        calibration=manifest.calibration,
    )
