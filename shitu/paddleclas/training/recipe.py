"""A training configuration of theirs as a recipe of ours: which kind it is, its text, and what to begin with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shitu.paddleclas.training.arch import HASHES
from shitu.paddleclas.training.classifier import classifier_recipe
from shitu.paddleclas.training.distill import distilled_classifier, distilled_embedder, embeds
from shitu.paddleclas.training.hash import hash_recipe
from shitu.paddleclas.training.metric import metric_recipe
from shitu.paddleclas.training.parts import common, pretrained
from shitu.paddleclas.training.source import read_source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from shitu.paddleclas.training.source import Source


@dataclass(frozen=True)
class Translated:
    """`kind` is the command of `shitu train`; `files` are the recipes' texts by file name, `recipe.toml` the one to train."""

    kind: str
    files: Mapping[str, str]
    notes: Sequence[str]
    init: Path | None

    @property
    def text(self) -> str:
        """What is printed: all files, with what has no effect or another one."""
        said = "".join(f"# {note}\n" for note in self.notes)
        if len(self.files) == 1:
            return said + self.files["recipe.toml"]
        return said + "\n".join(f"# {name}\n{text}" for name, text in self.files.items())


def translate(file: Path, folder: Path, overrides: Sequence[str] = (), init: Path | None = None) -> Translated:
    """The recipe of the YAML in `file`, changed by `overrides`; recipes that name others name them in `folder`.

    `init` are weights to begin with, instead of the configuration's. Raises ConfigError, which names by its line every key that
    is not known or can't be done; OSError; ArtifactError for a teacher that can't be read.
    """
    source = read_source(file, overrides)
    name, start = file.stem, pretrained(source)
    source.note("Global.output_dir", "the run's folder is that of --out")
    common(source)
    begins = init or start
    given = begins is not None
    kind, tables = _tables(source, name, str(folder), given=given)
    source.note("Global.class_num", "counted in the lists")
    source.note("Global.seed", "the recipe's `seed`")
    source.note("Metric.Eval", "reported while training")
    source.finish()
    files = {f"{one}.toml": to_toml(table) for one, table in tables.items()}
    return Translated(kind, files, tuple(dict.fromkeys(source.notes)), begins)


def _tables(source: Source, name: str, folder: str, *, given: bool) -> tuple[str, dict[str, dict[str, Any]]]:
    arch = source.text("Arch.name")
    if arch == "DistillationModel":
        if embeds(source):
            return "distill", distilled_embedder(source, name, folder, given=given)
        return "classifier", {"recipe": distilled_classifier(source, name, given=given)}
    if arch == "RecModel":
        if any(loss in HASHES for loss, _ in source.named("Loss.Train")):
            return "hash", {"recipe": hash_recipe(source, name, given=given)}
        return "metric", {"recipe": metric_recipe(source, name, given=given)}
    return "classifier", {"recipe": classifier_recipe(source, name, given=given)}


def to_toml(table: Mapping[str, Any]) -> str:
    """A recipe's text: plain values first, then its tables, then its lists of tables."""
    plain = {key: value for key, value in table.items() if not _is_table(value) and not _are_tables(value)}
    lines = [f"{key} = {_value(value)}" for key, value in plain.items()]
    for key, value in table.items():
        if _is_table(value):
            lines += ["", f"[{key}]", *(f"{name} = {_value(one)}" for name, one in value.items())]
    for key, value in table.items():
        if _are_tables(value):
            for one in value:
                lines += ["", f"[[{key}]]", *(f"{name} = {_value(inner)}" for name, inner in one.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
