"""The metrics' files: what the library reads of them, and folders that cannot be written to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from infra.errors.service import StorageUnavailable
from infra.objects.local import LocalStore
from infra.runtime.shared_metrics import MetricsFiles, value_class
from tests.e2e.full_disk import small_disk

if TYPE_CHECKING:
    from pathlib import Path


def counted(files: MetricsFiles) -> dict[str, float]:
    """What the library makes of the files: label -> value."""
    merged = MultiProcessCollector.merge(files.paths())
    return {sample.labels["kind"]: sample.value for metric in merged for sample in metric.samples}


def counter(files: MetricsFiles, kind: str) -> object:
    return value_class(files)("counter", "made", "made_total", ["kind"], [kind], "Made.")


@pytest.mark.parametrize("kind", ["a", "ab", "ümläut 測試", "x" * 500])
def test_the_library_reads_what_is_written(tmp_path: Path, kind: str) -> None:
    files = MetricsFiles(tmp_path / "metrics", lambda: "here-1")
    value = counter(files, kind)
    value.inc(2.0)  # type: ignore[attr-defined]
    value.inc(0.5)  # type: ignore[attr-defined]
    assert value.get() == 2.5  # type: ignore[attr-defined]
    assert counted(files) == {kind: 2.5}


def test_a_label_that_is_no_text_costs_nobody_else_anything(tmp_path: Path) -> None:
    files = MetricsFiles(tmp_path / "metrics", lambda: "here-1")
    for kind in ("good", "\udcff"):
        counter(files, kind).inc(1.0)  # type: ignore[attr-defined]
    assert counted(files)["good"] == 1.0


def test_a_folder_in_the_way_is_reported_once_and_caught_up_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "metrics").write_text("in the way")
    files = MetricsFiles(tmp_path / "metrics", lambda: "here-1")
    value = counter(files, "a")
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            value.inc(1.0)  # type: ignore[attr-defined]
            assert files.write() is False
    assert caplog.text.count("metrics cannot be written") == 1
    (tmp_path / "metrics").unlink()
    assert counted(files) == {"a": 3.0}


def test_a_disk_that_becomes_read_only_or_full_is_borne(tmp_path: Path) -> None:
    """The store refuses in the service's words, the metrics wait, both resume when it is over."""
    with small_disk(tmp_path) as disk:
        files, store = MetricsFiles(disk.folder / "metrics", lambda: "here-1"), LocalStore(disk.folder / "objects")
        value = counter(files, "a")
        assert files.write()
        store.put("a", b"kept")
        for trouble, over, words in (
            (disk.fill, disk.free, "No space left"),
            (disk.refuse_writes, disk.allow_writes, "Read-only file system"),
        ):
            trouble()
            value.inc(1.0)  # type: ignore[attr-defined]
            with pytest.raises(StorageUnavailable, match=words):
                store.put("b", b"x" * 100_000)
            assert files.write() is False
            assert store.get("a") == b"kept"
            over()
            store.put("b", b"x" * 100_000)
            assert files.write() is True
        assert counted(files) == {"a": 2.0}
        assert sorted(path.name for path in (disk.folder / "objects").iterdir()) == ["a", "b"]  # no rests of attempts
