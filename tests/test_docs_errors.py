"""docs/errors.md lists exactly the error codes that the code can produce.

The codes are read from the source, not from imported modules: a composition root wants settings, training wants Paddle,
and many codes are given where an error is raised rather than by a class.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("contracts", "infra", "models", "shitu", "web", "worker")
ROOTS = {"ServiceError", "ModelError"}
RECORDS = {
    "JobError",
    "Refusal",
    "PictureRefusedError",
    "LineRefused",
    "refused",
}  # plain records that carry a code as their first field
CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)+")
ROW = re.compile(r"^\| `([a-z0-9_]+)` \|(?: (\d{3}|–) \|)?", re.MULTILINE)


@cache
def trees() -> dict[Path, ast.Module]:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def error_classes(modules: dict[Path, ast.Module]) -> dict[str, ast.ClassDef]:
    """The classes below the two roots, by name."""
    classes = {
        node.name: node for module in modules.values() for node in ast.walk(module) if isinstance(node, ast.ClassDef)
    }
    found = {name: node for name, node in classes.items() if name in ROOTS}
    while True:
        below = {
            name: node
            for name, node in classes.items()
            if name not in found and any(name_of(base) in found for base in node.bases)
        }
        if not below:
            return found
        found |= below


def constant(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def class_attribute(node: ast.ClassDef, attribute: str) -> ast.expr | None:
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and name_of(statement.target) == attribute:
            return statement.value
        if isinstance(statement, ast.Assign) and any(name_of(target) == attribute for target in statement.targets):
            return statement.value
    return None


def codes_at_calls(module: ast.Module, errors: set[str]) -> Iterator[str]:
    for call in (node for node in ast.walk(module) if isinstance(node, ast.Call)):
        name = name_of(call.func)
        given: list[ast.expr] = []
        if name in errors:
            given = [keyword.value for keyword in call.keywords if keyword.arg == "code"] + call.args[1:2]
        elif name in RECORDS:
            given = call.args[:1]
        yield from (code for code in map(constant, given) if code and CODE.fullmatch(code))


def codes_in_source() -> set[str]:
    modules = trees()
    classes = error_classes(modules)
    codes = {code for node in classes.values() if (code := constant(class_attribute(node, "code")))}
    for module in modules.values():
        codes |= set(codes_at_calls(module, set(classes)))
    return codes


def documented() -> dict[str, str]:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = ROW.findall(page)
    assert len(rows) == len({code for code, _ in rows}), "a code has two rows"
    return dict(rows)


def test_every_code_has_a_row_and_every_row_a_code() -> None:
    real, rows = codes_in_source(), set(documented())
    assert len(real) > 30
    assert real - rows == set(), "codes without a row in docs/errors.md"
    assert rows - real == set(), "rows in docs/errors.md without a code"


def test_the_documented_statuses_are_the_real_ones() -> None:
    rows = documented()
    checked = 0
    for node in error_classes(trees()).values():
        code, status = constant(class_attribute(node, "code")), class_attribute(node, "http_status")
        if code and isinstance(status, ast.Constant):
            assert rows[code] == str(status.value), code
            checked += 1
    assert checked > 20


def test_what_would_be_missed_is_found() -> None:
    module = ast.parse(
        "class ImageError(ModelError):\n    code = 'image_bad'\n"
        "raise ImageError('x', 'image_torn')\nraise ImageError('x', code='image_huge')\nJobError('job_odd', 'x')\n"
        "print('not', 'a_code')\n"
    )
    root = ast.parse("class ModelError(Exception):\n    code: str = 'model_error'\n")
    classes = error_classes({Path("a"): module, Path("b"): root})
    assert set(classes) == {"ImageError", "ModelError"}
    assert constant(class_attribute(classes["ModelError"], "code")) == "model_error"
    assert set(codes_at_calls(module, set(classes))) == {"image_torn", "image_huge", "job_odd"}
