"""What a Markdown page names, and what the source really has: read as text and as syntax trees, nothing is imported."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("contracts", "infra", "models", "shitu", "web", "worker")
SHELLS = ("", "sh", "bash", "console")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
SEPARATORS = {"|", "&&", "||", ";", "&"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Page:
    """A Markdown page."""

    path: Path
    text: str

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return FENCE.sub("", self.text)

    @property
    def spans(self) -> list[str]:
        """The code in its sentences and tables; a bar that a table needs escaped is a bar."""
        return [span.replace("\\|", "|") for span in SPAN.findall(self.prose)]

    def blocks(self, *languages: str) -> list[str]:
        """The fenced blocks in these languages."""
        return [body for language, body in FENCE.findall(self.text) if language in languages]

    def commands(self) -> Iterator[list[str]]:
        """Every command in its spans and blocks, in words, without the assignments before it."""
        yield from _commands(span for span in self.spans if " " in span)
        yield from self.shell_commands()

    def shell_commands(self) -> Iterator[list[str]]:
        """The commands in its blocks alone, in the page's order."""
        for block in self.blocks(*SHELLS):
            yield from _commands(block.replace("\\\n", " ").splitlines())


def read(path: Path) -> Page:
    """The page in a file."""
    return Page(path, path.read_text(encoding="utf-8"))


def _commands(lines: Iterable[str]) -> Iterator[list[str]]:
    for line in lines:
        try:
            words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        except ValueError:  # an apostrophe in what is no command
            continue
        command: list[str] = []
        for word in [*words, ";"]:
            if word in SEPARATORS:
                if command:
                    yield command
                command = []
            elif command or not re.match(r"[A-Z_]+=", word):
                command.append(word)


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a source file."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def sources() -> tuple[Path, ...]:
    """The project's Python files, without tests and benchmarks."""
    return (*(path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))),)


def defined(module: ast.Module) -> dict[str, ast.AST]:
    """What a module or class has at its top: functions, classes, values, imported names."""
    return _defined(module.body)


def classes(name: str) -> list[ast.ClassDef]:
    """The project's classes of that name."""
    return [
        node for path in sources() for node in tree(path).body if isinstance(node, ast.ClassDef) and node.name == name
    ]


def members(node: ast.ClassDef) -> dict[str, ast.AST]:
    """What a class has, its bases' included."""
    found: dict[str, ast.AST] = {}
    for base in node.bases:
        for parent in classes(base.id) if isinstance(base, ast.Name) else []:
            found |= members(parent)
    return found | _defined(node.body)


def module_and_rest(dotted: str) -> tuple[Path | None, list[str]]:
    """The longest part of a dotted name that is a module or package, and the names behind it."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.is_file():
                return file, parts[length:]
    return None, parts


def _defined(body: list[ast.stmt]) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {name.asname or name.name: node for name in node.names}
        elif isinstance(node, ast.If):
            found |= _defined(node.body)
    return found
