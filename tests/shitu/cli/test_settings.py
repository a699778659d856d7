"""`shitu settings`: each value with where it comes from and why; no secret is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from infra.runtime.settings import variables
from shitu.cli.main import main
from tests.conftest import WEBHOOK_SECRET


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*variables(), "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["settings", *arguments])


def report() -> dict[str, dict[str, Any]]:
    answer = run("--json")
    assert answer.exit_code == 0, answer.output
    return {one.pop("name"): one for one in json.loads(answer.stdout)}


def test_every_setting_is_there_with_its_default_and_what_follows(tmp_path: Path) -> None:
    found = report()
    assert list(found) == list(variables())
    assert {one["source"] for one in found.values()} == {"default"}
    assert found["SHITU_WEB__PORT"]["value"] == 8000
    assert found["SHITU_WEBHOOKS__SCHEDULE_S"]["value"][:2] == [0.0, 5.0]
    assert found["SHITU_OBJECTS__URL"] == {
        "value": None, "source": "default", "why": f"the folder {tmp_path / 'var' / 'objects'}",
    }  # fmt: skip
    assert "at a time: " in found["SHITU_WORKER__CONCURRENCY"]["why"]
    assert "openvino" in found["SHITU_WORKER__ENGINE"]["why"]


def test_what_the_environment_says_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHITU_WEB__PORT", "8123")
    monkeypatch.setenv("SHITU_LOG__LEVEL", "")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:6379/0")
    found = report()
    assert found["SHITU_WEB__PORT"] == {"value": 8123, "source": "environment", "why": "SHITU_WEB__PORT"}
    assert found["SHITU_REDIS_URL"]["why"] == "REDIS_URL"
    assert found["SHITU_LOG__LEVEL"] == {
        "value": "INFO", "source": "default", "why": "empty in the environment, which counts as not set",
    }  # fmt: skip
    changed = run("--changed")
    assert "8123" in changed.stdout
    assert "SHITU_WEB__HOST" not in changed.stdout


@pytest.mark.parametrize("shape", [(), ("--json",)])
def test_secrets_are_masked(shape: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "rediss://shop:hush1@redis.example:6380/0?ssl_password=hush2&db=0")
    monkeypatch.setenv("SHITU_WEBHOOKS__SECRET", WEBHOOK_SECRET)
    monkeypatch.setenv("SHITU_OBJECTS__ENDPOINT_URL", "http://key:hush3@s3.example")
    answer = run(*shape)
    assert answer.exit_code == 0, answer.output
    assert "hush" not in answer.output
    assert WEBHOOK_SECRET.removeprefix("whsec_") not in answer.output
    assert "rediss://shop:***@redis.example:6380/0?ssl_password=***&db=0" in answer.stdout
    assert "http://key:***@s3.example" in answer.stdout


def test_a_secret_that_a_file_keeps_is_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "webhook_secret").write_text(WEBHOOK_SECRET)
    secret = report()["SHITU_WEBHOOKS__SECRET"]
    assert secret == {"value": "***", "source": "file", "why": str(tmp_path / "var" / "webhook_secret")}


def test_wrong_settings_are_all_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHITU_WEB__PORT", "many")
    monkeypatch.setenv("SHITU_WEB_HOST", "x")
    answer = run()
    assert answer.exit_code == 1
    assert "SHITU_WEB__PORT" in answer.stderr
    assert "did you mean SHITU_WEB__HOST?" in answer.stderr
    answer = run("--json")
    assert (answer.exit_code, len(json.loads(answer.stdout)["problems"])) == (1, 2)
