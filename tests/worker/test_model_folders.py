"""Official models by one setting: a worker that names one downloads it at its start, once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from infra.runtime.settings import WorkerSettings
from models.errors import ArtifactError
from tests.models.official_graphs import seeded_archive
from tests.models.programs import DIM, official_archive
from tests.models.publishing import KINDS, publishing
from worker.embedders import open_embedders
from worker.model_folders import folder_of
from worker.runtime import describe, load_programs

DETECTOR, EMBEDDER, OTHER = "ppshitu-mainbody-detector", "ppshitu-v2-embedder", "ppshitu-v1-embedder"
PICTURE = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Tiny archives under official names, on a server; what it served."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = {name: official_archive(tmp_path / f"{name}_infer", kind) for name, kind in KINDS.items()}
    with publishing(folders, tmp_path / "site", monkeypatch) as served:
        yield served


def test_a_worker_downloads_the_official_models_that_its_settings_name(
    published: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    detector, embedder = DETECTOR, EMBEDDER
    settings = replace(WorkerSettings(), detector=detector, embedder=embedder)
    with caplog.at_level(logging.INFO, "shitu.worker"):
        models = describe(load_programs(settings))
    assert (models["detector"]["name"], models["embedder"]["name"]) == (detector, embedder)
    assert f"model {embedder} is not here; it is downloaded from http://127.0.0.1" in caplog.text
    assert f"model {embedder}: downloaded" in caplog.text
    load_programs(settings)
    assert published == [f"/{detector}.tar", f"/{embedder}.tar"]


def test_a_model_that_is_none_is_refused_without_a_download(published: list[str]) -> None:
    with pytest.raises(ArtifactError) as refused:
        folder_of("ppshitu-v3-embedder")
    assert (refused.value.code, published) == ("artifact_missing", [])


def test_a_further_embedder_of_the_settings_is_downloaded_at_the_start_and_answers(published: list[str]) -> None:
    settings = replace(WorkerSettings(), detector="none", embedder="shitu-embedder", embedders=(OTHER,))
    others = open_embedders(settings, load_programs(settings).embedder.digest)
    assert published == [f"/{OTHER}.tar"]
    assert [one.name for one in others.known] == [OTHER]
    assert others.size_bytes == 0  # they are here, and none is loaded
    with others.borrowed(others.known[0].digest) as other:
        (row,) = other([PICTURE])
    assert row.shape == (DIM,)
    assert others.size_bytes > 0


@pytest.mark.slow
def test_the_official_networks_are_downloaded_at_the_start_and_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = {name: seeded_archive(name, tmp_path / name / "official_infer") for name in KINDS}
    settings = replace(WorkerSettings(), detector=DETECTOR, embedder=EMBEDDER, embedders=(OTHER, "shitu-embedder"))
    with publishing(folders, tmp_path / "site", monkeypatch) as served, caplog.at_level(logging.INFO, "shitu.worker"):
        programs = load_programs(settings)
        others = open_embedders(settings, programs.embedder.digest)
    assert served == [f"/{name}.tar" for name in (DETECTOR, EMBEDDER, OTHER)]
    assert f"model {OTHER}: downloaded" in caplog.text
    assert [one.name for one in others.known] == [OTHER, "shitu-embedder"]
    assert others.size_bytes == 0  # they are here, and none is loaded
    assert programs.detector is not None
    sizes = [programs.detector.manifest.input, programs.embedder.manifest.input]
    assert [(one.height, one.width) for one in sizes] == [(640, 640), (224, 224)]
    assert programs.detector(PICTURE)
    with others.borrowed(others.known[0].digest) as other:
        rows = [programs.embedder([PICTURE])[0], other([PICTURE])[0]]
    assert [row.shape for row in rows] == [(512,), (512,)]
    assert not np.allclose(*rows)
