"""The compose file: well formed, and every name in it exists here. tests/test_dockerfile.py has what it builds.

No container engine runs in the tests. So the file is held against the Compose specification's schema (a misspelt key
fails), its settings are loaded by the real loader, its commands are parsed by the real command line, and the bucket is
made on a real S3 server.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml
from check_jsonschema import main as check_jsonschema
from click.testing import CliRunner

from infra.errors.service import ConfigurationError
from infra.jobs.ledger import JobLedger
from infra.runtime.settings import Settings, load_settings
from infra.stack import health
from infra.stack.exposure import refuse_default_secrets, refuse_unprotected
from infra.stack.starting import listen
from shitu.cli.main import main

if TYPE_CHECKING:
    import redis

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = ROOT / "infra/deploy/docker/Dockerfile"
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
OURS = ("web", "worker", "courier", "keeper")
PROFILES = {"prometheus": "monitoring", "grafana": "monitoring", "milvus": "milvus"}


def interpolated(value: str, env: dict[str, str]) -> str:
    """`${NAME:-default}` as compose replaces it."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda match: env.get(match[1]) or match[2], value)


def environment(service: str, **env: str) -> dict[str, str]:
    found = COMPOSE["services"][service].get("environment", {})
    return {name: interpolated(value, env) for name, value in found.items()}


def seconds(duration: str) -> float:
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|s|m|h)", duration))


def accepted(tmp_path: Path, **web: object) -> bool:
    """Whether the Compose specification's schema accepts the file, with these changes to its web service."""
    services = {**COMPOSE["services"], "web": {**COMPOSE["services"]["web"], **web}}
    file = tmp_path / "docker-compose.yml"
    file.write_text(yaml.safe_dump({**COMPOSE, "services": services}), encoding="utf-8")
    checked = CliRunner().invoke(check_jsonschema, ["--builtin-schema", "vendor.compose-spec", str(file)])
    assert checked.exit_code in {0, 1}, checked.output
    return checked.exit_code == 0


def test_the_compose_specification_accepts_the_file_and_no_misspelt_key(tmp_path: Path) -> None:
    assert accepted(tmp_path)
    assert not accepted(tmp_path, healthchek={})
    assert not accepted(tmp_path, restart=3)


def test_all_processes_are_there() -> None:
    assert COMPOSE["services"].keys() == {*OURS, "redis", "s3", "bucket", *PROFILES}
    for name, service in COMPOSE["services"].items():
        assert service.get("profiles") == ([PROFILES[name]] if name in PROFILES else None), name


def test_what_services_refer_to_exists() -> None:
    for name, service in COMPOSE["services"].items():
        for other, how in service.get("depends_on", {}).items():
            assert other in COMPOSE["services"], (name, other)
            if how["condition"] == "service_healthy":
                assert "healthcheck" in COMPOSE["services"][other], (name, other)
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).is_file(), (name, volume)


@pytest.mark.parametrize("service", OURS)
def test_the_settings_of_each_process_load(service: str) -> None:
    settings = load_settings(environment(service))
    assert settings.redis_url == "redis://redis:6379/0"
    assert settings.objects.url == "s3://shitu"
    assert settings.data_dir == Path("/data")
    assert settings.webhooks.secret is None
    secret = "whsec_" + "c2hpdHUtdGVzdHMtb25seS1zaGl0dS10ZXN0cy1vbmx5"
    assert load_settings(environment(service, SHITU_WEBHOOKS__SECRET=secret)).webhooks.secret == secret


def test_the_front_is_published_where_it_listens() -> None:
    settings = load_settings(environment("web"))
    [port] = COMPOSE["services"]["web"]["ports"]
    assert interpolated(port, {}) == f"{settings.web.published_on}:8000:{settings.web.port}"
    assert settings.web.published_on == "127.0.0.1"
    assert settings.web.host == "0.0.0.0"
    refuse_unprotected(settings)
    assert settings.keys.required is True
    assert load_settings(environment("web", SHITU_KEYS__REQUIRED="false")).keys.required is False
    assert settings.web.hosts == ("web",)  # as the containers beside it ask
    assert load_settings(environment("web", SHITU_WEB__HOSTS="web,till-3.lan")).web.hosts == ("web", "till-3.lan")


@pytest.mark.parametrize("service", OURS)
def test_each_command_is_one_of_the_command_line(service: str) -> None:
    [command] = COMPOSE["services"][service]["command"]
    assert command in main.list_commands(None)  # type: ignore[arg-type]  # the group lists without a context
    result = CliRunner().invoke(main, [command, "--help"])
    assert (result.exit_code, result.exception) == (0, None)


@pytest.mark.parametrize("service", OURS)
def test_a_process_has_the_time_to_stop(service: str) -> None:
    settings = load_settings(environment(service))
    grace_s = seconds(COMPOSE["services"][service]["stop_grace_period"])
    drains_s = {"web": 10, "keeper": 5}.get(service, settings.worker.shutdown_s + 5)
    assert grace_s > drains_s


@pytest.mark.parametrize("service", OURS)
def test_what_a_process_measures_reaches_the_front(service: str) -> None:
    folder = environment(service)["PROMETHEUS_MULTIPROC_DIR"]
    assert folder == environment("web")["PROMETHEUS_MULTIPROC_DIR"]
    assert any(folder.startswith(volume.partition(":")[2] + "/") for volume in COMPOSE["services"][service]["volumes"])


def test_redis_keeps_every_write() -> None:
    command = COMPOSE["services"]["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options == {
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--save": "",
        "--maxmemory-policy": "noeviction",
    }
    assert COMPOSE["services"]["redis"]["volumes"] == ["redis:/data"]


def test_the_s3_server_and_its_clients_share_credentials() -> None:
    server, client = environment("s3"), environment("worker")
    assert server["ROOT_ACCESS_KEY"] == client["AWS_ACCESS_KEY_ID"]
    assert server["ROOT_SECRET_KEY"] == client["AWS_SECRET_ACCESS_KEY"]
    assert ":7070" in COMPOSE["services"]["s3"]["command"]
    assert client["SHITU_OBJECTS__ENDPOINT_URL"] == "http://s3:7070"


def test_the_bucket_is_made_and_may_exist_already(s3_endpoint: str) -> None:
    python, *words = COMPOSE["services"]["bucket"]["entrypoint"]
    assert python == "python"
    env = {**os.environ, **environment("bucket"), "SHITU_OBJECTS__ENDPOINT_URL": s3_endpoint}
    client = boto3.client(
        "s3", endpoint_url=s3_endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
    )

    def buckets() -> set[str]:
        return {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}

    before = buckets()  # other tests have made theirs
    for _ in range(2):
        subprocess.run([sys.executable, *words], env=env, check=True, timeout=60)
    assert buckets() - before == {"shitu"}


@pytest.mark.parametrize("service", ["web", "worker"])
def test_health_checks_name_a_role(service: str) -> None:
    command, python, flag, module, role = COMPOSE["services"][service]["healthcheck"]["test"]
    assert (command, python, flag, module) == ("CMD", "python", "-m", health.__name__)
    assert role == service
    assert role in health.ROLES


def test_health_says_what_is_wrong(settings: Settings, redis_client: redis.Redis) -> None:
    ledger = JobLedger(redis_client, settings.jobs)
    assert health.problem("", settings) is None
    assert "not said that it is ready" in (health.problem("worker", settings) or "")
    ledger.presence.worker_ready(f"{os.uname().nodename}:1", {}, ttl_s=60)
    assert health.problem("worker", settings) is None
    away = load_settings({"REDIS_URL": "redis://127.0.0.1:1/0"})
    assert "Redis does not answer" in (health.problem("", away) or "")
    with pytest.raises(ValueError, match="unknown role"):
        health.problem("cook", settings)


@pytest.mark.parametrize("service", [*OURS, "bucket", "prometheus", "grafana"])
def test_the_root_of_each_container_is_read_only(service: str) -> None:
    assert COMPOSE["services"][service]["read_only"] is True


def test_default_secrets_are_refused_where_others_reach_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    local = environment("web")
    refuse_default_secrets(load_settings(local), local)
    public = environment("web", PUBLISH="0.0.0.0")
    with pytest.raises(ConfigurationError, match="AWS_SECRET_ACCESS_KEY: the default secret"):
        refuse_default_secrets(load_settings(public), public)
    own = environment("web", PUBLISH="0.0.0.0", S3_SECRET_KEY="of-my-own")
    refuse_default_secrets(load_settings(own), own)
    with pytest.raises(ConfigurationError, match="AWS_SECRET_ACCESS_KEY"):
        refuse_default_secrets(load_settings({"SHITU_WEB__HOST": "0.0.0.0"}), local)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", local["AWS_SECRET_ACCESS_KEY"])
    open_to_all = {"SHITU_WEB__HOST": "0.0.0.0", "SHITU_WEB__PORT": "0", "SHITU_KEYS__REQUIRED": "true"}
    with pytest.raises(ConfigurationError, match="AWS_SECRET_ACCESS_KEY"):
        listen(load_settings(open_to_all))


def test_grafana_shows_the_dashboard_of_the_prometheus_next_to_it() -> None:
    folder = ROOT / "infra/deploy/monitoring"
    [source] = yaml.safe_load((folder / "grafana/datasources.yml").read_text(encoding="utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((folder / "grafana/dashboards.yml").read_text(encoding="utf-8"))["providers"]
    mounted = [volume.split(":")[1] for volume in COMPOSE["services"]["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/shitu.json" in mounted


def test_what_is_in_no_profile_of_ours_is_published_on_loopback_alone() -> None:
    for name, service in COMPOSE["services"].items():
        for port in service.get("ports", []):
            assert name == "web" or port.startswith("127.0.0.1:"), (name, port)
