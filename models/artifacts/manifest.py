"""What a model folder says of itself: `manifest.json` as frozen dataclasses, read strictly; every mistake is named at once."""

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, field
from typing import Annotated, Any, ClassVar, TypeVar, dataclass_transform

from pydantic import Field, PlainValidator, ValidationInfo

from models.engines.program import PRECISIONS, STEMS
from models.errors import ArtifactError
from models.tables import Count, Flag, Float, Positive, TableError, Text, Whole, frozen_table, known, read_table, rule

SCHEMA = 1
SHA256 = re.compile(r"[0-9a-f]{64}")
INTERPOLATIONS = ("linear", "cubic", "area")
UNKNOWNS = "unknowns.npy"  # (U, D) float16: embeddings of unrelated pictures, queries that have no right answer


T = TypeVar("T")


class ManifestError(TableError, ArtifactError):
    """A manifest lacks a key, has an unknown one, or values of the wrong type, out of bounds or at odds with each other."""

    code = "artifact_invalid"


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def table(kind: type[T]) -> type[T]:
    """A table of a manifest: a frozen dataclass whose types are held to where it is read, and its rules always."""
    return frozen_table(kind, ManifestError)


@table
class ImageInput:
    """The program's input `name`: (N, 3, height, width) float32, RGB / 255 less `mean`, over `std`.

    A picture is stretched to that size; with `resize_short`, its shorter side is brought to that and the middle is taken.
    """

    name: Text
    height: Count
    width: Count
    interpolation: Annotated[str, known(*INTERPOLATIONS)]
    mean: tuple[Float, Float, Float]  # red, green, blue
    std: tuple[Positive, Positive, Positive]
    resize_short: Whole = 0

    @rule("resize_short", "height", "width")
    def _the_middle_fits(self) -> Iterator[str]:
        if 0 < self.resize_short < max(self.height, self.width):
            yield f"must be 0, or no less than 'height' and 'width', not {self.resize_short}"


@table
class EmbeddingOutput:
    """The program's output `name`: (N, dim)."""

    name: Text
    dim: Count


@table
class Head:
    """One level of a detector: `scores` (N, 1, H, W) after the sigmoid, `distances` (N, 4 (reg_max + 1), H, W) raw bins."""

    scores: Text
    distances: Text
    stride: Count


@table
class DetectionOutput:
    """The levels of a detector; distances are the expectation over 0 .. reg_max strides."""

    heads: Annotated[tuple[Head, ...], Field(min_length=1)]
    reg_max: Count


@table
class HashOutput:
    """The program's output `name`: (N, bits), a bit set where the number is above 0."""

    name: Text
    bits: Count

    @property
    def dim(self) -> int:
        """Length of the float embedding that the binary code is made of."""
        return self.bits


@table
class ClassOutput:
    """The program's output `name`: (N, C) probabilities, or logits where it says so.

    `labels` are the names of all C classes in turn, or empty where they are not known.
    """

    name: Text
    labels: tuple[str, ...]
    logits: Flag = False


Output = EmbeddingOutput | DetectionOutput | HashOutput | ClassOutput
TASKS: Mapping[str, type[Output]] = {
    "embed": EmbeddingOutput,
    "detect": DetectionOutput,
    "hash": HashOutput,
    "classify": ClassOutput,
}


@table
class Credit:
    """Something of others that an artifact was made with; see `models.artifacts.credits`."""

    source: Text
    kind: Text
    title: Text
    licence: Text


def _output(value: Any, info: ValidationInfo) -> Any:
    kind = TASKS.get(info.data.get("task", ""))
    return value if kind is None else read_table(kind, value)  # without a task that mistake is named, and no other


def _credit(value: object) -> dict[str, str]:
    return asdict(read_table(Credit, value))


@table
class Manifest:
    """`files` are names and SHA-256.

    `precisions` are those besides fp32 that the artifact may run in, each with what was measured of it. `calibration` is an
    embedder's own fit of how sure answers are, as `models.galleries.calibration` writes it; empty where there is none. `credits` are the weights, teachers and
    picture sets of others that it was made with, and their licences (`models.artifacts.credits`).
    """

    name: Text
    task: Annotated[str, known(*TASKS)]
    network: Text
    input: ImageInput
    output: Annotated[Output, PlainValidator(_output)]
    files: Mapping[str, str]
    thresholds: Mapping[str, Float] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data: tuple[str, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    licence: Text = ""
    precisions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    credits: tuple[Annotated[Mapping[str, str], PlainValidator(_credit)], ...] = ()
    official: ClassVar[bool] = False

    @rule("files")
    def _files_are_named_and_summed(self) -> Iterator[str]:
        for name, sha256 in self.files.items():
            if not SHA256.fullmatch(sha256) or "/" in name or "\\" in name or name in {"", "..", "."}:
                yield f"{name!r} must be a plain file name with a SHA-256"

    @rule("precisions", "files")
    def _precisions_have_files(self) -> Iterator[str]:
        held = {stem_of(name) for name in self.files}
        for precision in self.precisions:
            if precision not in STEMS or precision == "fp32":
                yield f"has an unknown key {precision!r}"
            elif STEMS[precision] not in held:
                yield f"none of the files is for {precision}"

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
        if not self.calibration:
            del fields["calibration"]
        if not self.credits:
            del fields["credits"]
        return {"schema": SCHEMA, **fields}


class OfficialManifest(Manifest):
    """That of an archive as PaddleClas publishes it, without a manifest of its own."""

    official = True


def stem_of(file: str) -> str:
    """The stem of STEMS that a file belongs to; whatever is no program of fewer bits belongs to fp32's."""
    stem = file.partition(".")[0]
    return stem if stem in STEMS.values() else STEMS["fp32"]


def parse_manifest(data: object) -> Manifest:
    """The manifest in a JSON value. Raises ManifestError for whatever is missing, unknown or of another type, all at once."""
    if isinstance(data, dict):
        schema = data.get("schema")
        if schema != SCHEMA:
            raise ManifestError(f"The manifest's schema is {schema!r}; this version reads {SCHEMA}.")
        data = {key: value for key, value in data.items() if key != "schema"}
    return read_table(Manifest, data)
