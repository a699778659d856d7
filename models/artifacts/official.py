"""Describes the archives that PaddleClas, PaddleDetection and PaddleX publish, and their users export: a manifest for each.

They describe little of themselves, so it is made from the program, the YAML next to it and the published defaults.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from models.artifacts.manifest import ClassOutput, DetectionOutput, EmbeddingOutput, Head, ImageInput, OfficialManifest
from models.artifacts.official_files import (
    DETECTION_YAML,
    PARAMETERS,
    PROGRAM,
    detector_input,
    find_program,
    picture_input,
    read_archive,
)
from models.errors import ArtifactError
from models.pdmodel.splits import Split, splits
from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from models.artifacts.official_files import Archive
    from models.pdmodel.program_desc import Operator, ProgramDesc

__all__ = ["PARAMETERS", "PROGRAM", "is_official", "official_manifest", "sha256_of"]

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
# may follow it, by its name in either form of program
PASSING = {
    "scale",
    "scale_",
    "assign",
    "reshape2",
    "reshape",
    "flatten_contiguous_range",
    "flatten",
    "squeeze2",
    "squeeze",
    "fetch",
}
TURNING = {"transpose2", "transpose", "reshape2", "reshape"}
ASSUMED = "; without"  # in the network of a manifest of which something had to be assumed
SUPPRESSION = "multiclass_nms3"  # at a detector's end


def is_official(folder: Path) -> bool:
    """Whether `folder` looks like an unpacked official archive."""
    return find_program(folder) is not None


def official_manifest(folder: Path) -> OfficialManifest:
    """The manifest of an unpacked official archive; its files' SHA-256 are computed. Raises ArtifactError.

    A detector without a YAML is prepared for as PP-ShiTu's main-body detector is, which `network` says.
    """
    archive = read_archive(folder)
    program = archive.parse()
    task = "detect" if _detects(archive, program) else "classify" if _ends_in_scores(program) else "embed"
    network = f"{archive.model_name} (official)" if archive.model_name else NETWORKS[task]
    output: DetectionOutput | ClassOutput | EmbeddingOutput
    if task == "detect":
        image, assumed = _detector_input(archive, program)
        output = detector_heads(program, image)
        network += assumed
    elif task == "classify":
        image = _picture_input(archive, program)
        image = image if image.resize_short else centred(image)
        output = ClassOutput(program.outputs[0].name, _labels(archive, program))
    else:
        image = _picture_input(archive, program)
        output = _embedding(program)
    return OfficialManifest(
        name=folder.resolve().name,
        task=task,
        network=network,
        input=image,
        output=output,
        files={file.name: sha256_of(file) for file in archive.files},
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
    for split in _levels(program):
        logits, distances = split.parts
        shape = program.variables[distances].shape
        if split.sections[0] != 1 or shape is None or len(shape) != 4 or not shape[2] or not shape[3]:
            raise ArtifactError("The detector has another number of classes than one, or no fixed size.")
        bins.add(split.sections[1] // 4)
        heads.append(Head(_after_sigmoid(program, logits), distances, image.height // shape[2]))
    if not heads or len(bins) != 1:
        raise ArtifactError("The program is no PicoDet detector: it has no split into class and distances.")
    return DetectionOutput(tuple(heads), bins.pop() - 1)


def _levels(program: ProgramDesc) -> list[Split]:
    """The splits that may be a level's end."""
    return [one for one in splits(program) if one.axis == 1 and len(one.sections) == 2 and one.sections[1] % 4 == 0]


def _after_sigmoid(program: ProgramDesc, name: str) -> str:
    """The variable after the sigmoid that follows `name`, which may be transposed or reshaped on the way."""
    for op in _readers(program, name):
        if op.type == "sigmoid":
            return op.outputs["Out"][0]
        if op.type in TURNING:
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


def _detects(archive: Archive, program: ProgramDesc) -> bool:
    """By the YAML of a detector, by suppression at the end, or by levels of one class and bins that a sigmoid follows."""
    named = archive.configuration is not None and archive.configuration.name == DETECTION_YAML
    if named or archive.detection or any(op.type == SUPPRESSION for op in program.operators):
        return True
    levels = [split for split in _levels(program) if split.sections[0] == 1]
    try:
        return bool(levels) and all(_after_sigmoid(program, split.parts[0]) for split in levels)
    except ArtifactError:
        return False


def _picture_input(archive: Archive, program: ProgramDesc) -> ImageInput:
    match [spec.shape for spec in program.inputs]:
        case [(_, 3, int(height), int(width))]:
            return picture_input(archive, program.inputs[0].name, height, width)
    raise ArtifactError("The network takes something else than one batch of pictures of a fixed size.")


def _detector_input(archive: Archive, program: ProgramDesc) -> tuple[ImageInput, str]:
    """How a detector's picture is prepared, and what was assumed of it."""
    given = next((spec for spec in program.inputs if len(spec.shape) == 4), None)
    if given is None:
        raise ArtifactError("The detector takes no picture.")
    if archive.configuration is not None:
        return detector_input(archive, given.name), ""
    _, _, height, width = given.shape
    if not height or not width:
        raise ArtifactError(
            f"The detector has no fixed size, and no {DETECTION_YAML} that says one.", "artifact_incomplete"
        )
    assumed = f"{ASSUMED} {DETECTION_YAML}, so pictures are prepared as for PP-ShiTu's main-body detector ({width} x {height}, cubic)"
    return ImageInput(given.name, height, width, "cubic", IMAGENET_MEAN, IMAGENET_STD), assumed


def _labels(archive: Archive, program: ProgramDesc) -> tuple[str, ...]:
    shape = program.outputs[0].shape
    return archive.labels if shape and shape[-1] == len(archive.labels) else ()


def _embedding(program: ProgramDesc) -> EmbeddingOutput:
    shape = program.outputs[0].shape
    if len(shape) != 2 or not shape[1]:
        raise ArtifactError("The embedder's first output is no batch of vectors.")
    return EmbeddingOutput(program.outputs[0].name, shape[1])
