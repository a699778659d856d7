"""What a model folder says of itself: `manifest.json` as frozen dataclasses, read strictly."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from models.engines.program import PRECISIONS, STEMS
from models.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SCHEMA = 1
SHA256 = re.compile(r"[0-9a-f]{64}")
INTERPOLATIONS = ("linear", "cubic", "area")
KEYS = {
    "schema", "name", "task", "network", "input", "output", "thresholds", "files", "recipe", "data", "metrics", "licence",
    "precisions", "calibration", "credits",
}  # fmt: skip
UNKNOWNS = "unknowns.npy"  # (U, D) float16: embeddings of unrelated pictures, queries that have no right answer


@dataclass(frozen=True)
class ImageInput:
    """The program's input `name`: (N, 3, height, width) float32, RGB / 255 less `mean`, over `std`.

    A picture is stretched to that size; with `resize_short`, its shorter side is brought to that and the middle is taken.
    """

    name: str
    height: int
    width: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_short: int = 0


@dataclass(frozen=True)
class EmbeddingOutput:
    """The program's output `name`: (N, dim)."""

    name: str
    dim: int


@dataclass(frozen=True)
class Head:
    """One level of a detector: `scores` (N, 1, H, W) after the sigmoid, `distances` (N, 4 (reg_max + 1), H, W) raw bins."""

    scores: str
    distances: str
    stride: int


@dataclass(frozen=True)
class DetectionOutput:
    """The levels of a detector; distances are the expectation over 0 .. reg_max strides."""

    heads: tuple[Head, ...]
    reg_max: int


@dataclass(frozen=True)
class HashOutput:
    """The program's output `name`: (N, bits), a bit set where the number is above 0."""

    name: str
    bits: int

    @property
    def dim(self) -> int:
        """The numbers before their signs are taken are an embedding of that length."""
        return self.bits


@dataclass(frozen=True)
class ClassOutput:
    """The program's output `name`: (N, C) probabilities, or logits where it says so.

    `labels` are the names of all C classes in turn, or empty where they are not known.
    """

    name: str
    labels: tuple[str, ...]
    logits: bool = False


Output = EmbeddingOutput | DetectionOutput | HashOutput | ClassOutput


@dataclass(frozen=True)
class Manifest:
    """`files` are names and SHA-256. `official`: an archive as PaddleClas publishes it, without a manifest of its own.

    `precisions` are those besides fp32 that the artifact may run in, each with what was measured of it. `calibration` is an
    embedder's own fit of how sure answers are, as `models.galleries.calibration` writes it; empty where there is none. `credits` are the weights, teachers and
    picture sets of others that it was made with, and their licences (`models.artifacts.credits`).
    """

    name: str
    task: str  # of TASKS
    network: str
    input: ImageInput
    output: Output
    files: Mapping[str, str]
    thresholds: Mapping[str, float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    licence: str = ""
    precisions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    credits: tuple[Mapping[str, str], ...] = ()
    official: bool = False

    @property
    def digest(self) -> str:
        """The digest of the fp32 programs."""
        return self.digest_of("fp32")

    def digest_of(self, precision: str) -> str:
        """SHA-256 over the sorted `files` of that precision: the same programs have the same digest, whatever else is said.

        A program of fewer bits has another digest, for its embeddings differ; computing in bf16 has not, for a worker
        does that only where its processor can, and all workers must be able to share a gallery. UNKNOWNS changes no
        embedding and counts for nothing.
        """
        programs = {name: sha256 for name, sha256 in self.files.items() if name != UNKNOWNS}
        own = {name: sha256 for name, sha256 in programs.items() if stem_of(name) == STEMS[precision]}
        lines = "".join(f"{name} {sha256}\n" for name, sha256 in sorted((own or programs).items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def require(self, precision: str) -> None:
        """Raises ArtifactError (program_missing) unless the artifact may run in `precision`, of PRECISIONS."""
        if precision in PRECISIONS and precision not in {"auto", "fp32", *self.precisions}:
            known = ", ".join(["fp32", *self.precisions])
            raise ArtifactError(f"{self.name} is not made for {precision}, only for {known}.", "program_missing")

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `manifest.json`."""
        fields = asdict(self)
        del fields["official"]
        if not self.calibration:
            del fields["calibration"]
        if not self.credits:
            del fields["credits"]
        return {"schema": SCHEMA, **fields}


def stem_of(file: str) -> str:
    """The stem of STEMS that a file belongs to; whatever is no program of fewer bits belongs to fp32's."""
    stem = file.partition(".")[0]
    return stem if stem in STEMS.values() else STEMS["fp32"]


def parse_manifest(data: object) -> Manifest:
    """The manifest in a JSON value. Raises ArtifactError for whatever is missing, unknown or of another type."""
    table = _table(data, "manifest", KEYS)
    if table.get("schema") != SCHEMA:
        raise ArtifactError(f"The manifest's schema is {table.get('schema')!r}; this version reads {SCHEMA}.")
    task = _text(table, "task", "manifest")
    if task not in TASKS:
        raise ArtifactError(f"The manifest's task is {task!r}, not one of {', '.join(TASKS)}.")
    files = _table(_get(table, "files", "manifest"), "files", None)
    for name, sha256 in files.items():
        if (
            not isinstance(sha256, str)
            or not SHA256.fullmatch(sha256)
            or "/" in name
            or "\\" in name
            or name in {"", "..", "."}
        ):
            raise ArtifactError(f"files: {name!r} must be a plain file name with a SHA-256.")
    return Manifest(
        name=_text(table, "name", "manifest"),
        task=task,
        network=_text(table, "network", "manifest"),
        input=_input(_get(table, "input", "manifest")),
        output=TASKS[task](_get(table, "output", "manifest")),
        files=files,
        thresholds={
            key: _number(value, f"thresholds.{key}")
            for key, value in _table(table.get("thresholds", {}), "thresholds", None).items()
        },
        recipe=_table(table.get("recipe", {}), "recipe", None),
        data=_texts(table.get("data", []), "data"),
        metrics=_table(table.get("metrics", {}), "metrics", None),
        licence=_text(table, "licence", "manifest") if "licence" in table else "",
        precisions=_precisions(table.get("precisions", {}), files),
        calibration=_table(table.get("calibration", {}), "calibration", None),
        credits=_credits(table.get("credits", [])),
    )


def _credits(data: object) -> tuple[dict[str, str], ...]:
    if not isinstance(data, list | tuple):
        raise ArtifactError("credits must be a list of tables.")
    tables = [_table(entry, "credits", {"source", "kind", "title", "licence"}) for entry in data]
    return tuple({key: _text(one, key, "credits") for key in ("source", "kind", "title", "licence")} for one in tables)


def _precisions(data: object, files: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    table = _table(data, "precisions", set(STEMS) - {"fp32"})
    held = {stem_of(name) for name in files}
    if bare := [precision for precision in table if STEMS[precision] not in held]:
        raise ArtifactError(f"precisions: none of the files is for {bare[0]}.")
    return {precision: _table(about, f"precisions.{precision}", None) for precision, about in table.items()}


def _input(data: object) -> ImageInput:
    table = _table(data, "input", {"name", "height", "width", "interpolation", "mean", "std", "resize_short"})
    interpolation = _text(table, "interpolation", "input")
    if interpolation not in INTERPOLATIONS:
        raise ArtifactError(f"input.interpolation is {interpolation!r}, not one of {', '.join(INTERPOLATIONS)}.")
    std = _triple(table, "std")
    if min(std) <= 0:
        raise ArtifactError("input.std must be above 0.")
    height, width = _size(table, "height", "input"), _size(table, "width", "input")
    short = _size(table, "resize_short", "input") if table.get("resize_short") else 0
    if 0 < short < max(height, width):
        raise ArtifactError("input.resize_short must be 0, or no less than height and width.")
    return ImageInput(_text(table, "name", "input"), height, width, interpolation, _triple(table, "mean"), std, short)


def _embedding(data: object) -> EmbeddingOutput:
    table = _table(data, "output", {"name", "dim"})
    return EmbeddingOutput(_text(table, "name", "output"), _size(table, "dim", "output"))


def _detection(data: object) -> DetectionOutput:
    table = _table(data, "output", {"heads", "reg_max"})
    heads = _get(table, "heads", "output")
    if not isinstance(heads, list | tuple) or not heads:
        raise ArtifactError("output.heads must be a list of heads.")
    return DetectionOutput(tuple(_head(head) for head in heads), _size(table, "reg_max", "output"))


def _hash(data: object) -> HashOutput:
    table = _table(data, "output", {"name", "bits"})
    return HashOutput(_text(table, "name", "output"), _size(table, "bits", "output"))


def _classes(data: object) -> ClassOutput:
    table = _table(data, "output", {"name", "labels", "logits"})
    labels = _texts(_get(table, "labels", "output"), "output.labels")
    logits = table.get("logits", False)
    if not isinstance(logits, bool):
        raise ArtifactError("output.logits must be true or false.")
    return ClassOutput(_text(table, "name", "output"), labels, logits)


def _head(data: object) -> Head:
    table = _table(data, "output.heads", {"scores", "distances", "stride"})
    where = "output.heads"
    return Head(_text(table, "scores", where), _text(table, "distances", where), _size(table, "stride", where))


TASKS: Mapping[str, Callable[[object], Output]] = {
    "embed": _embedding,
    "detect": _detection,
    "hash": _hash,
    "classify": _classes,
}


def _table(data: object, where: str, known: set[str] | None) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ArtifactError(f"{where} must be a table.")
    if known is not None and (unknown := sorted(set(data) - known)):
        raise ArtifactError(f"{where} has an unknown key {unknown[0]!r}.")
    return data


def _get(table: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in table:
        raise ArtifactError(f"{where} lacks {key!r}.")
    return table[key]


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = _get(table, key, where)
    if not isinstance(value, str) or not value:
        raise ArtifactError(f"{where}.{key} must be text.")
    return value


def _size(table: Mapping[str, Any], key: str, where: str) -> int:
    value = _get(table, key, where)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArtifactError(f"{where}.{key} must be a whole number above 0.")
    return value


def _number(value: object, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ArtifactError(f"{where} must be a number.")
    return float(value)


def _triple(table: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    value = _get(table, key, "input")
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ArtifactError(f"input.{key} must be three numbers, for red, green and blue.")
    red, green, blue = (_number(item, f"input.{key}") for item in value)
    return red, green, blue


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ArtifactError(f"{where} must be a list of texts.")
    return tuple(value)
