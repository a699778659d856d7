"""Official models by one setting: a worker that names one downloads it at its start, once."""

from __future__ import annotations

import logging
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from infra.runtime.settings import WorkerSettings
from models.artifacts.download import OFFICIAL, OfficialModel
from models.errors import ArtifactError
from tests.models.programs import official_archive
from worker.model_folders import folder_of
from worker.runtime import describe, load_programs

KINDS = {"ppshitu-mainbody-detector": "detect", "ppshitu-v2-embedder": "embed"}


class Counting(SimpleHTTPRequestHandler):
    """Serves a folder and counts."""

    served: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.served.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        pass


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Archives of both kinds under their official names, on a server; what it served."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    site = tmp_path / "site"
    site.mkdir()
    Counting.served = []
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=str(site))) as http:
        for name, kind in KINDS.items():
            folder = official_archive(tmp_path / f"{name}_infer", kind)
            with tarfile.open(site / f"{name}.tar", "w") as tar:
                tar.add(folder, folder.name)
            url = f"http://127.0.0.1:{http.server_address[1]}/{name}.tar"
            monkeypatch.setitem(OFFICIAL, name, OfficialModel(kind, "a tiny one", url))
        threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
        yield Counting.served
        http.shutdown()


def test_a_worker_downloads_the_official_models_that_its_settings_name(
    published: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    detector, embedder = KINDS
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
