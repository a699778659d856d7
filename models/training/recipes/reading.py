"""Reads recipes: TOML files as frozen tables. Every mistake of a file is reported at once, before hours are lost."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar, dataclass_transform

from pydantic import Field

from models.tables import Count, Integer, TableError, frozen_table, read_table

RECIPES_DIR = Path(__file__).resolve().parents[2] / "recipes"
# The networks make a picture 32 times smaller; of less than that they see one cell, and a scene can't be rendered.
SidePx = Annotated[Integer, Field(ge=32)]
FourCounts = tuple[Count, Count, Count, Count]
R = TypeVar("R")


class RecipeError(TableError):
    """A recipe names an unknown key, lacks one, or has values of the wrong type, out of bounds or at odds with each other."""

    code = "recipe_invalid"


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def table(kind: type[R]) -> type[R]:
    """A table of a recipe: a frozen dataclass whose types are held to where it is read, and its rules always."""
    return frozen_table(kind, RecipeError)


def load_recipe(name_or_path: str, kind: type[R]) -> R:
    """Read a recipe by bundled name (`embedder-s`) or path. Raises RecipeError naming all keys at fault."""
    path = Path(name_or_path)
    if not path.suffix:
        path = RECIPES_DIR / f"{name_or_path}.toml"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in RECIPES_DIR.glob("*.toml")))
        raise RecipeError(f"no recipe {name_or_path!r}; bundled ones: {known}") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path.name}: {error}") from error
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"{path.name}: {error}") from error
    try:
        return read_table(kind, values)
    except RecipeError as error:
        raise RecipeError.of(error.faults, path.name) from None


def as_table(recipe: Any) -> dict[str, Any]:
    """The recipe as plain JSON values, for manifests and logs."""
    return dataclasses.asdict(recipe)
