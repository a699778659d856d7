"""On a public address nothing starts until somebody said whether keys are required: each door is tried."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from infra.errors.service import ConfigurationError
from infra.runtime.settings import KeySettings, Settings
from infra.stack.exposure import is_loopback, is_public, listening_on, refuse_unprotected
from infra.stack.launcher import Stack
from infra.stack.starting import listen
from shitu.cli.main import main
from web.app import create_app

ROOT = Path(__file__).parents[3]
PUBLIC = ["0.0.0.0", "::", "", "0", "192.0.2.7", "2001:db8::1", "no-such-host.invalid"]


def at(settings: Settings, host: str, required: bool | None = None) -> Settings:
    return replace(settings, web=replace(settings.web, host=host, port=0), keys=KeySettings(required=required))


@pytest.mark.parametrize("host", PUBLIC)
def test_a_public_host_is_refused_until_it_was_said(settings: Settings, host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"SHITU_WEB__HOST.*SHITU_KEYS__REQUIRED=true.*=false"):
        refuse_unprotected(at(settings, host))
    refuse_unprotected(at(settings, host, required=True))
    refuse_unprotected(at(settings, host, required=False))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost", "::ffff:127.0.0.1"])
def test_loopback_needs_no_word(settings: Settings, host: str) -> None:
    assert not is_public(host)
    refuse_unprotected(at(settings, host))


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("", True), ("10.0.0.1", False),
     ("::ffff:10.0.0.1", False), ("fe80::1%eth0", False), ("unknown", False)],
)  # fmt: skip
def test_addresses_of_peers(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


def test_the_launcher_and_the_web_command_do_not_go_on(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="SHITU_KEYS__REQUIRED"):
        listen(at(settings, "0.0.0.0"))
    with pytest.raises(ConfigurationError, match="SHITU_KEYS__REQUIRED"):
        Stack(at(settings, "0.0.0.0")).start()
    listen(at(settings, "0.0.0.0", required=True)).close()


@pytest.mark.parametrize("command", [["up"], ["web"]])
def test_commands_end_with_the_remedy(settings: Settings, command: list[str]) -> None:
    env = {**at(settings, "::").to_env(), "SHITU_LOG__FORMAT": "text"}
    done = CliRunner().invoke(main, command, env=env)
    assert done.exit_code == 1
    assert "SHITU_KEYS__REQUIRED=true" in done.output


def test_the_application_refuses_public_settings(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="SHITU_KEYS__REQUIRED"):
        create_app(at(settings, "0.0.0.0"))
    create_app(at(settings, "0.0.0.0", required=True))


def test_the_sockets_of_a_process_are_found() -> None:
    before = listening_on()
    with socket.create_server(("127.0.0.1", 0)), socket.socket():
        assert sorted(listening_on()) == sorted([*before, "127.0.0.1"])
    assert listening_on() == before


@pytest.mark.parametrize("worker", ["web.server.UploadLimitWorker", "sync"])
def test_gunicorn_on_a_public_socket_ends_whatever_the_settings_say_of_the_host(
    settings: Settings, worker: str
) -> None:
    words = (
        "-m",
        "gunicorn",
        "web.app:create_app()",
        "--bind",
        "0.0.0.0:0",
        "--worker-class",
        worker,
        "--no-control-socket",
    )
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, **settings.to_env(), "SHITU_LOG__FORMAT": "text", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "'0.0.0.0' can be reached from other machines" in done.stderr
