"""The tables of docs/performance.md, from what the suites kept: the page never says anything else than the last run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def tables(results: Sequence[dict[str, Any]]) -> str:
    """A table for each suite, with its command and machine above it."""
    parts = []
    for report in results:
        machine = report["machine"]
        packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
        parts += [
            f"### {report['suite']}",
            "",
            f"`{report['command']}` on {machine['cores']} cores of {machine['processor']}, {packages}; "
            f"load average before it {machine['load_before']:g}.",
            "",
            "| measured | value | floor | target | |",
            "|---|---|---|---|---|",
            *(line(row) for row in report["rows"]),
            "",
        ]
    return "\n".join(parts)


def line(row: dict[str, Any]) -> str:
    """One row of a table."""
    floor = "" if row["floor"] is None else f"{row['floor']:.4g} {row['unit']}"
    target = "" if row["target"] is None else f"{row['rule']} {row['target']:g} {row['unit']}"
    met = {None: "", True: "met", False: "missed"}[row["met"]]
    note = f"; {row['note']}" if met and row["note"] else row["note"]
    return f"| {row['name']} | {row['value']:.4g} {row['unit']} | {floor} | {target} | {met}{note} |"


def written(page: str, results: Sequence[dict[str, Any]]) -> str:
    """The page with these tables. Raises ValueError for one without a place for them."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{tables(results)}{END}{after}"
