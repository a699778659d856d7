"""A training configuration whose every key knows its line: what is read of it is marked, so that what is left can be named."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import yaml

from shitu.paddleclas.config import ConfigError, literal, set_override

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

MISSING: Any = object()


class Source:
    """Values by paths such as "Global.epochs" and "Loss.Train.0.CELoss.weight". `notes` and `faults` are said at the end."""

    def __init__(self, table: dict[str, Any], lines: dict[str, int], name: str) -> None:
        self.table, self.lines, self.name = table, lines, name
        self.notes: list[str] = []
        self.faults: list[tuple[int, str]] = []
        self._used: set[str] = set()
        self._looked_up: set[str] = set()

    def get(self, path: str, default: Any = None) -> Any:
        """The value at `path`, which counts as read, with all below it if it is a list of numbers; `default` where it is null."""
        self._looked_up.add(path)
        found = self._find(path)
        if found is MISSING:
            return default
        if not isinstance(found, dict) and not (
            isinstance(found, list) and any(isinstance(one, dict) for one in found)
        ):
            self._used.add(path)
        return default if found is None else found

    def has(self, path: str) -> bool:
        """Whether there is something else than null."""
        self._looked_up.add(path)
        return self._find(path) not in (MISSING, None)

    def text(self, path: str, default: str = "") -> str:
        """Text at `path`; anything else is a fault."""
        return str(self._kind(path, default, str, "text"))

    def whole(self, path: str, default: int = 0) -> int:
        """A whole number at `path`."""
        return int(self._kind(path, default, int, "a whole number"))

    def number(self, path: str, default: float = 0.0) -> float:
        """A number at `path`."""
        return float(self._kind(path, default, (int, float), "a number"))

    def flag(self, path: str, *, default: bool = False) -> bool:
        """True or False at `path`."""
        value = self.get(path, default)
        if not isinstance(value, bool):
            self.refuse(path, f"must be True or False, not {value!r}")
            return default
        return value

    def names(self, path: str) -> list[str]:
        """The keys below `path`, or the places of a list."""
        self._looked_up.add(path)
        found = self._find(path)
        if isinstance(found, dict):
            return [str(name) for name in found]
        return [str(place) for place in range(len(found))] if isinstance(found, list) else []

    def named(self, path: str) -> Iterator[tuple[str, str]]:
        """Of a list of one-key groups, such as losses and transforms, each name and its path."""
        for place in self.names(path):
            for name in self.names(f"{path}.{place}"):
                if self._find(f"{path}.{place}.{name}") is None:
                    self._used.add(f"{path}.{place}.{name}")
                yield name, f"{path}.{place}.{name}"

    def note(self, path: str, why: str) -> None:
        """`path` and all below it has no effect here, or another one, and that is said."""
        self._looked_up.add(path)
        if self._find(path) in (MISSING, None) or path in self._used:
            return
        self._used.add(path)
        self.notes.append(f"{self.where(path)}: {path}: {why}")

    def refuse(self, path: str, why: str) -> None:
        """`path` can't be done."""
        self._used.add(path)
        self.faults.append((self.lines.get(path, 0), f"{self.where(path)}: {path}: {why}"))

    def only(self, path: str, allowed: Sequence[Any], why: str) -> None:
        """`path` is one of `allowed`, if it is there at all."""
        if self.has(path) and (value := self.get(path)) not in allowed:
            self.refuse(path, f"{value}: {why}")

    def where(self, path: str) -> str:
        """The line of `path`."""
        line = self.lines.get(path, 0)
        return f"line {line}" if line else "-o"

    def finish(self) -> None:
        """Raises ConfigError naming all faults, and all keys that nothing has read, by their lines."""
        for path, value in _leaves(self.table):
            parts = path.split(".")
            if (
                value is None
                or value == {}
                or any(".".join(parts[:count]) in self._used for count in range(1, len(parts) + 1))
            ):
                continue
            close = difflib.get_close_matches(path, sorted(self._looked_up - {path}), n=1, cutoff=0.85)
            self.faults.append(
                (
                    self.lines.get(path, 0),
                    f"{self.where(path)}: {path}: not known here" + (f"; did you mean {close[0]}?" if close else ""),
                )
            )
        if self.faults:
            raise ConfigError("\n".join(f"{self.name}, {text}" for _, text in sorted(dict.fromkeys(self.faults))))

    def _find(self, path: str) -> Any:
        found: Any = self.table
        for part in path.split("."):
            if isinstance(found, dict) and part in found:
                found = found[part]
            elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
                found = found[int(part)]
            else:
                return MISSING
        return found

    def _kind(self, path: str, default: Any, kind: Any, called: str) -> Any:
        value = self.get(path, default)
        if not isinstance(value, kind) or isinstance(value, bool):
            self.refuse(path, f"must be {called}, not {value!r}")
            return default
        return value


def read_source(file: Path, overrides: Sequence[str] = ()) -> Source:
    """The YAML in `file`, changed by `overrides`, each "Group.key=value". Raises ConfigError, OSError."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        node = yaml.compose(text, yaml.SafeLoader)
        lines: dict[str, int] = {}
        table = _plain(node, "", lines, ()) if node is not None else {}
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{file}: no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: must hold groups of keys, such as Global.")
    for override in overrides:
        set_override(table, override)
        lines.pop(override.partition("=")[0], None)
    return Source(table, lines, file.name)


def _plain(node: yaml.Node, path: str, lines: dict[str, int], above: tuple[yaml.Node, ...]) -> Any:
    """The value of a node; the line of each key comes into `lines`."""
    if node in above:
        raise yaml.YAMLError("an anchor that holds itself")
    if isinstance(node, yaml.MappingNode):
        table: dict[str, Any] = {}
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            inner = f"{path}.{name}".removeprefix(".")
            if key.tag == "tag:yaml.org,2002:merge":
                merged = _plain(value, path, lines, (*above, node))
                table = {**(merged if isinstance(merged, dict) else {}), **table}
                continue
            if name in seen:
                raise yaml.YAMLError(f"line {key.start_mark.line + 1}: {inner} is there twice")
            seen.add(name)
            lines[inner] = key.start_mark.line + 1
            table[name] = _plain(value, inner, lines, (*above, node))
        return table
    if isinstance(node, yaml.SequenceNode):
        made = []
        for place, one in enumerate(node.value):
            lines[f"{path}.{place}"] = one.start_mark.line + 1
            made.append(_plain(one, f"{path}.{place}", lines, (*above, node)))
        return made
    value = yaml.SafeLoader("").construct_object(node)
    return literal(value) if isinstance(value, str) else value


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not inner:
        yield path, value
        return
    for name, one in inner:
        yield from _leaves(one, f"{path}.{name}".removeprefix("."))
