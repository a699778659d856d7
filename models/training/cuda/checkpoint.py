"""What came back from the machine with the GPU, as a run's `best.npz`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.training.engine.checkpoint import Arrays, Checkpoint, fill
from models.training.errors import TrainingError
from models.training.networks.embedder import build_embedder
from models.training.recipes.embedder import EmbedderRecipe


def collect(recipe: EmbedderRecipe, parts: Sequence[Path], run: Path) -> Path:
    """Put the parts that `distil` saved together as `run/best.npz`. Raises TrainingError, ArtifactError."""
    arrays: Arrays = {}
    progress: dict[str, Any] = {}
    for path in parts:
        with np.load(path, allow_pickle=False) as stored:
            own = json.loads(stored["progress"].tobytes())
            if progress and own != progress:
                raise TrainingError(f"{path.name} is of another moment than {parts[0].name}")
            progress = own
            arrays |= {name: stored[name] for name in stored.files if name != "progress"}
    run.mkdir(parents=True, exist_ok=True)
    best = run / "best.npz"
    Checkpoint({"embedder": arrays}, progress).save(best)
    fill(build_embedder(recipe.network), best, "embedder")
    return best
