"""The benchmark of galleries in Milvus, run small: all that it keeps is there, and means what it says."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks import milvus
from benchmarks.milvus_plan import MEASURED


def test_a_small_gallery_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milvus, "QUERIES", 64)
    monkeypatch.setattr(milvus, "ROUNDS", 1)
    monkeypatch.setattr(milvus, "FEWEST", 1)
    monkeypatch.setattr(milvus, "IDLE_S", 0.3)
    found = milvus.measured(600, 16, tmp_path)
    assert {key for _, key in MEASURED} <= found.keys()
    assert (found["rows"], found["dimensions"], found["worker_bytes"]) == (600, 16, 0)
    assert found["recall_at_1"] == found["faiss_recall_at_1"] == 1
    assert found["object_store_bytes_a_row"][".npy"] == pytest.approx(64, rel=0.01)
    assert min(found[key] for _, key in MEASURED if key.endswith("_ms")) > 0


def test_turns_end_when_the_time_is_over_but_not_before_the_fewest(monkeypatch: pytest.MonkeyPatch) -> None:
    times = milvus.in_turns({"a": lambda: None, "b": lambda: None})
    assert {len(taken) for taken in times.values()} == {milvus.ROUNDS}
    monkeypatch.setattr(milvus, "ROUNDS_S", 0.0)
    assert {len(taken) for taken in milvus.in_turns({"a": lambda: None}).values()} == {milvus.FEWEST}


def test_other_sizes_are_printed_and_not_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.argv", ["milvus", "--sizes", "3000x8,500x16"])
    monkeypatch.setattr(milvus, "RESULT", tmp_path / "milvus.json")
    monkeypatch.setattr(milvus, "measured", lambda count, dim, _folder: {"rows": count, "dimensions": dim})
    milvus.main()
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"rows": 3000, "dimensions": 8},
        {"rows": 500, "dimensions": 16},
    ]
    assert not milvus.RESULT.exists()


def test_a_process_memory_and_time_are_read_of_the_system() -> None:
    assert milvus.resident(os.getpid()) > 10_000_000
    assert milvus.cpu_s(os.getpid()) == pytest.approx(sum(os.times()[:2]), abs=0.5)
