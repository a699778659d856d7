"""Reads PaddleClas' deploy configurations: their YAML, and `-o Group.key=value` over it."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING, Any

import yaml

from models.errors import ModelError
from shitu.paddleclas.keys import KEYS, State, known

if TYPE_CHECKING:
    from pathlib import Path


class ConfigError(ModelError):
    """A configuration that can't be taken as it is; says every reason, a line each."""

    code = "options_invalid"


@dataclass(frozen=True)
class Handled:
    """What becomes of one key of a configuration."""

    path: str
    value: Any
    state: State
    why: str


class Config:
    """A configuration, by paths such as "Global.threshold"."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self.table = table

    def get(self, path: str, default: Any = None) -> Any:
        """The value at `path`; `default` where it is missing or null."""
        found: Any = self.table
        for part in path.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return default
            found = found[part]
        return default if found is None else found

    def text(self, path: str, default: str = "") -> str:
        """The text at `path`. Raises ConfigError for anything else."""
        value = self.get(path, default)
        if not isinstance(value, str):
            raise ConfigError(f"{path}: must be text, not {value!r}.")
        return value

    def whole(self, path: str, default: int, least: int = 1) -> int:
        """The whole number at `path`. Raises ConfigError for anything else, and for one below `least`."""
        value = self.get(path, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ConfigError(f"{path}: must be a whole number, {least} or more, not {value!r}.")
        return value

    def number(self, path: str, default: float) -> float:
        """The number at `path`. Raises ConfigError for anything else."""
        value = self.get(path, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or isnan(value):
            raise ConfigError(f"{path}: must be a number, not {value!r}.")
        return float(value)

    def handled(self) -> Iterator[Handled]:
        """Every key that is set, with what becomes of it. Raises ConfigError for keys that their configurations have not."""
        unknown = []
        for path, value in _leaves(self.table):
            key = known(path)
            if key is None:
                close = difflib.get_close_matches(path, KEYS, n=1)
                unknown.append(f"{path}: no such key" + (f"; did you mean {close[0]}?" if close else ""))
                continue
            state, why = key.state, key.why
            if state == "refused" and (value in key.off or value == {}):
                state, why = "no effect", "not set"
            if key.allowed and value not in key.allowed:
                state, why = (
                    "refused",
                    f"{value!r}, where {' or '.join('null' if one is None else str(one) for one in key.allowed)} is",
                )
            yield Handled(path, value, state, why)
        if unknown:
            raise ConfigError("\n".join(unknown))

    def checked(self) -> tuple[Handled, ...]:
        """All keys. Raises ConfigError for those that are refused, too."""
        keys = tuple(self.handled())
        if refused := [f"{key.path}: not done here: {key.why}" for key in keys if key.state == "refused"]:
            raise ConfigError("\n".join(refused))
        return keys


def read_config(file: Path | None, overrides: Sequence[str] = ()) -> Config:
    """The configuration in `file` (none: an empty one), changed by `overrides`, each "Group.key=value". Raises ConfigError, OSError.

    Text that is a Python literal counts as what it says, as theirs does; nothing is run.
    """
    table: Any = {}
    if file is not None:
        try:
            table = yaml.safe_load(file.read_text(encoding="utf-8-sig")) or {}
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{file}: no YAML: {' '.join(str(error).split())}") from error
        if not isinstance(table, dict):
            raise ConfigError(f"{file}: must hold groups of keys, such as Global.")
    table = _literals(table)
    for override in overrides:
        set_override(table, override)
    return Config(table)


def set_override(table: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path or "=" in text:
        raise ConfigError(f"-o {override}: must be Group.key=value.")
    *groups, name = path.split(".")
    at: Any = table
    for group in groups:
        if isinstance(at, list):
            at = at[_place(at, group, override)]
            continue
        if at.get(group) is None:
            at[group] = {}
        at = at[group]
        if not isinstance(at, dict | list):
            raise ConfigError(f"-o {override}: {group} is a value, not a group.")
    if isinstance(at, list):
        at[_place(at, name, override)] = literal(text)
    else:
        at[name] = literal(text)


def _place(at: list[Any], text: str, override: str) -> int:
    if not text.isdecimal() or int(text) >= len(at):
        raise ConfigError(f"-o {override}: {text} is no place in a list of {len(at)}.")
    return int(text)


def literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text


def _literals(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _literals(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_literals(one) for one in value]
    return literal(value) if isinstance(value, str) else value


def _leaves(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        path = f"{above}{name}"
        if (isinstance(value, Mapping) and value and path not in KEYS) or (
            isinstance(value, Mapping) and value and any(key.startswith(f"{path}.") for key in KEYS)
        ):
            yield from _leaves(value, f"{path}.")
        else:
            yield path, value
