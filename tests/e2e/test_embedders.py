"""Several embedders in one running service: galleries of each, one embedded again while its worker is killed, official networks."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from infra.stack.launcher import Stack
from models.artifacts.download import pull
from models.artifacts.folders import default_cache_dir, resolve
from shitu.cli.main import main
from shitu.client.blocking import Client
from tests.e2e.conftest import stack_settings
from tests.e2e.service import Service, encode, pattern, wait_for
from tests.e2e.test_imports import archive
from tests.models.official_graphs import seeded_archive
from tests.models.programs import artifact
from tests.models.publishing import KINDS, publishing
from tests.openapi_checks import check

SURE = json.dumps({"similarity_threshold": 0.9, "whole_image": "always", "verify": "never"})
MANY = 100  # two batches


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own, with a second embedder: its worker dies."""
    tiny = artifact(tmp_path_factory.mktemp("models") / "tiny", "embed")
    changes = {
        "SHITU_WORKER__EMBEDDERS": str(tiny),
        "SHITU_WORKER__EMBEDDERS_MB": "60",
        "SHITU_WORKER__CONCURRENCY": "1",
    }
    with Stack(stack_settings(tmp_path_factory.mktemp("embedders"), **changes)) as running:
        yield running


def best(result: dict[str, Any]) -> tuple[str, str]:
    """The label of the likeliest recognition, and the name of the embedder."""
    return result["recognitions"][0]["label"], result["models"]["embedder"]["name"]


def test_galleries_of_two_embedders_are_answered_and_one_moves_to_the_other(stack: Stack, tmp_path: Path) -> None:
    service = Service(stack.base_url)
    first, second = {"tea": encode(pattern(1))}, {"cola": encode(pattern(9))}
    with Client(stack.base_url) as client:
        client.galleries.create("first")
        for name in ("no-such", "tiny-embed"):
            made = CliRunner().invoke(
                main, ["gallery", "create", "second", "--embedder", name, "--server", stack.base_url]
            )
            assert (made.exit_code == 0) == (name == "tiny-embed"), made.output
            assert ("(embedder_unknown)" in made.output) == (name == "no-such")
        service.enroll("first", first)
        service.enroll("second", {**second, "rice": encode(pattern(17))})
        digests = [client.galleries.get(name)["embedder_digest"] for name in ("first", "second")]
        assert len(set(digests)) == 2
        assert best(service.recognized(first["tea"], "first", options=SURE)) == ("tea", "shitu-embedder")
        assert best(service.recognized(second["cola"], "second", options=SURE)) == ("cola", "tiny-embed")
        for photo, label, gallery in ((first["tea"], "tea", "first"), (second["cola"], "cola", "second")):
            job = client.recognitions.create(photo, ["first", "second"], options=json.loads(SURE))
            result: Any = client.recognitions.wait(job, timeout_s=60)["result"]
            assert [one["name"] for one in result["embedders"]] == ["shitu-embedder", "tiny-embed"]
            assert (result["recognitions"][0]["label"], result["recognitions"][0]["gallery"]) == (label, gallery)

        rows = []
        for named, used in ((None, "shitu-embedder"), ("tiny-embed", "tiny-embed"), (digests[1], "tiny-embed")):
            made: Any = client.embeddings.wait(client.embeddings.create(first["tea"], embedder=named), timeout_s=60)
            assert made["result"]["models"]["embedder"]["name"] == used
            assert made["request"].get("embedder") == named
            check(made, "EmbeddingJob", service.get("/openapi.json"))
            rows.append(made["result"]["embeddings"][0]["embedding"])
        assert rows[1] == rows[2]
        assert len(rows[0]) == 512 != len(rows[1])
        by_url = {"image": {"base64": base64.b64encode(first["tea"]).decode()}, "embedder": "no-such"}
        refused = service.http.post(f"{stack.base_url}/v1/embeddings", json=by_url, timeout=30)
        assert service.finished(service.accepted(refused))["error"]["code"] == "embedder_unknown"
        (tmp_path / "tea.jpg").write_bytes(first["tea"])
        shown = CliRunner().invoke(
            main, ["embed", str(tmp_path / "tea.jpg"), "--json", "--model", "tiny-embed", "--server", stack.base_url]
        )
        assert shown.exit_code == 0, shown.output
        np.testing.assert_allclose(json.loads(shown.stdout)[0]["embedding"], rows[1], atol=1e-5)

        command = ["gallery", "reembed", "second", "--embedder", "shitu-embedder", "--server", stack.base_url]
        staged = CliRunner().invoke(main, command)
        assert staged.exit_code == 0, staged.output
        assert "version 3 of 'second' has 2 items by shitu-embedder, of the 2 of version 2" in staged.output
        assert "it is staged" in staged.output
        assert best(service.recognized(second["cola"], "second", options=SURE)) == ("cola", "tiny-embed")
        done = CliRunner().invoke(main, [*command, "--activate", "--json"])
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert (told["activated"], told["gallery"]["version"]) == (True, 4)
        assert best(service.recognized(second["cola"], "second", options=SURE)) == ("cola", "shitu-embedder")
        assert client.galleries.get("second")["embedder_digest"] == digests[0]
        client.galleries.activate("second", 2)
        assert best(service.recognized(second["cola"], "second", options=SURE)) == ("cola", "tiny-embed")


# The same death is died in tests/worker/test_reembed.py, and workers are killed for real in test_kill_worker and test_imports.
@pytest.mark.slow
def test_a_killed_worker_costs_a_batch_and_no_second_version_is_made(own: Stack) -> None:
    service = Service(own.base_url)
    service.create_gallery("many")
    answer = service.http.post(
        f"{own.base_url}/v1/galleries/many/imports", files={"files": ("many.zip", archive(MANY))}, timeout=30
    )
    assert service.finished(service.accepted(answer), 120)["status"] == "succeeded"
    asked = {"embedder": "tiny-embed"}
    job = service.accepted(service.http.post(f"{own.base_url}/v1/galleries/many/reembed", json=asked, timeout=30))
    pid = own.processes["worker"].pid
    assert pid is not None
    folder = own.settings.data_dir / "objects" / "imports" / job["id"] / "batches"
    wait_for(lambda: any(folder.glob("*.zip")), 60)
    os.kill(pid, signal.SIGKILL)
    first = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.zip")}
    last: dict[str, int] = {}

    def seen() -> bool:
        last.update({file.name: file.stat().st_mtime_ns for file in folder.glob("*.zip")})
        return service.get(job["links"]["self"])["status"] not in {"queued", "processing"}

    wait_for(seen, 120)
    done = service.get(job["links"]["self"])
    assert done["status"] == "succeeded", done["error"]
    assert done["attempts"] == 2
    assert done["result"]["gallery"] == {"name": "many", "version": 3, "items": MANY}
    assert [one["version"] for one in service.get("/v1/galleries/many/versions")["versions"]] == [1, 2, 3]
    assert {name: at for name, at in last.items() if name in first} == first  # no finished batch was done again


# Several embedders by their names are served above; the official programs are run in tests/models/artifacts and tests/models.
@pytest.mark.slow
def test_the_official_networks_serve_by_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = {name: seeded_archive(name, tmp_path / name / "official_infer") for name in KINDS}
    with publishing(folders, tmp_path / "site", monkeypatch):
        for name in KINDS:
            pull(name, default_cache_dir())
    changes = {
        "SHITU_WORKER__DETECTOR": "ppshitu-mainbody-detector",
        "SHITU_WORKER__EMBEDDER": "ppshitu-v2-embedder",
        "SHITU_WORKER__EMBEDDERS": "ppshitu-v1-embedder,shitu-embedder",
        "SHITU_WORKER__CONCURRENCY": "1",
    }
    assert all(resolve(name).is_dir() for name in KINDS)  # so that no process downloads
    tea, cola = encode(pattern(1)), encode(pattern(9))
    with Stack(stack_settings(tmp_path / "data", **changes)) as stack, Client(stack.base_url) as client:
        service = Service(stack.base_url)
        for name, embedder in (("v2", None), ("v1", "ppshitu-v1-embedder"), ("ours", "shitu-embedder")):
            client.galleries.create(name, embedder=embedder)
            service.enroll(name, {"tea": tea, "cola": cola})
            result = service.recognized(tea, name, options=SURE)
            assert best(result) == ("tea", embedder or "ppshitu-v2-embedder")
            assert result["models"]["detector"]["name"] == "ppshitu-mainbody-detector"
            assert client.galleries.get(name)["dim"] == 512
        job = client.reembeddings.wait(
            client.galleries.reembed("ours", "ppshitu-v2-embedder", activate=True), timeout_s=60
        )
        assert job["result"] is not None, job["error"]
        assert job["result"]["activated"]
        assert best(service.recognized(cola, "ours", options=SURE)) == ("cola", "ppshitu-v2-embedder")
