"""No serving module is forgotten in the contracts that lint-imports checks: each file of models/ is in one."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TRAINING = {
    f"models.{name}" for name in ("nets", "training", "evaluation", "export", "synth")
}  # the folders that serving does without


def contracts() -> list[dict[str, Any]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    return found


def test_every_serving_module_is_held_to_import_no_training_code() -> None:
    (serving,) = [one for one in contracts() if set(one.get("forbidden_modules", ())) == TRAINING]
    modules = {f"models.{path.stem}" for path in (ROOT / "models").glob("*.py") if path.stem != "__init__"}
    packages = {f"models.{path.parent.name}" for path in (ROOT / "models").glob("*/__init__.py")}
    listed = serving["source_modules"]
    assert sorted(listed) == sorted({"worker"} | modules | (packages - TRAINING)), "list it in pyproject.toml"
    assert packages >= TRAINING


def test_every_package_is_analysed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks"}
    assert set(project["tool"]["importlinter"]["root_packages"]) == packages
    (layers,) = [one["layers"] for one in contracts() if one["type"] == "layers" and "contracts" in one["layers"]]
    assert {name.strip() for layer in layers for name in layer.split("|")} == packages


def test_evaluation_and_recipes_are_read_without_paddlepaddle() -> None:
    modules = (
        "models.evaluation.evaluate", "models.evaluation.retrieval", "models.evaluation.photo_recall",
        "models.evaluation.pipeline", "models.evaluation.calibrate_embedder", "models.evaluation.recipe_calibration",
        "models.evaluation.classification", "models.evaluation.detector_sets", "models.training.recipes.embedder",
        "models.training.recipes.detector", "models.training.recipes.classifier", "models.training.recipes.metric",
        "models.training.recipes.distill", "models.training.recipes.hash",
    )  # fmt: skip
    program = f"import sys\nsys.modules['paddle'] = None\nimport {', '.join(modules)}"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
