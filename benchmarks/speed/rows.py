"""What a suite measures: rows with a value, its floor and its target, kept as JSON and plotted as one picture."""

import html
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np

# Modules of this folder, in the page's order.
SUITES = ("pipeline", "service", "search", "enrol", "start", "memory", "gallery", "growth")
RESULTS = Path(__file__).parents[1] / "results"
PACKAGES = ("openvino", "paddlepaddle", "faiss-cpu", "opencv-python-headless", "numpy")


@dataclass(frozen=True)
class Row:
    """A measured `value`. `floor`: the least that the machine allows, in the same unit; `target`: what was wished for.

    `rule` says whether the value should be at least or at most the target. `note`: what the floor is made of, or what the
    value is a ratio of.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    rule: Literal["", "at least", "at most"] = ""
    floor: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.rule == "at least" else self.value <= self.target

    @property
    def towards(self) -> float:
        """1 at the target, more beyond it."""
        if not self.target or not self.value:
            return 0.0
        return self.value / self.target if self.rule == "at least" else self.target / self.value


@dataclass(frozen=True)
class Context:
    """What the suites are run with: `quick` takes fewer rounds and smaller sizes; `official` holds the official graphs."""

    quick: bool
    official: Path | None


Runs = Mapping[str, Callable[[], object]]


def interleaved(variants: Runs, rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Milliseconds of each variant, turn by turn: what slows the machine for a while slows all of them."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(-warm_up, rounds):
        for name, run in variants.items():
            started = perf_counter()
            run()
            if number >= 0:
                times[name].append((perf_counter() - started) * 1e3)
    return times


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return float(np.median(values))


def ratio(slower: Sequence[float], faster: Sequence[float]) -> float:
    """How many times as long one takes as the other: the median over the rounds, each against its neighbour."""
    return float(np.median(np.asarray(slower) / np.asarray(faster)))


def keep(suite: str, rows: Sequence[Row], context: Context) -> Path:
    """Writes `results/{suite}.json`."""
    RESULTS.mkdir(exist_ok=True)
    record = {
        "suite": suite,
        "command": f"python -m benchmarks.speed {suite}" + (" --quick" if context.quick else ""),
        "machine": machine(),
        "rows": [rounded(row) for row in rows],
    }
    path = RESULTS / f"{suite}.json"
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def rounded(row: Row) -> dict[str, Any]:
    """A row as it is kept: four significant digits, more would be noise."""
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in asdict(row).items()
    } | {"met": row.met}


def kept(suite: str) -> dict[str, Any] | None:
    """What the last run of a suite wrote; None: it never ran."""
    path = RESULTS / f"{suite}.json"
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def machine() -> dict[str, Any]:
    """What it ran on."""
    from importlib.metadata import PackageNotFoundError, version

    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "packages": packages,
    }


def processor() -> str:
    """Its name and its instructions that matter here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    record = dict(line.split(":", 1) for line in lines if ":" in line)
    fields = {name.strip(): value.strip() for name, value in record.items()}
    known = [
        one for one in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if one in fields["flags"].split()
    ]
    return f"{fields.get('model name', platform.machine())} ({', '.join(known)})"


def table(suite: str, rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [f"{suite}"]
    for row in rows:
        target = "" if row.target is None else f"{row.rule} {row.target:g}" + ("" if row.met else "  MISSED")
        floor = "" if row.floor is None else f"floor {row.floor:.3g}"
        lines.append(f"  {row.name:<62}{row.value:>11.4g} {row.unit:<10}{floor:<14}{target:<24}{row.note}")
    return "\n".join(lines)


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """Every row with a target as a bar, as an SVG: to the right of the line it is reached."""
    rows = [
        (one["suite"], Row(**{k: v for k, v in row.items() if k != "met"})) for one in results for row in one["rows"]
    ]
    rows = [(suite, row) for suite, row in rows if row.target is not None]
    height, left, unit = 24, 470, 190
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 {height * len(rows) + 50}" font-family="sans-serif" font-size="12">',
        f'<rect width="960" height="{height * len(rows) + 50}" fill="white"/>',
        f'<text x="{left + unit}" y="16" text-anchor="middle">target</text>',
    ]
    for place, (suite, row) in enumerate(rows):
        top = 26 + height * place
        width = unit * min(row.towards, 2.4)
        colour = "#2e7d32" if row.met else "#c62828"
        sign = "≥" if row.rule == "at least" else "≤"
        parts += [
            f'<text x="{left - 8}" y="{top + 14}" text-anchor="end">{html.escape(f"{suite}: {row.name}")}</text>',
            f'<rect x="{left}" y="{top + 3}" width="{width:.0f}" height="{height - 8}" fill="{colour}"/>',
            f'<text x="{left + width + 6:.0f}" y="{top + 14}">{row.value:.3g} {html.escape(row.unit)} ({sign} {row.target:g})</text>',
        ]
    parts.append(
        f'<line x1="{left + unit}" x2="{left + unit}" y1="22" y2="{26 + height * len(rows)}" stroke="black"/></svg>'
    )
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
