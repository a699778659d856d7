"""Reads the archives that PaddleClas publishes: `inference.pdmodel`, `.pdiparams`, and for detectors `infer_cfg.yml`.

They describe little of themselves, so a manifest is made from the program, the configuration and the published defaults.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml

from models.artifacts.manifest import ClassOutput, DetectionOutput, EmbeddingOutput, Head, ImageInput, OfficialManifest
from models.errors import ArtifactError
from models.pdmodel.program_desc import parse_program
from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from models.pdmodel.program_desc import Operator, ProgramDesc

PROGRAM, PARAMETERS, CONFIGURATION = "inference.pdmodel", "inference.pdiparams", "infer_cfg.yml"
INTERPOLATIONS = {1: "linear", 2: "cubic"}  # OpenCV's codes
LICENCE = "Apache-2.0"
SHORT = 256 / 224  # a classifier's pictures are made so much larger than its input before their middle is taken
SCORES = {"softmax", "sigmoid"}  # a program that ends in one of them classifies
NETWORKS = {
    "detect": "PicoDet (official)",
    "embed": "PP-ShiTu embedder (official)",
    "classify": "classifier (official)",
}
THRESHOLDS: Mapping[str, Mapping[str, float]] = {
    "detect": {"detection": 0.2},
    "embed": {"similarity": 0.5},
    "classify": {},
}
PASSING = {"scale", "assign", "reshape2", "flatten_contiguous_range", "squeeze2"}  # may follow it


def is_official(folder: Path) -> bool:
    """Whether `folder` looks like an unpacked official archive."""
    return (folder / PROGRAM).is_file()


def official_manifest(folder: Path) -> OfficialManifest:
    """The manifest of an unpacked official archive; its files' SHA-256 are computed. Raises ArtifactError."""
    program = parse_program((folder / PROGRAM).read_bytes())
    detects = (folder / CONFIGURATION).is_file()
    present = (PROGRAM, PARAMETERS, CONFIGURATION) if detects else (PROGRAM, PARAMETERS)
    if not (folder / PARAMETERS).is_file():
        raise ArtifactError(f"Next to {PROGRAM} the file {PARAMETERS} is missing.", "artifact_incomplete")
    task = "detect" if detects else "classify" if _ends_in_scores(program) else "embed"
    image = _detector_input(folder, program) if detects else _picture_input(program)
    output: DetectionOutput | ClassOutput | EmbeddingOutput
    if task == "detect":
        output = detector_heads(program, image)
    elif task == "classify":
        image = centred(image)
        output = ClassOutput(program.outputs[0].name, ())
    else:
        output = _embedding(program)
    return OfficialManifest(
        name=folder.resolve().name,
        task=task,
        network=NETWORKS[task],
        input=image,
        output=output,
        files={name: sha256_of(folder / name) for name in present},
        thresholds=THRESHOLDS[task],
        licence=LICENCE,
    )


def centred(image: ImageInput) -> ImageInput:
    """The input of a classifier of that size: a little more than it sees is resized, and the middle is taken."""
    return replace(image, resize_short=round(SHORT * max(image.height, image.width)))


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def detector_heads(program: ProgramDesc, image: ImageInput) -> DetectionOutput:
    """The places where a PicoDet program is cut: each level's scores after the sigmoid, and its raw distance bins.

    A level ends in a `split` of its last convolution's channels into one class and four sides of bins.
    """
    heads, bins = [], set()
    for op in program.operators:
        sections = op.integers.get("sections", [])
        if op.type != "split" or op.integers.get("axis") != [1] or len(sections) != 2 or sections[1] % 4:
            continue
        logits, distances = op.outputs["Out"]
        shape = program.variables[distances].shape
        if sections[0] != 1 or shape is None or len(shape) != 4 or not shape[2] or not shape[3]:
            raise ArtifactError("The detector has another number of classes than one, or no fixed size.")
        bins.add(sections[1] // 4)
        heads.append(Head(_after_sigmoid(program, logits), distances, image.height // shape[2]))
    if not heads or len(bins) != 1:
        raise ArtifactError("The program is no PicoDet detector: it has no split into class and distances.")
    return DetectionOutput(tuple(heads), bins.pop() - 1)


def _after_sigmoid(program: ProgramDesc, name: str) -> str:
    """The variable after the sigmoid that follows `name`, which may be transposed or reshaped on the way."""
    for op in _readers(program, name):
        if op.type == "sigmoid":
            return op.outputs["Out"][0]
        if op.type in {"transpose2", "reshape2"}:
            return _after_sigmoid(program, op.outputs["Out"][0])
    raise ArtifactError(f"No sigmoid follows the scores {name!r}.")


def _readers(program: ProgramDesc, name: str) -> Iterator[Operator]:
    return (op for op in program.operators if name in op.reads())


def _ends_in_scores(program: ProgramDesc) -> bool:
    """Whether the first output comes from a softmax or sigmoid, through operators that change no value's meaning.

    PaddleClas exports classifiers with their softmax (a sigmoid where several labels hold), embedders without.
    """
    name = program.outputs[0].name
    for op in reversed(program.operators):
        if name in op.makes():
            if op.type not in PASSING:
                return op.type in SCORES
            name = op.inputs["X"][0]
    return False


def _picture_input(program: ProgramDesc) -> ImageInput:
    match [spec.shape for spec in program.inputs]:
        case [(_, 3, int(height), int(width))]:
            return ImageInput(program.inputs[0].name, height, width, "linear", IMAGENET_MEAN, IMAGENET_STD)
    raise ArtifactError("The network takes something else than one batch of pictures of a fixed size.")


def _embedding(program: ProgramDesc) -> EmbeddingOutput:
    shape = program.outputs[0].shape
    if len(shape) != 2 or not shape[1]:
        raise ArtifactError("The embedder's first output is no batch of vectors.")
    return EmbeddingOutput(program.outputs[0].name, shape[1])


def _detector_input(folder: Path, program: ProgramDesc) -> ImageInput:
    steps = _steps(folder / CONFIGURATION)
    try:
        resize, normalize = steps["Resize"], steps["NormalizeImage"]
        height, width = (int(side) for side in resize["target_size"])
        interpolation = INTERPOLATIONS[int(resize.get("interp", 1))]
        red, green, blue = (float(value) for value in normalize["mean"])
        std_red, std_green, std_blue = (float(value) for value in normalize["std"])
        scaled = normalize.get("is_scale", True) and not resize.get("keep_ratio", False)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{CONFIGURATION} describes no resizing and normalising that are known here.") from error
    if not scaled:
        raise ArtifactError(f"{CONFIGURATION} sets a kept ratio or unscaled values, which is not supported.")
    name = next((spec.name for spec in program.inputs if len(spec.shape) == 4), None)
    if name is None:
        raise ArtifactError("The detector takes no picture.")
    return ImageInput(name, height, width, interpolation, (red, green, blue), (std_red, std_green, std_blue))


def _steps(file: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
        return {step["type"]: step for step in data["Preprocess"]}
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError) as error:
        raise ArtifactError(f"{CONFIGURATION} can't be read.") from error
