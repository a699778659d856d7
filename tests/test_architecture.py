"""The layout that docs/architecture.md draws is the one that is there: each folder of the code, and the files that it names."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import pytest

from tests.docs_reader import PACKAGES, ROOT

PAGE = ROOT / "docs" / "architecture.md"
WHOLE = (".", "infra", "models")  # folders whose own files are drawn too
DATA = {"infra.deploy", "models.bundled", "models.recipes"}  # folders without code
STEP = 2  # spaces of each level


def drawn(page: Path = PAGE) -> list[str]:
    """The paths of the drawn tree, from the root, folders with a slash at the end. Raises ValueError for a wrong indent."""
    section = page.read_text(encoding="utf-8").partition("\n## The layout\n")[2]
    block = section.split("```\n")[1]
    found: list[str] = []
    above: list[str] = []
    for line in block.splitlines():
        name = line.split()[0]
        depth, rest = divmod(len(line) - len(line.lstrip()), STEP)
        if rest or depth > len(above):
            raise ValueError(f"{line!r} is not below a folder")
        found.append("".join(above[:depth]) + name)
        above = [*above[:depth], name] if name.endswith("/") else above[:depth]
    return found


def folders(below: Path) -> set[str]:
    """The packages below a package, and the folders of files that stand in them, as paths with a slash at the end."""
    found = {f"{below.relative_to(ROOT)}/"}
    for folder in below.iterdir():
        if not folder.is_dir() or folder.name.startswith(("__", ".")):
            continue
        if (folder / "__init__.py").is_file():
            found |= folders(folder)
        elif any(path.is_file() and "__pycache__" not in path.parts for path in folder.rglob("*")):
            found.add(f"{folder.relative_to(ROOT)}/")  # an empty one is what a move left behind
    return found


def test_every_folder_of_the_code_is_drawn_and_nothing_else() -> None:
    inside = {path for path in drawn() if path.endswith("/") and path.split("/")[0] in PACKAGES}
    assert inside == set().union(*(folders(ROOT / package) for package in PACKAGES))


def test_what_is_drawn_next_to_the_packages_is_there() -> None:
    paths = drawn()
    assert len(paths) == len(set(paths))
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert {"tests/", "docs/", "benchmarks/"} <= set(paths)


@pytest.mark.parametrize("folder", WHOLE)
def test_the_files_at_the_top_are_drawn(folder: str) -> None:
    files = {str(path.relative_to(ROOT)) for path in (ROOT / folder).glob("*.py") if path.name != "__init__.py"}
    assert {
        path for path in drawn() if not path.endswith("/") and (ROOT / folder / Path(path).name) == ROOT / path
    } == files


@pytest.mark.parametrize("package", ["infra", "models"])
def test_the_rooms_are_drawn_in_the_order_of_their_imports_and_each_is_held_to_it(package: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = [one["layers"] for one in contracts if one["name"] == f"the rooms of {package} import downwards only"]
    order = [path.rstrip("/").removesuffix(".py").replace("/", ".") for path in drawn()]
    # A room within `training` is held too, and evaluation lies between two of them: no tree can draw that.
    places = [[order.index(name.strip()) for name in layer.split("|") if name.count(".") == 1] for layer in layers]
    rooms = [place for place in places if place]
    assert [max(above) < min(below) for above, below in itertools.pairwise(rooms)] == [True] * (len(rooms) - 1)
    listed = {".".join(name.strip().split(".")[:2]) for layer in layers for name in layer.split("|")}
    there = {name for name in order if name.count(".") == 1 and name.startswith(f"{package}.")}
    assert there - listed == DATA & there, "put it in a contract of pyproject.toml"


@pytest.mark.parametrize("line", ["   infra/", "infra/\n      deep.py"])
def test_a_wrong_indent_is_found(line: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A\n\n## The layout\n```\n{line}\n```\n", encoding="utf-8")
    with pytest.raises(ValueError, match="is not below a folder"):
        drawn(page)
