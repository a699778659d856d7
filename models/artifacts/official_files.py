"""The files of a published archive: its program in either of PaddlePaddle's forms, its parameters, and what its YAML says.

PaddleClas            inference.pdmodel    inference.pdiparams
PaddleDetection       model.pdmodel        model.pdiparams        infer_cfg.yml
PaddleX 3             inference.json       inference.pdiparams    inference.yml
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from models.artifacts.manifest import ImageInput
from models.engines.program import OTHER_STEM, STEM
from models.errors import ArtifactError
from models.pdmodel.pir import parse_pir
from models.pdmodel.program_desc import parse_program
from models.pictures.image import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from pathlib import Path

    from models.pdmodel.program_desc import ProgramDesc

PROGRAM, PARAMETERS = f"{STEM}.pdmodel", f"{STEM}.pdiparams"
PROGRAMS = (PROGRAM, f"{STEM}.json", f"{OTHER_STEM}.pdmodel", f"{OTHER_STEM}.json")
DETECTION_YAML, PADDLEX_YAML = "infer_cfg.yml", f"{STEM}.yml"
INTERPOLATIONS = {1: "linear", 2: "cubic"}  # OpenCV's codes
WORDS = {"bilinear": "linear", "bicubic": "cubic", "cubic": "cubic"}  # PaddleClas'
HARMLESS = {"DecodeImage", "ToCHWImage", "Permute"}


@dataclass(frozen=True)
class Archive:
    """An unpacked archive. `configuration` is the YAML next to the program, None where there is none."""

    program: Path
    parameters: Path
    configuration: Path | None
    table: dict[str, Any]

    @property
    def files(self) -> tuple[Path, ...]:
        """All that it consists of."""
        return tuple(file for file in (self.program, self.parameters, self.configuration) if file is not None)

    def parse(self) -> ProgramDesc:
        """The program. Raises ArtifactError."""
        data = self.program.read_bytes()
        return parse_pir(data) if self.program.suffix == ".json" else parse_program(data)

    @property
    def detection(self) -> list[dict[str, Any]]:
        """The steps that prepare a detector's picture, empty where the YAML is of none."""
        steps = self.table.get("Preprocess")
        return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []

    @property
    def model_name(self) -> str:
        """What PaddleX calls it; empty where that is not said."""
        name = _table(self.table.get("Global")).get("model_name")
        return name if isinstance(name, str) else ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of a classifier's classes; empty where they are not said."""
        labels = _table(_table(self.table.get("PostProcess")).get("Topk")).get("label_list")
        return tuple(str(one) for one in labels) if isinstance(labels, list) else ()


def find_program(folder: Path) -> Path | None:
    """The program of an unpacked official archive; None where `folder` holds none."""
    return next((folder / name for name in PROGRAMS if (folder / name).is_file()), None)


def read_archive(folder: Path) -> Archive:
    """What `folder` holds. Raises ArtifactError: artifact_incomplete, artifact_invalid."""
    program = find_program(folder)
    if program is None:
        raise ArtifactError(f"None of {', '.join(PROGRAMS)} is in it.", "artifact_incomplete")
    parameters = program.with_suffix(".pdiparams")
    if not parameters.is_file():
        raise ArtifactError(f"Next to {program.name} the file {parameters.name} is missing.", "artifact_incomplete")
    file = next((folder / name for name in (DETECTION_YAML, PADDLEX_YAML) if (folder / name).is_file()), None)
    return Archive(program, parameters, file, {} if file is None else _yaml(file))


def detector_input(archive: Archive, name: str) -> ImageInput:
    """How the YAML prepares a detector's picture. Raises ArtifactError."""
    called = archive.configuration.name if archive.configuration else ""
    try:
        steps = {step["type"]: step for step in archive.detection}
        resize, normalize = steps["Resize"], steps["NormalizeImage"]
        height, width = (int(side) for side in resize["target_size"])
        interpolation = INTERPOLATIONS[int(resize.get("interp", 1))]
        mean, std = _three(normalize["mean"]), _three(normalize["std"])
        scaled = normalize.get("is_scale", True) and not resize.get("keep_ratio", False)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{called} describes no resizing and normalising that are known here.") from error
    if not scaled:
        raise ArtifactError(f"{called} sets a kept ratio or unscaled values, which is not supported.")
    return ImageInput(name, height, width, interpolation, mean, std)


def picture_input(archive: Archive, name: str, height: int, width: int) -> ImageInput:
    """How PaddleX' YAML prepares a crop, or a classifier's picture; PaddleClas' way where it says nothing. Raises ArtifactError."""
    steps = _table(archive.table.get("PreProcess")).get("transform_ops") or []
    called = archive.configuration.name if archive.configuration else ""
    how: dict[str, Any] = {"interpolation": "linear", "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "resize_short": 0}
    try:
        for step in steps:
            ((kind, values),) = step.items()
            values = values or {}
            if kind == "ResizeImage":
                how["interpolation"] = WORDS[values.get("interpolation") or "bilinear"]
                how["resize_short"] = int(values.get("resize_short") or 0)
                size = values.get("size")
            elif kind == "CropImage":
                size = values["size"]
            elif kind == "NormalizeImage":
                how |= {one: _three(values[one]) for one in ("mean", "std") if one in values}
                continue
            elif kind in HARMLESS:
                continue
            else:
                raise ArtifactError(f"{called} prepares pictures by {kind}, which is not known here.")
            if size is not None and [height, width] != ([size, size] if isinstance(size, int) else list(size)[::-1]):
                raise ArtifactError(f"{called} makes pictures of {size}, where the program takes {width} x {height}.")
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"{called} describes no preparation of pictures that is known here.") from error
    return ImageInput(name, height, width, **how)


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _yaml(file: Path) -> dict[str, Any]:
    try:
        return _table(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{file.name} can't be read.") from error
