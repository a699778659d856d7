"""The tables of docs/scaling.md are those that python -m benchmarks.milvus makes of what its last run kept, and they add up."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import pytest

from benchmarks import milvus
from benchmarks.milvus_plan import (
    INDEXES,
    SCALAR_BYTES,
    SIZES,
    Assumed,
    cost,
    largest,
    memory_gb,
    nodes,
    plan_table,
    read_again_gb,
    said,
    sectors,
    written,
)

RECORD: dict[str, Any] = json.loads(milvus.RESULT.read_bytes())
HNSW, EIGHT_BITS, DISKANN = INDEXES


def test_the_tables_are_those_of_what_was_measured() -> None:
    page = milvus.PAGE.read_text(encoding="utf-8")
    assert page == written(page, RECORD), "run python -m benchmarks.milvus, which writes the page"


def test_a_page_without_a_place_for_a_table_is_refused() -> None:
    page = milvus.PAGE.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="plan: end"):
        written(page.replace("<!-- plan: end -->", ""), RECORD)


def test_what_was_measured_is_what_the_page_says_of_it() -> None:
    assert {(one["rows"], one["dimensions"]) for one in RECORD["sizes"]} == set(milvus.SIZES)
    for one in RECORD["sizes"]:
        assert one["worker_bytes"] == 0
        assert one["recall_at_1"] >= 0.9
        assert one["object_store_bytes_a_row"][".npy"] == pytest.approx(4 * one["dimensions"], rel=0.02)
        assert one["disk_bytes_a_row"] >= one["log_bytes_a_row"]


def test_a_row_of_an_index_has_the_published_size() -> None:
    assert HNSW.memory(512) == pytest.approx(2048 + 36 * 4 + 18 / math.log(18) * 4)
    assert EIGHT_BITS.memory(512) == pytest.approx(HNSW.memory(512) - 1536)
    assert DISKANN.memory(512) == pytest.approx(0.225 * 2048)
    assert sectors(512) == 4096, "2,276 bytes are more than half a sector"
    assert sectors(64) == 4096 / 8, "eight nodes of 484 bytes in a sector"
    assert sectors(2048) == 3 * 4096, "8,420 bytes"


def test_memory_nodes_and_cost_follow_from_it() -> None:
    one = {**largest(RECORD), "dimensions": 512, "item_line_bytes": 300.0, "log_bytes_a_row": 2500.0}
    one["object_store_bytes_a_row"] = {".npy": 2048.0, ".jsonl": 300.0, ".bin": 52.0}
    given = Assumed(node_memory_gb=100, load=0.5, replicas=3, memory_price=2, disk_price=1, store_price=0.5)
    each = DISKANN.memory(512) + SCALAR_BYTES + 300
    assert memory_gb(10**8, DISKANN, one) == pytest.approx(each / 10)
    assert nodes(10**8, DISKANN, one, given) == 3 * math.ceil(each / 10 / 50) == 6
    disks, bucket, ours = 3 * 409.6, 250 + 409.6 + 25.6, 240
    assert cost(10**8, DISKANN, one, given) == pytest.approx(6 * 100 * 2 + disks + (bucket + ours) * 0.5)
    assert nodes(1, HNSW, one, given) == 3, "a replica is a node at least"


def test_keys_are_read_again_where_a_process_keeps_them_not() -> None:
    assert read_again_gb(64 * 1024 * 1024) == 0
    assert read_again_gb(3.2e9) == 3.2


def test_the_plan_is_printed_and_its_prices_are_the_readers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["milvus", "--plan"])
    milvus.main()
    printed = capsys.readouterr().out
    assert printed.strip() == plan_table(RECORD, Assumed())
    assert printed.strip() in milvus.PAGE.read_text(encoding="utf-8")
    monkeypatch.setattr(
        sys, "argv", ["milvus", "--plan", "--memory-price", "0", "--disk-price", "0", "--store-price", "0"]
    )
    milvus.main()
    costs = [line for line in capsys.readouterr().out.splitlines() if "cost of a month" in line]
    assert costs == ["| cost of a month, at the assumed prices | 0 | 0 | 0 |"] * len(INDEXES)
    assert len(SIZES) == 3


def test_numbers_are_said_in_three_digits() -> None:
    assert [said(value) for value in (0.012345, 12.345, 123456, 3, "1 to 2")] == [
        "0.0123",
        "12.3",
        "123,000",
        "3",
        "1 to 2",
    ]
