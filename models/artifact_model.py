"""What detector, embedder and classifier have in common: an artifact's manifest, and its program in an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.engines.pixels import load_pixel_program
from models.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from models.artifacts.manifest import Manifest
    from models.pdmodel.program_desc import TensorSpec


class ArtifactModel:
    """A loaded artifact or official archive."""

    def __init__(
        self,
        folder: Path | str,
        manifest: Manifest,
        engine: str = "auto",
        threads: int = 1,
        precision: str = "auto",
        *,
        outputs: Sequence[str],
        cut: bool = False,
    ) -> None:
        """`outputs` must be among the program's; `cut` has the engine run what leads to them alone.

        Raises ArtifactError, EngineError.
        """
        self.manifest: Manifest = manifest
        manifest.require(precision)
        self._program = load_pixel_program(
            folder,
            manifest.input,
            engine=engine,
            threads=threads,
            outputs=outputs if cut else (),
            precision=precision,
        )
        if missing := sorted(set(outputs) - {spec.name for spec in self._program.outputs}):
            raise ArtifactError(f"{manifest.name}: the program has no output {missing[0]!r}.")

    @property
    def name(self) -> str:
        """The artifact's name."""
        return self.manifest.name

    @property
    def digest(self) -> str:
        """The artifact's digest in this precision: what models of different digests give must not be compared."""
        return self.manifest.digest_of(self.precision)

    @property
    def engine(self) -> str:
        """What runs it: "openvino" or "paddle"."""
        return self._program.engine

    @property
    def precision(self) -> str:
        """What it computes in: "fp32", "fp16" (weights), "bf16" or "int8"."""
        return self._program.precision

    def _output_spec(self, name: str) -> TensorSpec:
        return next(spec for spec in self._program.outputs if spec.name == name)
