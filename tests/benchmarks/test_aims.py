"""The table of aims: what is met, what is missed, and a file that lacks a figure."""

from __future__ import annotations

import pytest

from benchmarks.aims import AIMS, table


def test_each_aim_is_met_or_missed() -> None:
    metrics: dict[str, dict[str, float]] = {"embedder": {}, "detector": {}, "colour histograms": {"rendered": 0.5}}
    for aim in AIMS:
        metrics[aim.group][aim.name] = (aim.least or 0.0) + 0.001
    metrics["embedder"]["grocery_val"] = 0.8599
    found, missed = table(metrics)
    assert missed == ["recall@1, grocery/val against its training photos"]
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in found.splitlines()[2:]}
    assert len(rows) == len(AIMS)
    assert rows["recall@1, rendered products"] == (
        "| recall@1, rendered products | 0.910 | 0.931 |  | 0.500 |  | 0.930 | met |"
    )
    assert rows["AP50, rendered scenes"].endswith("|  |  |")
    assert {row.count("|") for row in found.splitlines()} == {9}


def test_a_figure_that_was_not_measured_is_named() -> None:
    with pytest.raises(KeyError, match="drinks_held_out"):
        table({"embedder": {}, "detector": {}})
