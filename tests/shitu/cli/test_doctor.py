"""`shitu doctor`: a line for each thing that the service needs, true on this machine, with what to do where one fails."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from infra.jobs.presence import Presence
from infra.redis.client import connect
from infra.redis.server import RedisServer
from infra.runtime.settings import Settings, variables
from shitu.cli.doctor_checks import check_instructions, check_keys, check_memory
from shitu.cli.main import main
from tests.infra.s3_server import CREDENTIALS
from tests.models.programs import artifact


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*variables(), "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("SHITU_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SHITU_WEB__PORT", "0")
    for task in ("detect", "embed"):
        folder = artifact(tmp_path / task, task, paddle_too=False)
        monkeypatch.setenv(f"SHITU_WORKER__{'DETECTOR' if task == 'detect' else 'EMBEDDER'}", str(folder))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments])


def reported(exit_code: int) -> list[dict[str, Any]]:
    answer = run("--json")
    assert answer.exit_code == exit_code, answer.output
    report = json.loads(answer.stdout)
    assert report["ok"] is (exit_code == 0)
    findings: list[dict[str, Any]] = report["findings"]
    return findings


def failed(findings: list[dict[str, Any]]) -> dict[str, str]:
    assert all(one["remedy"] for one in findings if one["status"] != "ok")
    return {one["check"]: one["detail"] for one in findings if one["status"] == "fail"}


def test_all_is_well_where_all_is_there(tmp_path: Path) -> None:
    findings = reported(0)
    checks = {one["check"] for one in findings}
    assert checks >= {
        "settings", "python", "cores", "memory", "instructions", "engines", "models", "redis", "objects", "disk", "port",
    }  # fmt: skip
    assert failed(findings) == {}
    assert not (tmp_path / "data").exists()  # it only looks
    lines = run().stdout.splitlines()
    assert len(lines) == len(findings) + 1
    assert all(line.split()[0] in {"ok", "warn", "fail"} for line in lines[:-1])
    assert lines[-1].startswith(f"{len(findings)} lines: 0 fail")


def test_a_changed_model_is_found(tmp_path: Path) -> None:
    program = next((tmp_path / "embed").glob("inference*"))
    program.write_bytes(program.read_bytes() + b"x")
    (detail,) = failed(reported(1)).values()
    assert "is not the one that was recorded" in detail
    assert "artifact_changed" in detail


def test_a_model_and_a_setting_that_do_not_exist_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHITU_WORKER__DETECTOR", "no-such-model")
    assert "There is no model 'no-such-model'" in failed(reported(1))["models"]
    monkeypatch.setenv("SHITU_WEB_PORT", "1")
    assert "SHITU_WEB_PORT: there is no such setting" in failed(reported(1))["settings"]


def test_a_redis_that_answers_is_well(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_url)
    findings = reported(0)
    about = [one for one in findings if one["check"] == "redis"]
    assert [one["status"] for one in about] == ["ok", "ok"]
    assert "appendonly yes" in about[1]["detail"]
    assert {one["status"] for one in findings if one["check"] == "workers"} == {"warn"}  # none runs


def test_workers_of_a_running_stack_are_seen_without_its_address(tmp_path: Path) -> None:
    """`shitu up` runs next to it with a Redis of its own, which REDIS_URL does not name."""
    with RedisServer(tmp_path / "data" / "redis") as server:
        client = connect(server.url, "shitu")
        Presence(client, time.time).worker_ready("worker-1", {}, ttl_s=600)
        client.close()
        findings = reported(0)
    assert [one["detail"] for one in findings if one["check"] == "workers"] == ["1 are ready"]
    about = [one["detail"] for one in findings if one["check"] == "redis"]
    assert any("is running" in one for one in about), about
    assert [one for one in reported(0) if one["check"] == "workers"] == []  # it has ended


def test_a_redis_that_does_not_answer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:hush@127.0.0.1:1/0")
    findings = reported(1)
    assert "nothing listens there" in failed(findings)["redis"]
    assert "hush" not in json.dumps(findings)


def test_a_store_and_a_folder_that_cannot_be_written_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SHITU_DATA_DIR", str(tmp_path / "file"))
    assert failed(reported(1)).keys() == {"objects", "disk"}


def test_a_store_that_is_there_takes_and_gives_and_keeps_nothing_of_it(tmp_path: Path) -> None:
    (tmp_path / "data" / "objects").mkdir(parents=True)
    assert any("takes and gives" in one["detail"] for one in reported(0))
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("wrong", ["no bucket", "no server"])
def test_a_bucket_that_cannot_be_used_fails_with_its_code_and_remedy(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, wrong: str
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
    monkeypatch.setenv("SHITU_OBJECTS__URL", "s3://no-such-bucket-here")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        if wrong == "no bucket":
            endpoint = request.getfixturevalue("s3_endpoint")
        monkeypatch.setenv("SHITU_OBJECTS__ENDPOINT_URL", endpoint)
        (objects,) = (one for one in reported(1) if one["check"] == "objects")
    code, remedy = {
        "no bucket": ("bucket_missing", "make the bucket"),
        "no server": ("storage_unreachable", "SHITU_OBJECTS__ENDPOINT_URL"),
    }[wrong]
    assert f"({code})" in objects["detail"]
    assert remedy in objects["remedy"]


def test_a_taken_port_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.settimeout(0)
        monkeypatch.setattr("shitu.cli.doctor_checks.ANSWER_S", 0.2)
        monkeypatch.setenv("SHITU_WEB__PORT", str(taken.getsockname()[1]))
        (port,) = (one for one in reported(0) if one["check"] == "port")
    assert (port["status"], port["remedy"]) == ("warn", "another SHITU_WEB__PORT")


def test_instruction_sets_are_read_from_what_the_kernel_says(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni\n")
    (found,) = check_instructions(cpuinfo)
    assert (found.status, found.detail) == ("ok", "AVX2, AVX-512, VNNI (int8)")
    cpuinfo.write_text("flags : fpu sse2\n")
    (found,) = check_instructions(cpuinfo)
    assert (found.status, bool(found.remedy)) == ("warn", True)


def test_too_little_memory_for_the_largest_photo_fails() -> None:
    from dataclasses import replace

    plain = Settings()
    (found,) = check_memory(replace(plain, images=replace(plain.images, max_pixels=10**12)))
    assert (found.status, "SHITU_IMAGES__MAX_PIXELS" in found.remedy) == ("fail", True)


@pytest.mark.parametrize(
    ("host", "required", "status"),
    [
        ("127.0.0.1", None, "ok"),
        ("127.0.0.1", True, "ok"),
        ("0.0.0.0", None, "fail"),
        ("0.0.0.0", False, "warn"),
        ("0.0.0.0", True, "ok"),
    ],
)
def test_a_public_address_without_keys_is_reported(
    settings: Settings, host: str, required: bool | None, status: str
) -> None:
    web, keys = replace(settings.web, host=host), replace(settings.keys, required=required)
    (finding,) = check_keys(replace(settings, web=web, keys=keys))
    assert finding.status == status
    assert (finding.remedy != "") is (status != "ok")
