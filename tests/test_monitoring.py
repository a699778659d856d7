"""The dashboard and the alert rules parse, and every metric and label that they use is one that /metrics has."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import redis
import yaml

from infra.galleries.metrics import GalleryCollector
from infra.galleries.store import GalleryStore
from infra.jobs.ledger import JobLedger
from infra.jobs.load import ScalingCollector
from infra.jobs.metrics import LedgerCollector
from infra.objects.local import LocalStore
from infra.runtime.machine_metrics import MachineCollector
from infra.runtime.settings import ScalingSettings
from infra.runtime.telemetry import REGISTRY
from tests.docs_reader import ROOT

FOLDER = ROOT / "infra" / "deploy" / "monitoring"
OF_PROMETHEUS = {"job", "instance"}  # the labels that it adds itself
GRID_COLUMNS = 24
DURATION = re.compile(r"\d+[smhd]")


@pytest.fixture
def report(redis_client: redis.Redis, tmp_path: Path) -> dict[str, set[str]]:
    """Each series of /metrics with its labels."""
    collectors = (
        LedgerCollector(JobLedger(redis_client)),
        ScalingCollector(JobLedger(redis_client), ScalingSettings()),
        GalleryCollector(GalleryStore(LocalStore(tmp_path))),
        MachineCollector({"data": tmp_path}),
    )
    families = [family for collector in collectors for family in collector.collect()]
    found = {
        family.name + ("_total" if family.type == "counter" else ""): set(family._labelnames) for family in families
    }
    for metric in REGISTRY._collector_to_names:
        labels, name = set(metric._labelnames), metric._name
        if metric._type == "histogram":
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            found[f"{name}_total"] = labels
    return found | {"up": set()}


def selectors(expression: Any) -> Iterator[Any]:
    """The vector selectors in a parsed expression."""
    if isinstance(expression, promql.VectorSelector):
        yield expression
    for child in ("lhs", "rhs", "expr", "vector_selector", "vs", "param"):
        inner = getattr(expression, child, None)
        if inner is not None and type(inner).__module__ == type(expression).__module__:
            yield from selectors(inner)
    for argument in getattr(expression, "args", None) or ():
        yield from selectors(argument)


def faults(expression: str, report: dict[str, set[str]]) -> list[str]:
    """What an expression says that is not so. Raises ValueError for one that is no PromQL."""
    parsed = promql.parse(expression.replace("$__rate_interval", "5m"))
    found = list(selectors(parsed))
    wrong = [] if found else ["no metric"]
    known: set[str] = set(OF_PROMETHEUS)
    for selector in found:
        labels = report.get(selector.name)
        if labels is None:
            wrong.append(f"no metric {selector.name}")
            continue
        known |= labels
        named = {matcher.name for matcher in selector.matchers.matchers}
        wrong += [f"{selector.name} has no label {name}" for name in sorted(named - labels - OF_PROMETHEUS)]
    for group in re.findall(r"\bby \(([^)]*)\)", expression):
        wrong += [f"no label {name.strip()}" for name in group.split(",") if name.strip() not in known]
    return wrong


def rules() -> list[dict[str, Any]]:
    """All alert rules."""
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    """All panels of the dashboard."""
    found: list[dict[str, Any]] = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    return found


def test_every_alert_parses_and_looks_at_what_there_is(report: dict[str, set[str]]) -> None:
    found = rules()
    assert len(found) > 10
    assert len({rule["alert"] for rule in found}) == len(found)
    for rule in found:
        assert faults(rule["expr"], report) == [], rule["alert"]
        assert DURATION.fullmatch(rule["for"]), rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description"}
        used = re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))
        assert all(name in OF_PROMETHEUS or name in rule["expr"] or name in {"folder", "host"} for name in used)


def test_the_runbook_says_what_to_do_about_every_alert() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(Shitu\w+)` \|", runbook, re.MULTILINE))
    assert named == {rule["alert"] for rule in rules()}


def test_every_panel_parses_and_looks_at_what_there_is(report: dict[str, set[str]]) -> None:
    drawn = [panel for panel in panels() if panel["type"] != "row"]
    assert len(drawn) > 10
    for panel in drawn:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert faults(target["expr"], report) == [], panel["title"]
            legend = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            assert all(name in target["expr"] or name in OF_PROMETHEUS for name in legend), panel["title"]


def test_every_metric_of_the_service_is_shown_or_watched(report: dict[str, set[str]]) -> None:
    expressions = [rule["expr"] for rule in rules()]
    expressions += [target["expr"] for panel in panels() for target in panel.get("targets", ())]
    shown = {re.sub(r"_(bucket|sum|count)$", "", word) for text in expressions for word in re.findall(r"\w+", text)}
    assert {name for name in report if re.sub(r"_(bucket|sum|count)$", "", name) not in shown} == set()


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    places: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert at["x"] + at["w"] <= GRID_COLUMNS
        assert not cells & places, panel["title"]
        places |= cells
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)


def test_prometheus_reads_the_rules_that_lie_next_to_its_configuration() -> None:
    report = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    assert all((FOLDER / name).is_file() for name in report["rule_files"])
    assert {job["job_name"] for job in report["scrape_configs"]} == {"shitu"}  # the alerts name it


@pytest.mark.parametrize(
    "wrong",
    [
        "shitu_nothing == 0",
        'shitu_jobs{kind="recognition"}',
        "sum by (nothing) (shitu_jobs)",
        "sum(rate(shitu_stage_duration_seconds[5m]))",
        "1 + 1",
    ],
)
def test_a_mistake_is_found(wrong: str, report: dict[str, set[str]]) -> None:
    assert faults(wrong, report)


def test_what_is_no_expression_is_no_expression(report: dict[str, set[str]]) -> None:
    with pytest.raises(ValueError):
        faults("sum(shitu_jobs", report)
