"""The packages that `pip install shitu` brings, by pyproject.toml and what those that are installed here say of themselves."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]


def project() -> dict[str, Any]:
    """Of pyproject.toml."""
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return found


def plain(name: str) -> str:
    """A package's name, as all of its spellings."""
    return re.sub(r"[-_.]+", "-", name).lower()


def core() -> set[str]:
    """The names of all of them, also of what they need themselves."""
    found: set[str] = set()
    open_names = [(plain(Requirement(line).name)) for line in project()["dependencies"]]
    while open_names:
        name = open_names.pop()
        if name not in found:
            found.add(name)
            needed = map(Requirement, importlib.metadata.requires(name) or ())
            open_names += [
                plain(one.name) for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})
            ]
    return found
