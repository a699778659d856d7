"""The Terraform files, parsed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import hcl2

from tests.docs_reader import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "infra/deploy/aws"
FILES = sorted(FOLDER.glob("*.tf"))


def bare(value: Any) -> Any:
    """A parsed value without the quotes and the marks that the parser leaves."""
    if isinstance(value, dict):
        return {str(bare(name)): bare(inner) for name, inner in value.items() if not str(name).startswith("__")}
    if isinstance(value, list):
        return [bare(inner) for inner in value]
    return value[1:-1] if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"' else value


def parsed(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8") as file:
        found: dict[str, Any] = bare(hcl2.load(file))
    return found


TREES = {path.name: parsed(path) for path in FILES}


def blocks(kind: str, of: str) -> dict[str, dict[str, Any]]:
    """All blocks `kind "of" "name"`, by name."""
    found: dict[str, dict[str, Any]] = {}
    for tree in TREES.values():
        for block in tree.get(kind, []):
            for name, body in block.get(of, {}).items():
                found[name] = body
    return found


def local(name: str) -> Any:
    [found] = [block[name] for tree in TREES.values() for block in tree.get("locals", []) if name in block]
    return found


def texts(value: Any) -> list[str]:
    """The texts in a value: those of a list, or those that an expression writes out."""
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner)]
    if isinstance(value, str) and value.startswith("${") and '"' in value:
        return re.findall(r'"((?:[^"\\]|\\.)*)"', value)
    return [str(value)]


def statements(name: str) -> list[dict[str, Any]]:
    """Those of the policy `name`, with lists of texts as actions and resources."""
    found = blocks("data", "aws_iam_policy_document")[name]["statement"]
    return [{**one, "actions": texts(one["actions"]), "resources": texts(one.get("resources", []))} for one in found]
