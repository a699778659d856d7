"""The commands that a container runs: each becomes its process, and ends in order at a signal."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from infra.runtime.settings import load_settings
from infra.stack.commands import ROOT
from infra.stack.launcher import Stack
from infra.stack.starting import ask
from shitu.cli.main import main
from shitu.cli.stack import with_models
from tests.infra.processes import eventually
from tests.models.programs import artifact, official_archive
from tests.models.publishing import KINDS, publishing

if TYPE_CHECKING:
    from pathlib import Path

    from infra.runtime.settings import Settings


@pytest.mark.parametrize(("command", "ready"), [("web", ""), ("courier", "ready"), ("keeper", "keeper started")])
def test_a_single_process_runs_until_it_is_reported_to_stop(
    settings: Settings, tmp_path: Path, command: str, ready: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {**os.environ, **replace(settings, web=replace(settings.web, port=port)).to_env()}
    said = tmp_path / "said"
    with (
        said.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "shitu", command], cwd=ROOT, env=env, stdout=output, stderr=output
        ) as process,
    ):
        try:
            eventually(
                lambda: ready in said.read_text() if ready else ask(f"http://127.0.0.1:{port}/healthz")[0], timeout_s=30
            )
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0, said.read_text()


@pytest.mark.parametrize("command", ["web", "worker", "courier", "keeper"])
def test_a_single_process_needs_a_redis(command: str) -> None:
    result = CliRunner().invoke(main, [command], env={"REDIS_URL": "", "SHITU_REDIS_URL": ""})
    assert result.exit_code == 1
    assert "REDIS_URL is not set" in result.output


def test_mistakes_in_the_settings_are_reported_together() -> None:
    result = CliRunner().invoke(main, ["up"], env={"SHITU_WEB__PROT": "1", "SHITU_JOBS__LEASE_S": "soon"})
    assert result.exit_code == 1
    assert "did you mean SHITU_WEB__PORT?" in result.output
    assert "SHITU_JOBS__LEASE_S" in result.output


def test_the_banner_says_where_and_how(settings: Settings) -> None:
    from shitu.cli.stack import banner

    text = banner(Stack(settings))
    assert f"http://127.0.0.1:{settings.web.port}/" in text
    assert str(settings.data_dir) in text
    assert "Ctrl-C" in text
    assert text.count("  curl ") == 3


def refused(tmp_path: Path, *command: str, **env: str) -> tuple[int, str]:
    """Exit code and standard error of a process that does not start."""
    clean = {name: value for name, value in os.environ.items() if name != "REDIS_URL" and not name.startswith("SHITU_")}
    run = subprocess.run(
        [sys.executable, "-m", *command],
        env={**clean, "PYTHONPATH": str(ROOT), "SHITU_DATA_DIR": str(tmp_path / "data"), "SHITU_WEB__PORT": "0", **env},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return run.returncode, run.stderr


@pytest.mark.parametrize(
    ("name", "value", "report"),
    [
        *(("DATA_DIR", place, "cannot write in the folder") for place in ("file", "file/below", "/proc/none")),
        *(("WEB__HOST", host, "cannot listen on") for host in ("no.such.host.invalid", "192.0.2.1", "a" * 70)),
    ],
)
def test_what_this_machine_cannot_give_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, report: str
) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.chdir(tmp_path)
    given = {"SHITU_DATA_DIR": "data", f"SHITU_{name}": value}
    result = CliRunner().invoke(main, ["up", "--port", "0"], env={"REDIS_URL": "", "SHITU_REDIS_URL": "", **given})
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1), result.output
    assert result.stderr.startswith(f"Error: The configuration is not valid: SHITU_{name}: {report}")


@pytest.mark.parametrize("command", ["up", "web"])
def test_a_port_in_use_is_reported_last(tmp_path: Path, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        env = {"SHITU_WEB__PORT": str(other.getsockname()[1]), "REDIS_URL": "redis://127.0.0.1:1/0"}
        code, said = refused(tmp_path, "shitu", command, **env)
    *before, last = said.splitlines()
    assert code == 1
    assert all(line.startswith("started nevertheless: The Redis server") for line in before), said  # the web's alone
    assert "SHITU_WEB__PORT: cannot listen on" in last
    assert "`shitu up --port 8001`" in said


@pytest.mark.parametrize("command", ["up", "worker"])
def test_a_model_that_is_not_there_is_one_line(tmp_path: Path, command: str) -> None:
    env = {"SHITU_WORKER__EMBEDDER": "./none", "REDIS_URL": "redis://127.0.0.1:1/0", "SHITU_LOG__FORMAT": "text"}
    code, said = refused(tmp_path, "shitu", command, **env)
    assert (code, said.count("\n")) == (1, 1), said
    assert said.startswith("Error: There is no model './none'")


@pytest.mark.parametrize(
    ("command", "env"),
    [  # both open the bucket in the same way: each of the mistakes once
        (("shitu", "web"), {"AWS_PROFILE": "nobody's"}),
        (("shitu", "web"), {"SHITU_OBJECTS__ENDPOINT_URL": "not a url"}),
        (("worker.keeper",), {"SHITU_OBJECTS__REGION": "no region!"}),
        (("worker.keeper",), {"AWS_CONFIG_FILE": "broken"}),
    ],
)
def test_a_bucket_that_nobody_can_reach_is_one_line(
    settings: Settings, tmp_path: Path, command: tuple[str, ...], env: dict[str, str]
) -> None:
    (tmp_path / "broken").write_text("no = section\n[[")
    shared = {"REDIS_URL": settings.redis_url or "", "SHITU_OBJECTS__URL": "s3://bucket/prefix"}
    code, said = refused(tmp_path, *command, **shared, **env)
    assert (code, said.count("\n")) == (1, 1), said
    assert "no S3 client can be made" in json.loads(said)["message"]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("celery", "-A", "worker.app", "worker"), 1),
        (("worker.keeper",), 1),
        (("infra.stack.health",), 1),
        (
            (
                "gunicorn",
                "--logger-class",
                "web.gunicorn_log.ServiceLogger",
                "web.app:create_app()",
                "-b",
                "127.0.0.1:0",
            ),
            4,
        ),
    ],
)
@pytest.mark.parametrize("env", [{}, {"SHITU_WEB__PROT": "1"}])
def test_a_process_without_its_settings_says_so_in_json(
    tmp_path: Path, command: tuple[str, ...], code: int, env: dict[str, str]
) -> None:
    found, said = refused(tmp_path, *command, **env)
    assert found == code, said
    assert "Traceback" not in said
    reasons = [line for line in said.splitlines() if ("SHITU_WEB__PROT" if env else "REDIS_URL") in line]
    assert len(reasons) == 1, said
    if command[0] != "infra.stack.health":
        assert all(isinstance(json.loads(line), dict) for line in said.splitlines() if "control" not in line), said


def test_official_models_that_are_not_here_are_downloaded_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    detector, embedder = "ppshitu-mainbody-detector", "ppshitu-v2-embedder"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = {name: official_archive(tmp_path / f"{name}_infer", KINDS[name]) for name in (detector, embedder)}
    settings = load_settings({"SHITU_WORKER__DETECTOR": detector, "SHITU_WORKER__EMBEDDERS": f"{embedder},./mine"})
    monkeypatch.chdir(tmp_path)
    artifact(tmp_path / "mine", "embed")
    with publishing(folders, tmp_path / "site", monkeypatch) as served:
        worker = with_models(settings, pulls=False).worker  # it does that itself
        assert served == []
        with caplog.at_level(logging.INFO, "shitu.worker"):
            again = with_models(settings).worker
    assert served == [f"/{detector}.tar", f"/{embedder}.tar"]
    assert f"model {embedder}: downloaded" in caplog.text
    assert worker == again
    assert (again.detector, again.embedders) == (detector, (embedder, str(tmp_path / "mine")))
