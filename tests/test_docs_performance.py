"""The tables of docs/performance.md are those of the last run, as benchmarks/results keeps it; the prose's numbers are held too."""

import re

import pytest

from benchmarks.speed.page import BEGIN, PAGE, written
from benchmarks.speed.rows import SUITES, Row, kept
from tests.worker.test_round_trips import WORKER_TRIPS


def test_the_tables_are_what_the_last_run_kept() -> None:
    page = PAGE.read_text(encoding="utf-8")
    results = [report for name in SUITES if (report := kept(name)) is not None]
    assert results
    assert page == written(page, results), "run python -m benchmarks.speed, which writes the page"


def test_what_is_kept_says_the_truth_about_its_targets() -> None:
    for name in SUITES:
        for row in (kept(name) or {"rows": []})["rows"]:
            again = Row(**{field: value for field, value in row.items() if field != "met"})
            assert again.met == row["met"], f"{name}: {row['name']}"


def test_the_round_trips_are_those_that_a_test_holds() -> None:
    (report,) = re.findall(r"a worker asks Redis (\d+) times", PAGE.read_text(encoding="utf-8"))
    assert int(report) == WORKER_TRIPS


def test_a_page_without_a_place_for_the_tables_is_refused() -> None:
    with pytest.raises(ValueError, match="has no"):
        written(PAGE.read_text(encoding="utf-8").replace(BEGIN, ""), [])
