"""Further embedders than the default: loaded when they are needed, within their budget, each copy used by one thread at a time."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.runtime.settings import WorkerSettings
from models.embedder import Embedder
from models.errors import ArtifactError, EngineError
from tests.models.programs import artifact
from worker.embedders import COPY_BYTES, Embedders, Known, open_embedders

MB = 1 << 20


def known(name: str, size_mb: int = 40) -> Known:
    return Known(name, name * 64, name, Path(name), size_mb * MB)


class Loads:
    """Loads nothing, and counts."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, one: Known) -> Any:
        self.names.append(one.name)
        return object()


def test_the_one_used_longest_ago_goes_for_another() -> None:
    loads = Loads()
    embedders = Embedders([known(name) for name in "abc"], 100 * MB, loads)
    for name in ("a", "b", "a", "c", "a", "b"):
        with embedders.borrowed(name * 64):
            assert embedders.size_bytes <= 100 * MB
    assert loads.names == ["a", "b", "c", "b"]


def test_one_that_is_larger_than_the_budget_is_loaded_alone() -> None:
    loads = Loads()
    embedders = Embedders([known("a"), known("b", 400)], 100 * MB, loads)
    for name in ("a", "b", "a"):
        with embedders.borrowed(name * 64):
            assert embedders.size_bytes == (40 if name == "a" else 400) * MB
    assert loads.names == ["a", "b", "a"]


def test_threads_have_copies_of_their_own_and_wait_where_no_more_fit() -> None:
    loads = Loads()
    embedders = Embedders([known("a")], 100 * MB, loads)
    held: list[object] = []
    waiting = threading.Event()

    def third() -> None:
        waiting.set()
        with embedders.borrowed("a" * 64) as copy:
            held.append(copy)

    with embedders.borrowed("a" * 64) as one:
        with embedders.borrowed("a" * 64) as two:
            assert one is not two
            thread = threading.Thread(target=third)
            thread.start()
            assert waiting.wait(10)
            thread.join(0.2)
            assert thread.is_alive()
            assert held == []
        thread.join(10)
    assert held == [two]
    assert loads.names == ["a", "a"]


def test_one_that_does_not_load_takes_no_room() -> None:
    def broken(_: Known) -> Any:
        raise EngineError("broken", "program_corrupt")

    embedders = Embedders([known("a")], 100 * MB, broken)
    for _ in range(2):
        with pytest.raises(EngineError), embedders.borrowed("a" * 64):
            pass
    assert embedders.size_bytes == 0


def test_the_settings_name_them_and_their_digest_is_that_of_the_loaded_one(tmp_path: Path) -> None:
    tiny = artifact(tmp_path / "tiny", "embed")
    settings = replace(WorkerSettings(), embedders=(str(tiny), "shitu-embedder"))
    bundled = open_embedders(settings, "d" * 64)
    assert [one.name for one in bundled.known] == ["tiny-embed", "shitu-embedder"]
    for one in bundled.known:
        assert Embedder(one.folder).digest == one.digest
        assert one.size_bytes > COPY_BYTES
        assert {bundled.digest_of(name) for name in (one.name, one.digest, one.setting)} == {one.digest}
    default = bundled.digest_of("shitu-embedder")
    assert default is not None
    assert [one.name for one in open_embedders(settings, default).known] == ["tiny-embed"]
    digest = bundled.digest_of("tiny-embed")
    assert digest is not None
    assert bundled.digest_of("none") is None
    assert bundled.size_bytes == 0
    with bundled.borrowed(digest) as embedder:
        assert embedder([np.full((40, 30, 3), 200, np.uint8)]).shape == (1, embedder.dim)


def test_what_is_missing_or_no_embedder_ends_the_start(tmp_path: Path) -> None:
    for name in (str(artifact(tmp_path / "detector", "detect")), "no-such-embedder"):
        with pytest.raises(ArtifactError):
            open_embedders(replace(WorkerSettings(), embedders=(name,)), "d" * 64)
