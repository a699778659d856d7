"""The commands that a container runs: each becomes its process, and ends in order when it is told to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from infra.launcher import ROOT, Stack, ask
from shitu import main
from tests.infra.processes import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from infra.settings import Settings


@pytest.mark.parametrize(("command", "ready"), [("web", ""), ("courier", "ready"), ("keeper", "keeper started")])
def test_a_single_process_runs_until_it_is_told_to_stop(
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


def test_mistakes_in_the_settings_are_told_together() -> None:
    result = CliRunner().invoke(main, ["up"], env={"SHITU_WEB__PROT": "1", "SHITU_JOBS__LEASE_S": "soon"})
    assert result.exit_code == 1
    assert "did you mean SHITU_WEB__PORT?" in result.output
    assert "SHITU_JOBS__LEASE_S" in result.output


def test_the_banner_says_where_and_how(settings: Settings) -> None:
    from commands.stack import banner

    text = banner(Stack(settings))
    assert f"http://127.0.0.1:{settings.web.port}/" in text
    assert str(settings.data_dir) in text
    assert "Ctrl-C" in text
    assert text.count("  curl ") == 3
